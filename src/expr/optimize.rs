//! The rewritings of the reference that people can see: they decide which errors are met at all.
//!
//! `x || true` never looks at `x`; `filter(..)[0]` stops at the first hit; `all(..) && all(..)` asks both of one
//! element before the next. A verdict that depends on them depends on them here too.

mod fold;
mod list;

use super::{
    error::Error,
    tree::{Node, NodeId, Span, Tree},
    types::Type,
};

/// Rewrites a checked tree.
///
/// # Errors
/// A division of whole numbers by a literal zero, which the reference refuses before it evaluates; or a limit.
pub(crate) fn optimize(tree: &mut Tree, types: &mut Vec<Type>) -> Result<(), Error> {
    let mut work = Work { tree, types };
    // Each round makes at least one node a literal, so the text's length bounds the rounds.
    for _ in 0..super::limits::NODES {
        if !work.fold()? {
            break;
        }
    }
    work.lists()
}

struct Work<'a> {
    tree: &'a mut Tree,
    types: &'a mut Vec<Type>,
}

impl Work<'_> {
    /// Adds a node of a type.
    fn add(&mut self, node: Node, kind: Type, span: Span) -> Result<NodeId, Error> {
        let id = self.tree.add(node, span)?;
        self.types.push(kind);
        Ok(id)
    }

    fn kind(&self, id: NodeId) -> &Type {
        &self.types[id.index()]
    }

    /// Puts a node of a type in the place of another.
    fn put(&mut self, id: NodeId, node: Node, kind: Type) {
        self.tree.replace(id, node);
        self.types[id.index()] = kind;
    }

    /// Puts a copy of a node in the place of another, which keeps its own type.
    fn copy(&mut self, to: NodeId, from: NodeId) {
        let node = self.tree.node(from).clone();
        self.tree.replace(to, node);
    }

    fn node(&self, id: NodeId) -> &Node {
        self.tree.node(id)
    }
}
