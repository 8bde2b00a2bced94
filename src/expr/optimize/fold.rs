//! Literals folded, and conditions that a literal decides.

use super::{
    super::{
        builtin::Builtin,
        error::Error,
        number,
        tree::{Binary, Node, NodeId, Tuning, Unary},
        types::Type,
    },
    Work,
};

/// A literal as an operand of folding.
enum Literal {
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Bool(bool),
}

impl Work<'_> {
    /// One round over all nodes; true when something changed.
    pub(super) fn fold(&mut self) -> Result<bool, Error> {
        let mut changed = false;
        for id in self.tree.ids() {
            changed |= match self.node(id) {
                Node::Unary(operator, operand) => self.fold_unary(id, *operator, *operand),
                Node::Binary(operator, left, right) => self.fold_binary(id, *operator, *left, *right)?,
                Node::Builtin(Builtin::Filter, ..) => self.fold_filters(id)?,
                _ => false,
            };
        }
        Ok(changed)
    }

    fn literal(&self, id: NodeId) -> Option<Literal> {
        match self.node(id) {
            Node::Int(value) => Some(Literal::Int(*value)),
            Node::Float(value) => Some(Literal::Float(*value)),
            Node::Str(text) => Some(Literal::Text(text.clone())),
            Node::Bool(value) => Some(Literal::Bool(*value)),
            _ => None,
        }
    }

    fn set(&mut self, id: NodeId, literal: Literal) -> bool {
        let (node, kind) = match literal {
            Literal::Int(value) => (Node::Int(value), Type::Int),
            Literal::Float(value) => (Node::Float(value), Type::Float),
            Literal::Text(text) => (Node::Str(text), Type::Text),
            Literal::Bool(value) => (Node::Bool(value), Type::Bool),
        };
        self.put(id, node, kind);
        true
    }

    fn fold_unary(&mut self, id: NodeId, operator: Unary, operand: NodeId) -> bool {
        match (operator, self.literal(operand)) {
            (Unary::Minus, Some(Literal::Int(value))) => self.set(id, Literal::Int(value.wrapping_neg())),
            (Unary::Minus, Some(Literal::Float(value))) => self.set(id, Literal::Float(-value)),
            (Unary::Plus, Some(literal @ (Literal::Int(_) | Literal::Float(_)))) => self.set(id, literal),
            (Unary::Not, Some(Literal::Bool(value))) => self.set(id, Literal::Bool(!value)),
            _ => false,
        }
    }

    fn fold_binary(
        &mut self,
        id: NodeId,
        operator: Binary,
        left: NodeId,
        right: NodeId,
    ) -> Result<bool, Error> {
        let (a, b) = (self.literal(left), self.literal(right));
        match operator {
            Binary::And | Binary::Or => return Ok(self.decide(id, operator == Binary::Or, left, right)),
            Binary::Modulo if matches!(a, Some(Literal::Int(_))) && matches!(b, Some(Literal::Int(0))) => {
                return Err(Error::mismatch("integer divide by zero", self.tree.span(id)));
            }
            _ => {}
        }
        let (Some(a), Some(b)) = (a, b) else {
            return Ok(false);
        };
        Ok(match folded(operator, &a, &b) {
            Some(literal) => self.set(id, literal),
            None => false,
        })
    }

    /// `true && x` and `x && true` are `x`; anything and `false` is `false`. The other way round for `||`.
    fn decide(&mut self, id: NodeId, or: bool, left: NodeId, right: NodeId) -> bool {
        let known = |work: &Self, id: NodeId| match work.node(id) {
            Node::Bool(value) => Some(*value),
            _ => None,
        };
        let (a, b) = (known(self, left), known(self, right));
        if a == Some(!or) {
            self.copy(id, right);
            true
        } else if b == Some(!or) {
            self.copy(id, left);
            true
        } else if a == Some(or) || b == Some(or) {
            self.set(id, Literal::Bool(or))
        } else {
            false
        }
    }

    /// `filter(filter(x, a), b)` is `filter(x, a && b)`.
    fn fold_filters(&mut self, id: NodeId) -> Result<bool, Error> {
        let Node::Builtin(Builtin::Filter, outer, _) = self.node(id) else {
            return Ok(false);
        };
        let [inner, second] = outer[..] else {
            return Ok(false);
        };
        let Node::Builtin(Builtin::Filter, arguments, _) = self.node(inner) else {
            return Ok(false);
        };
        let [list, first] = arguments[..] else {
            return Ok(false);
        };
        let (Node::Predicate(first), Node::Predicate(second)) = (self.node(first), self.node(second)) else {
            return Ok(false);
        };
        let (first, second, span) = (*first, *second, self.tree.span(id));
        let both = self.add(Node::Binary(Binary::And, first, second), Type::Any, span)?;
        let predicate = self.add(Node::Predicate(both), Type::Any, span)?;
        self.tree.replace(id, Node::Builtin(Builtin::Filter, vec![list, predicate], Tuning::default()));
        Ok(true)
    }
}

fn folded(operator: Binary, a: &Literal, b: &Literal) -> Option<Literal> {
    use Literal::{Bool, Float, Int, Text};
    match (operator, a, b) {
        (Binary::Add, Text(x), Text(y)) => Some(Text([x.as_ref(), y.as_ref()].concat().into())),
        (Binary::Add, Int(x), Int(y)) => Some(Int(x.wrapping_add(*y))),
        (Binary::Subtract, Int(x), Int(y)) => Some(Int(x.wrapping_sub(*y))),
        (Binary::Multiply, Int(x), Int(y)) => Some(Int(x.wrapping_mul(*y))),
        (Binary::Modulo, Int(x), Int(y)) => Some(Int(x.wrapping_rem(*y))),
        (Binary::Equal, Int(x), Int(y)) => Some(Bool(x == y)),
        (Binary::Equal, Text(x), Text(y)) => Some(Bool(x == y)),
        (Binary::Equal, Bool(x), Bool(y)) => Some(Bool(x == y)),
        (_, Int(_) | Float(_), Int(_) | Float(_)) => {
            let wide = |literal: &Literal| match literal {
                Int(value) => number::widened(*value),
                Float(value) => *value,
                Text(_) | Bool(_) => f64::NAN,
            };
            let (x, y) = (wide(a), wide(b));
            match operator {
                Binary::Add => Some(Float(x + y)),
                Binary::Subtract => Some(Float(x - y)),
                Binary::Multiply => Some(Float(x * y)),
                Binary::Divide => Some(Float(x / y)),
                Binary::Power => Some(Float(x.powf(y))),
                _ => None,
            }
        }
        _ => None,
    }
}
