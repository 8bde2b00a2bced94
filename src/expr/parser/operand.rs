//! Operands: literals, names, lists, objects, and what follows them with a point or in brackets.

use super::{
    super::{
        error::Error,
        lexer::{Kind, is_word},
        number,
        tree::{Node, NodeId, Pointer},
    },
    Parsed, Parser, unary,
};

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Parsed {
        if let Some((operator, strength)) = unary(&self.current) {
            let span = self.advance()?.span;
            let operand = self.expression(strength)?;
            let node = self.add(Node::Unary(operator, operand), span)?;
            return self.postfix(node);
        }
        if self.bracket("(") {
            self.advance()?;
            let inner = self.sequence()?;
            self.expect(Kind::Bracket, ")")?;
            return self.postfix(inner);
        }
        if self.predicates > 0 && (self.operator("#") || self.operator(".")) {
            return self.pointer();
        }
        if self.operator("::") {
            self.advance()?;
            let name = self.identifier()?;
            let call = self.call(&name, None)?;
            return self.postfix(call);
        }
        self.operand()
    }

    fn pointer(&mut self) -> Parsed {
        let span = self.current.span;
        let mut node = Node::Pointer(Pointer::Element);
        if self.operator("#") {
            self.advance()?;
            if self.current.kind == Kind::Identifier {
                let name = self.advance()?;
                node = match name.value.as_ref() {
                    "index" => Node::Pointer(Pointer::Index),
                    "acc" => Node::Pointer(Pointer::Accumulator),
                    other => Node::UnknownPointer(other.into()),
                };
            }
        }
        let node = self.add(node, span)?;
        self.postfix(node)
    }

    fn operand(&mut self) -> Parsed {
        let span = self.current.span;
        let node = match self.current.kind {
            Kind::Identifier => {
                let name = self.advance()?;
                match name.value.as_ref() {
                    "true" => return self.add(Node::Bool(true), span),
                    "false" => return self.add(Node::Bool(false), span),
                    "nil" => return self.add(Node::Nil, span),
                    _ if self.bracket("(") => self.call(&name, None)?,
                    other => self.add(Node::Name(other.into()), span)?,
                }
            }
            Kind::Number => {
                let token = self.advance()?;
                let node = number::literal(&token.value).map_err(|message| Error::syntax(message, span))?;
                return self.add(node, span);
            }
            Kind::Text => {
                let token = self.advance()?;
                self.add(Node::Str(token.value.as_ref().into()), span)?
            }
            Kind::Bracket if self.bracket("[") => self.array()?,
            Kind::Bracket if self.bracket("{") => self.map()?,
            Kind::Operator | Kind::Bracket | Kind::End => return Err(self.unexpected("a value")),
        };
        self.postfix(node)
    }

    fn array(&mut self) -> Parsed {
        let span = self.advance()?.span;
        let mut nodes = vec![];
        self.list("]", &mut nodes)?;
        self.add(Node::Array(nodes), span)
    }

    fn map(&mut self) -> Parsed {
        let span = self.advance()?.span;
        let mut pairs = vec![];
        while !self.bracket("}") {
            if !pairs.is_empty() {
                self.expect(Kind::Operator, ",")?;
                if self.bracket("}") {
                    break;
                }
            }
            let key = self.key()?;
            self.expect(Kind::Operator, ":")?;
            let value = self.expression(0)?;
            pairs.push((key, value));
        }
        self.advance()?;
        self.add(Node::Map(pairs), span)
    }

    fn key(&mut self) -> Parsed {
        match self.current.kind {
            Kind::Number | Kind::Text | Kind::Identifier => {
                let token = self.advance()?;
                self.add(Node::Str(token.value.as_ref().into()), token.span)
            }
            Kind::Bracket if self.bracket("(") => self.expression(0),
            Kind::Bracket | Kind::Operator | Kind::End => {
                let message = format!(
                    "a map key must be a quoted string, a number, a identifier, or an expression enclosed \
                     in parentheses (unexpected token {})",
                    self.current.shown()
                );
                Err(Error::syntax(message, self.current.span))
            }
        }
    }

    /// `.field`, `?.field`, `.method()`, `[index]` and `[from:to]` behind an operand.
    fn postfix(&mut self, mut node: NodeId) -> Parsed {
        loop {
            if self.operator(".") || self.operator("?.") {
                let optional = self.operator("?.");
                self.advance()?;
                node = if optional && self.bracket("[") {
                    self.index(node, true)?
                } else {
                    self.field(node, optional)?
                };
            } else if self.bracket("[") {
                node = self.index(node, false)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn field(&mut self, node: NodeId, optional: bool) -> Parsed {
        let word = self.current.value.chars().all(is_word) && !self.current.value.is_empty();
        let named = self.current.kind == Kind::Identifier || (self.current.kind == Kind::Operator && word);
        if !named {
            return Err(Error::syntax("expected name", self.current.span)
                .wanted("the name of a field", self.current.spoken()));
        }
        let name = self.advance()?;
        let property = self.add(Node::Str(name.value.as_ref().into()), name.span)?;
        let chained = match self.tree.node(node) {
            Node::Optional(inner) => Some(*inner),
            _ => None,
        };
        let base = chained.unwrap_or(node);
        let method = self.bracket("(");
        let mut node = self.add(Node::Member { base, property, optional, method }, name.span)?;
        if method {
            let arguments = self.arguments(None)?;
            node = self.add(Node::Call(node, arguments), name.span)?;
        }
        if chained.is_some() || optional { self.add(Node::Optional(node), name.span) } else { Ok(node) }
    }

    fn index(&mut self, base: NodeId, optional: bool) -> Parsed {
        let span = self.advance()?.span;
        let from = if self.operator(":") { None } else { Some(self.expression(0)?) };
        if self.operator(":") {
            self.advance()?;
            let to = if self.bracket("]") { None } else { Some(self.expression(0)?) };
            let node = self.add(Node::Slice { base, from, to }, span)?;
            self.expect(Kind::Bracket, "]")?;
            return Ok(node);
        }
        let Some(property) = from else {
            return Err(self.unexpected("an index"));
        };
        let mut node = self.add(Node::Member { base, property, optional, method: false }, span)?;
        if optional {
            node = self.add(Node::Optional(node), span)?;
        }
        self.expect(Kind::Bracket, "]")?;
        Ok(node)
    }
}
