//! Calls, their arguments, and predicates.

use super::{
    super::{
        builtin::{Argument, Builtin},
        error::Error,
        lexer::{Kind, Token},
        tree::{Node, NodeId, Tuning},
    },
    Parsed, Parser,
};

impl<'a> Parser<'a> {
    pub(super) fn pipe(&mut self, left: NodeId) -> Parsed {
        let name = self.identifier()?;
        self.call(&name, Some(left))
    }

    /// A call by name; `piped` is the first argument when it came through a `|`.
    pub(super) fn call(&mut self, name: &Token<'a>, piped: Option<NodeId>) -> Parsed {
        let builtin = Builtin::named(&name.value);
        if let Some((builtin, wanted)) = builtin.and_then(|b| Some((b, b.predicate_arguments()?))) {
            let arguments = self.predicate_arguments(wanted, piped)?;
            return self.add(Node::Builtin(builtin, arguments, Tuning::default()), name.span);
        }
        let callee = match builtin {
            Some(_) => None,
            None => Some(self.add(Node::Name(name.value.as_ref().into()), name.span)?),
        };
        let arguments = self.arguments(piped)?;
        match (builtin, callee) {
            (Some(builtin), _) => self.add(Node::Builtin(builtin, arguments, Tuning::default()), name.span),
            (None, Some(callee)) => self.add(Node::Call(callee, arguments), name.span),
            (None, None) => Err(self.unexpected("a function")),
        }
    }

    fn predicate_arguments(
        &mut self,
        wanted: &[Argument],
        piped: Option<NodeId>,
    ) -> Result<Vec<NodeId>, Error> {
        self.expect(Kind::Bracket, "(")?;
        let mut arguments: Vec<NodeId> = piped.into_iter().collect();
        let rest = &wanted[arguments.len()..];
        for (index, argument) in rest.iter().enumerate() {
            if self.bracket(")") {
                if argument.is_optional() {
                    break;
                }
                let message = format!("expected at least {} arguments", rest.len());
                return Err(Error::syntax(message, self.current.span));
            }
            if index > 0 {
                self.expect(Kind::Operator, ",")?;
                // `count(xs,)`: the comma may be the last thing.
                if argument.is_optional() && self.bracket(")") {
                    return Err(self.unexpected("a value"));
                }
            }
            arguments.push(match argument {
                Argument::Value | Argument::OptionalValue => self.expression(0)?,
                Argument::Predicate | Argument::OptionalPredicate => self.predicate()?,
            });
        }
        if self.operator(",") {
            self.advance()?;
        }
        self.expect(Kind::Bracket, ")")?;
        Ok(arguments)
    }

    fn predicate(&mut self) -> Parsed {
        let span = self.current.span;
        self.predicates += 1;
        let body = if self.bracket("{") {
            self.block()
        } else {
            self.expression(0).and_then(|body| {
                if self.operator(";") {
                    return Err(Error::syntax("wrap predicate with brackets { and }", self.current.span));
                }
                Ok(body)
            })
        };
        self.predicates -= 1;
        let body = body?;
        self.add(Node::Predicate(body), span)
    }

    pub(super) fn arguments(&mut self, piped: Option<NodeId>) -> Result<Vec<NodeId>, Error> {
        let mut arguments: Vec<NodeId> = piped.into_iter().collect();
        self.expect(Kind::Bracket, "(")?;
        self.list(")", &mut arguments)?;
        Ok(arguments)
    }

    /// Expressions divided by commas up to and with `close`; the last comma may stay.
    pub(super) fn list(&mut self, close: &str, into: &mut Vec<NodeId>) -> Result<(), Error> {
        let mut first = true;
        while !self.bracket(close) {
            if !std::mem::take(&mut first) {
                self.expect(Kind::Operator, ",")?;
                if self.bracket(close) {
                    break;
                }
            }
            into.push(self.expression(0)?);
        }
        self.advance().map(drop)
    }
}
