//! The types of operators.

use super::{
    super::{
        error::{self, Error},
        pattern::Pattern,
        tree::{Binary, Node, NodeId, Unary},
        types::{Carrier, Type},
    },
    Checker, Typed,
};

impl Checker<'_> {
    pub(super) fn unary(&mut self, id: NodeId, operator: Unary, operand: NodeId) -> Typed {
        let kind = self.visit(operand)?;
        match operator {
            Unary::Not if kind == Type::Bool || kind.is_unknown() => return Ok(Type::Bool),
            Unary::Plus | Unary::Minus if kind.is_number() => return Ok(kind),
            Unary::Plus | Unary::Minus if kind.is_unknown() => return Ok(Type::Unknown),
            Unary::Not | Unary::Plus | Unary::Minus => {}
        }
        let message = format!("invalid operation: {} (mismatched type {})", self.written(id), kind.name());
        Err(self
            .fail(id, message)
            .wanted(if operator == Unary::Not { "a bool" } else { "a number" }, kind.spoken()))
    }

    pub(super) fn chain(&mut self, id: NodeId) -> Typed {
        let Node::Chain(steps, last) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        let mut steps = steps.into_iter();
        let Some((mut operator, first)) = steps.next() else {
            return Ok(Type::Bool);
        };
        let mut left = self.visit(first)?;
        for (next, right) in steps.map(|(next, right)| (Some(next), right)).chain([(None, last)]) {
            let right = self.visit(right)?;
            if !ordered(&left, &right) {
                return Err(self.mismatched(id, operator, &left, &right));
            }
            left = right;
            operator = next.unwrap_or(operator);
        }
        Ok(Type::Bool)
    }

    pub(super) fn binary(&mut self, id: NodeId, operator: Binary, left: NodeId, right: NodeId) -> Typed {
        let l = self.visit(left)?;
        let r = self.visit(right)?;
        let kind = match operator {
            Binary::Equal | Binary::NotEqual => l.comparable_to(&r).then_some(Type::Bool),
            Binary::Or | Binary::And => {
                let fits = (l == Type::Bool && r == Type::Bool) || l.maybe(&r, |t| *t == Type::Bool);
                fits.then_some(Type::Bool)
            }
            Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual => {
                ordered(&l, &r).then_some(Type::Bool)
            }
            Binary::Add | Binary::Subtract | Binary::Multiply => arithmetic(operator, &l, &r),
            Binary::Divide | Binary::Power => {
                let fits = (l.is_number() && r.is_number()) || l.maybe(&r, Type::is_number);
                fits.then_some(Type::Float)
            }
            Binary::Modulo => {
                let fits = (l.is_integer() && r.is_integer()) || l.maybe(&r, Type::is_integer);
                fits.then_some(Type::Int)
            }
            Binary::Range => {
                let fits = (l.is_integer() && r.is_integer()) || l.maybe(&r, Type::is_integer);
                fits.then(|| Type::list_of(Type::Int))
            }
            Binary::In => self.membership(id, &l, &r)?,
            Binary::Matches => {
                self.pattern(id, right)?;
                texts(&l, &r)
            }
            Binary::Contains | Binary::StartsWith | Binary::EndsWith => texts(&l, &r),
            Binary::Coalesce => Some(coalesced(l.clone(), r.clone())),
        };
        kind.ok_or_else(|| self.mismatched(id, operator, &l, &r))
    }

    fn membership(&self, id: NodeId, l: &Type, r: &Type) -> Result<Option<Type>, Error> {
        if (*l == Type::Text || l.is_unknown()) && *r == Type::Time {
            return Ok(Some(Type::Bool));
        }
        if r.is_map() {
            if !l.is_unknown() && !l.assignable_to(&r.key()) {
                let message = format!("cannot use {} as type {} in map key", l.name(), r.key().name());
                return Err(self.fail(id, message).hint("`in` an object asks for a key, which is a text"));
            }
            return Ok(Some(Type::Bool));
        }
        if r.is_list() {
            let element = r.element();
            if !l.comparable_to(&element) {
                let message = format!("cannot use {} as type {} in array", l.name(), element.name());
                return Err(self.fail(id, message).wanted(element.spoken(), l.spoken()));
            }
            return Ok(Some(Type::Bool));
        }
        let open = r.is_unknown() || (l.is_unknown() && *r == Type::Text);
        Ok(open.then_some(Type::Bool))
    }

    /// A pattern that is written out must be one.
    fn pattern(&self, id: NodeId, right: NodeId) -> Result<(), Error> {
        let Node::Str(text) = self.tree.node(right) else {
            return Ok(());
        };
        Pattern::compile(text).map(drop).map_err(|message| self.fail(id, message))
    }

    fn mismatched(&self, id: NodeId, operator: Binary, l: &Type, r: &Type) -> Error {
        let written = self.written(id);
        let message =
            format!("invalid operation: {written} (mismatched types {} and {})", l.name(), r.name());
        let error = self.fail(id, message).wanted(
            format!("{} on both sides", wanted(operator)),
            format!("{} and {}", l.spoken(), r.spoken()),
        );
        let list_of_numbers = |t: &Type| matches!(t, Type::List(Carrier::Floats, _));
        if *self.result != Type::Nil && (list_of_numbers(l) || list_of_numbers(r)) {
            return error.hint("`result` is a list here: did you mean `result[0]`?");
        }
        if *l == Type::Nil || *r == Type::Nil {
            return error.hint(error::NOTHING);
        }
        if (l.is_number() && *r == Type::Text) || (*l == Type::Text && r.is_number()) {
            return error.hint("compare numbers with numbers: drop the quotes, or use asFloat(..)");
        }
        error
    }
}

