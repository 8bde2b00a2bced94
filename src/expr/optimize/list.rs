//! Functions over lists fused with what is done to their outcome.

use super::{
    super::{
        builtin::Builtin,
        error::Error,
        tree::{Binary, Node, NodeId, Pointer, Tuning},
        types::Type,
    },
    Work,
};

impl Work<'_> {
    /// All rewritings, each over the whole tree before the next.
    pub(super) fn lists(&mut self) -> Result<(), Error> {
        self.everywhere(Self::in_range)?;
        self.everywhere(Self::map_of_filter)?;
        self.everywhere(Self::len_of_filter)?;
        self.everywhere(Self::last_of_filter)?;
        self.everywhere(Self::first_of_filter)?;
        self.everywhere(Self::both_predicates)?;
        self.everywhere(Self::sum_of_literal)?;
        for id in self.tree.ids() {
            self.count_is_any(id);
        }
        for id in self.tree.ids() {
            self.count_threshold(id);
        }
        Ok(())
    }

    fn everywhere(&mut self, pass: impl Fn(&mut Self, NodeId) -> Result<(), Error>) -> Result<(), Error> {
        for id in self.tree.ids() {
            pass(self, id)?;
        }
        Ok(())
    }

    fn builtin(&self, id: NodeId, function: Builtin) -> Option<(Vec<NodeId>, Tuning)> {
        match self.node(id) {
            Node::Builtin(found, arguments, tuning) if *found == function => {
                Some((arguments.clone(), *tuning))
            }
            _ => None,
        }
    }

    /// A filter with its two arguments.
    fn filter(&self, id: NodeId) -> Option<(Vec<NodeId>, Tuning)> {
        self.builtin(id, Builtin::Filter).filter(|(arguments, _)| arguments.len() == 2)
    }

    /// `x in 1..3` with `x` an integer is a comparison with both ends.
    fn in_range(&mut self, id: NodeId) -> Result<(), Error> {
        let Node::Binary(Binary::In, left, right) = *self.node(id) else {
            return Ok(());
        };
        let Node::Binary(Binary::Range, from, to) = *self.node(right) else {
            return Ok(());
        };
        let literal = |work: &Self, id: NodeId| matches!(work.node(id), Node::Int(_));
        if !matches!(self.kind(left), Type::Int) || !literal(self, from) || !literal(self, to) {
            return Ok(());
        }
        let span = self.tree.span(id);
        let above = self.add(Node::Binary(Binary::MoreOrEqual, left, from), Type::Bool, span)?;
        let below = self.add(Node::Binary(Binary::LessOrEqual, left, to), Type::Bool, span)?;
        self.tree.replace(id, Node::Binary(Binary::And, above, below));
        Ok(())
    }

    /// `map(filter(x, p), f)` maps what the filter keeps.
    fn map_of_filter(&mut self, id: NodeId) -> Result<(), Error> {
        let Some((arguments, _)) = self.builtin(id, Builtin::Map) else {
            return Ok(());
        };
        let [filter, predicate] = arguments[..] else {
            return Ok(());
        };
        let Node::Predicate(body) = *self.node(predicate) else {
            return Ok(());
        };
        match self.filter(filter) {
            Some((inner, tuning)) if tuning.map.is_none() && !self.asks_index(body) => {
                let tuning = Tuning { map: Some(body), ..Tuning::default() };
                self.tree.replace(id, Node::Builtin(Builtin::Filter, inner, tuning));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// True when `#index` occurs anywhere below.
    fn asks_index(&self, id: NodeId) -> bool {
        let mut below = vec![id];
        while let Some(id) = below.pop() {
            if matches!(self.node(id), Node::Pointer(Pointer::Index)) {
                return true;
            }
            self.node(id).each_child(|child| below.push(child));
        }
        false
    }

    /// `len(filter(x, p))` is `count(x, p)`.
    fn len_of_filter(&mut self, id: NodeId) -> Result<(), Error> {
        if let Some((arguments, _)) = self.builtin(id, Builtin::Len)
            && let [filter] = arguments[..]
            && let Some((inner, _)) = self.filter(filter)
        {
            self.tree.replace(id, Node::Builtin(Builtin::Count, inner, Tuning::default()));
        }
        Ok(())
    }

    fn first_of_filter(&mut self, id: NodeId) -> Result<(), Error> {
        self.end_of_filter(id, 0, Builtin::First, Builtin::Find);
        Ok(())
    }

    fn last_of_filter(&mut self, id: NodeId) -> Result<(), Error> {
        self.end_of_filter(id, -1, Builtin::Last, Builtin::FindLast);
        Ok(())
    }

    /// `filter(x, p)[0]` and `first(filter(x, p))` stop at the first hit; `[-1]` and `last` begin at the end.
    fn end_of_filter(&mut self, id: NodeId, index: i64, named: Builtin, instead: Builtin) {
        let (of, throws) = match self.node(id) {
            Node::Member { base, property, optional: false, .. } if matches!(self.node(*property), Node::Int(at) if *at == index) => {
                (*base, true)
            }
            Node::Builtin(found, arguments, _) if *found == named && arguments.len() == 1 => {
                (arguments[0], false)
            }
            _ => return,
        };
        if let Some((inner, tuning)) = self.filter(of) {
            let tuning = Tuning { throws, map: tuning.map, threshold: None };
            self.tree.replace(id, Node::Builtin(instead, inner, tuning));
        }
    }

    /// `all(x, a) && all(x, b)` asks both of each element; so do `any` with `||` and `none` with `&&`.
    fn both_predicates(&mut self, id: NodeId) -> Result<(), Error> {
        let Node::Binary(operator @ (Binary::And | Binary::Or), left, right) = *self.node(id) else {
            return Ok(());
        };
        let (Node::Builtin(f, a, _), Node::Builtin(g, b, _)) = (self.node(left), self.node(right)) else {
            return Ok(());
        };
        let combined = match (f, operator) {
            (Builtin::All, Binary::And) => Binary::And,
            (Builtin::Any | Builtin::None, Binary::Or | Binary::And) => Binary::Or,
            _ => return Ok(()),
        };
        let wanted = if *f == Builtin::Any { Binary::Or } else { Binary::And };
        let (&[list, p], &[other, q]) = (&a[..], &b[..]) else {
            return Ok(());
        };
        if f != g || operator != wanted || self.kind(list).name() != self.kind(other).name() {
            return Ok(());
        }
        if !self.tree.same(list, other) {
            return Ok(());
        }
        let (Node::Predicate(p), Node::Predicate(q)) = (self.node(p), self.node(q)) else {
            return Ok(());
        };
        let (function, p, q, span) = (*f, *p, *q, self.tree.span(id));
        let both = self.add(Node::Binary(combined, p, q), Type::Any, span)?;
        self.both_predicates(both)?;
        let predicate = self.add(Node::Predicate(both), Type::Any, span)?;
        self.tree.replace(id, Node::Builtin(function, vec![list, predicate], Tuning::default()));
        Ok(())
    }

    /// `sum([a, b, c])` is `a + (b + c)`: also where that is a text.
    fn sum_of_literal(&mut self, id: NodeId) -> Result<(), Error> {
        let Some((arguments, _)) = self.builtin(id, Builtin::Sum) else {
            return Ok(());
        };
        let [list] = arguments[..] else {
            return Ok(());
        };
        let Node::Array(items) = self.node(list).clone() else {
            return Ok(());
        };
        let literal = |id: &NodeId| {
            matches!(self.node(*id), Node::Int(_) | Node::Float(_) | Node::Str(_) | Node::Bool(_))
        };
        if items.len() < 2 || items.iter().all(literal) {
            return Ok(());
        }
        let span = self.tree.span(id);
        let mut items = items.into_iter().rev();
        let Some(mut sum) = items.next() else {
            return Ok(());
        };
        for item in items {
            sum = self.add(Node::Binary(Binary::Add, item, sum), Type::Any, span)?;
        }
        self.copy(id, sum);
        Ok(())
    }

    /// `count(x, p) > 0` is `any(x, p)`.
    fn count_is_any(&mut self, id: NodeId) {
        let Node::Binary(operator, left, right) = *self.node(id) else {
            return;
        };
        let Node::Int(than) = *self.node(right) else {
            return;
        };
        let any = (operator == Binary::More && than == 0) || (operator == Binary::MoreOrEqual && than == 1);
        if let Some((arguments, _)) = self.builtin(left, Builtin::Count)
            && any
            && arguments.len() == 2
        {
            self.tree.replace(id, Node::Builtin(Builtin::Any, arguments, Tuning::default()));
        }
    }

    /// `count(x, p) > 5` stops counting at six.
    fn count_threshold(&mut self, id: NodeId) {
        let Node::Binary(operator, left, right) = *self.node(id) else {
            return;
        };
        let Node::Int(than) = *self.node(right) else {
            return;
        };
        let threshold = match operator {
            Binary::More | Binary::LessOrEqual => than.saturating_add(1),
            Binary::MoreOrEqual | Binary::Less => than,
            _ => return,
        };
        if let Some((arguments, _)) = self.builtin(left, Builtin::Count)
            && than >= 0
            && threshold > 1
            && arguments.len() == 2
        {
            let tuning = Tuning { threshold: Some(threshold), ..Tuning::default() };
            self.tree.replace(left, Node::Builtin(Builtin::Count, arguments, tuning));
        }
    }
}
