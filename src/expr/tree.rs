//! The syntax tree: an arena, so that building, rewriting and dropping need no recursion.

use super::{builtin::Builtin, error::Error, limits};

/// A place in the text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// A node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    More,
    LessOrEqual,
    MoreOrEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Coalesce,
}

impl Binary {
    /// True for `<`, `>`, `<=` and `>=`, which can be chained: `1 < x < 3`.
    pub(crate) fn orders(self) -> bool {
        matches!(self, Self::Less | Self::More | Self::LessOrEqual | Self::MoreOrEqual)
    }

    /// The usual way to write an operator.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::More => ">",
            Self::LessOrEqual => "<=",
            Self::MoreOrEqual => ">=",
            Self::In => "in",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Range => "..",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
            Self::Coalesce => "??",
        }
    }
}

/// What `#` stands for inside a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pointer {
    /// `#`, and what `.field` is a field of.
    Element,
    /// `#index`.
    Index,
    /// `#acc`.
    Accumulator,
}

/// Changes to a function over a list that only the optimizer makes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tuning {
    /// `find` that fails where it finds nothing: from `filter(..)[0]`.
    pub(crate) throws: bool,
    /// What to yield instead of the element: from `map(filter(..), ..)`.
    pub(crate) map: Option<NodeId>,
    /// Where `count` may stop counting.
    pub(crate) threshold: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Box<str>),
    Name(Box<str>),
    Unary(Unary, NodeId),
    Binary(Binary, NodeId, NodeId),
    /// `1 < x < 3`: two orderings or more, all of which must hold.
    Chain(Vec<(Binary, NodeId)>, NodeId),
    /// The end of an optional chain: `a?.b.c`.
    Optional(NodeId),
    Member {
        base: NodeId,
        property: NodeId,
        optional: bool,
        method: bool,
    },
    Slice {
        base: NodeId,
        from: Option<NodeId>,
        to: Option<NodeId>,
    },
    Call(NodeId, Vec<NodeId>),
    Builtin(Builtin, Vec<NodeId>, Tuning),
    /// The body of a predicate: `# > 1`, `{# > 1}`.
    Predicate(NodeId),
    Pointer(Pointer),
    /// `#other`: never valid, said by the checker.
    UnknownPointer(Box<str>),
    Let(Box<str>, NodeId, NodeId),
    Sequence(Vec<NodeId>),
    /// `c ? a : b`; without a middle `c ?: b`.
    Conditional(NodeId, Option<NodeId>, NodeId),
    Array(Vec<NodeId>),
    /// Keys and values in turn.
    Map(Vec<(NodeId, NodeId)>),
}

/// The nodes of one condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    spans: Vec<Span>,
    heights: Vec<u16>,
    pub(crate) root: Option<NodeId>,
}

impl Tree {
    /// Adds a node above its children.
    ///
    /// # Errors
    /// When the tree would have more nodes or be higher than the limits allow.
    pub(crate) fn add(&mut self, node: Node, span: Span) -> Result<NodeId, Error> {
        let mut height = 0;
        node.each_child(|child| height = height.max(self.heights[child.index()]));
        if usize::from(height) >= limits::DEPTH {
            return Err(Error::too_deep(span));
        }
        if self.nodes.len() >= limits::NODES {
            return Err(Error::too_many_nodes(span));
        }
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        self.spans.push(span);
        self.heights.push(height + 1);
        Ok(id)
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub(crate) fn span(&self, id: NodeId) -> Span {
        self.spans[id.index()]
    }

    /// Puts another node in the place of one.
    pub(crate) fn replace(&mut self, id: NodeId, node: Node) {
        self.nodes[id.index()] = node;
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Every node in the order of making: children before what they are children of.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    /// True when two subtrees read the same.
    pub(crate) fn same(&self, left: NodeId, right: NodeId) -> bool {
        if left == right {
            return true;
        }
        let (a, b) = (self.node(left), self.node(right));
        let mut children = vec![];
        a.each_child(|child| children.push(child));
        let mut others = vec![];
        b.each_child(|child| others.push(child));
        a.same_kind(b)
            && children.len() == others.len()
            && children.iter().zip(&others).all(|(x, y)| self.same(*x, *y))
    }
}

impl Node {
    /// Calls `visit` with each child, left to right.
    pub(crate) fn each_child(&self, mut visit: impl FnMut(NodeId)) {
        match self {
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Str(_) | Self::Name(_) => {}
            Self::Pointer(_) | Self::UnknownPointer(_) => {}
            Self::Unary(_, a) | Self::Optional(a) | Self::Predicate(a) => visit(*a),
            Self::Binary(_, a, b) | Self::Let(_, a, b) => [*a, *b].into_iter().for_each(visit),
            Self::Member { base, property, .. } => [*base, *property].into_iter().for_each(visit),
            Self::Slice { base, from, to } => {
                [Some(*base), *from, *to].into_iter().flatten().for_each(visit);
            }
            Self::Chain(steps, last) => {
                steps.iter().for_each(|(_, a)| visit(*a));
                visit(*last);
            }
            Self::Call(callee, arguments) => {
                visit(*callee);
                arguments.iter().copied().for_each(visit);
            }
            Self::Builtin(_, arguments, tuning) => {
                arguments.iter().copied().chain(tuning.map).for_each(visit);
            }
            Self::Sequence(nodes) | Self::Array(nodes) => nodes.iter().copied().for_each(visit),
            Self::Conditional(cond, yes, no) => {
                [Some(*cond), *yes, Some(*no)].into_iter().flatten().for_each(visit);
            }
            Self::Map(pairs) => pairs.iter().flat_map(|(k, v)| [*k, *v]).for_each(visit),
        }
    }

    /// True when two nodes are alike apart from their children.
    fn same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unary(a, _), Self::Unary(b, _)) => a == b,
            (Self::Binary(a, ..), Self::Binary(b, ..)) => a == b,
            (Self::Chain(a, _), Self::Chain(b, _)) => a.iter().map(|x| x.0).eq(b.iter().map(|x| x.0)),
            (Self::Member { optional: a, method: m, .. }, Self::Member { optional: b, method: n, .. }) => {
                a == b && m == n
            }
            (Self::Slice { from: a, to: c, .. }, Self::Slice { from: b, to: d, .. }) => {
                a.is_some() == b.is_some() && c.is_some() == d.is_some()
            }
            (Self::Builtin(a, _, s), Self::Builtin(b, _, t)) => {
                a == b && s.throws == t.throws && s.threshold == t.threshold
            }
            (Self::Let(a, ..), Self::Let(b, ..)) => a == b,
            (Self::Conditional(_, a, _), Self::Conditional(_, b, _)) => a.is_some() == b.is_some(),
            (Self::Optional(_), Self::Optional(_))
            | (Self::Call(..), Self::Call(..))
            | (Self::Predicate(_), Self::Predicate(_))
            | (Self::Sequence(_), Self::Sequence(_))
            | (Self::Array(_), Self::Array(_))
            | (Self::Map(_), Self::Map(_)) => true,
            (a, b) => a == b,
        }
    }
}