fn wanted(operator: Binary) -> &'static str {
    match operator {
        Binary::Or | Binary::And => "a bool",
        Binary::Equal | Binary::NotEqual => "one type",
        Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual => "numbers, or one type,",
        Binary::In => "an element or key and a list or object",
        Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => "a text",
        Binary::Range | Binary::Modulo => "an integer",
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Power => "a number",
        Binary::Coalesce => "a value",
    }
}

fn ordered(l: &Type, r: &Type) -> bool {
    let orderable = |t: &Type| t.is_number() || matches!(t, Type::Text | Type::Time | Type::Duration);
    (l.is_number() && r.is_number())
        || (l == r && matches!(l, Type::Text | Type::Time | Type::Duration))
        || l.maybe(r, orderable)
}

fn texts(l: &Type, r: &Type) -> Option<Type> {
    let fits = (*l == Type::Text && *r == Type::Text) || l.maybe(r, |t| *t == Type::Text);
    fits.then_some(Type::Bool)
}

fn arithmetic(operator: Binary, l: &Type, r: &Type) -> Option<Type> {
    use Type::{Duration, Text, Time};
    if l.is_number() && r.is_number() {
        return Some(l.promoted(r));
    }
    match (operator, l, r) {
        (Binary::Add, Text, Text) => Some(Text),
        (Binary::Add, Time, Duration)
        | (Binary::Add, Duration, Time)
        | (Binary::Subtract, Time, Duration) => Some(Time),
        (Binary::Subtract, Time, Time) => Some(Duration),
        (_, Duration, Duration) => Some(Duration),
        (Binary::Multiply, Duration, other) | (Binary::Multiply, other, Duration) if other.is_number() => {
            Some(Duration)
        }
        _ => {
            let fits = |t: &Type| match t {
                Duration => true,
                Time => operator != Binary::Multiply,
                Text => operator == Binary::Add,
                other => other.is_number(),
            };
            l.maybe(r, fits).then_some(Type::Unknown)
        }
    }
}

fn coalesced(l: Type, r: Type) -> Type {
    match (&l, &r) {
        (Type::Nil, _) => r,
        (_, Type::Nil) => l,
        _ if r.assignable_to(&l) => l,
        _ => Type::Unknown,
    }
}
