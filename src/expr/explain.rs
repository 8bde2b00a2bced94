//! The typed tree, for people.

use std::fmt::Write;

use super::{
    tree::{Binary, Node, NodeId, Pointer, Tree, Unary},
    types::Type,
};

/// One node a line, children indented, each with its static type.
pub(crate) fn explain(tree: &Tree, types: &[Type]) -> String {
    let mut out = String::new();
    if let Some(root) = tree.root {
        write(tree, types, root, 0, &mut out);
    }
    out.trim_end().to_owned()
}

fn write(tree: &Tree, types: &[Type], id: NodeId, depth: usize, out: &mut String) {
    let node = tree.node(id);
    if let Node::Predicate(body) = node {
        return write(tree, types, *body, depth, out);
    }
    let indent = "  ".repeat(depth);
    let label = label(tree, node);
    let kind = match types.get(id.index()) {
        Some(Type::Unknown | Type::Any) | None => "known only when evaluated",
        Some(Type::Nil) => "nil",
        Some(kind) => kind.name(),
    };
    let width = 34_usize.saturating_sub(indent.len());
    let _ = writeln!(out, "{indent}{label:<width$}  {kind}");
    let named = matches!(node, Node::Member { property, .. } if matches!(tree.node(*property), Node::Str(_)));
    let mut children = vec![];
    node.each_child(|child| children.push(child));
    if named {
        children.truncate(1);
    }
    if matches!(node, Node::Call(callee, _) if matches!(tree.node(*callee), Node::Name(_))) {
        children.remove(0);
    }
    for child in children {
        write(tree, types, child, depth + 1, out);
    }
}

fn label(tree: &Tree, node: &Node) -> String {
    match node {
        Node::Nil => "nil".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Int(value) => value.to_string(),
        Node::Float(value) => super::number::printed(*value),
        Node::Str(text) => super::escape::quoted(text),
        Node::Name(name) => name.to_string(),
        Node::Unary(Unary::Not, _) => "not".to_owned(),
        Node::Unary(Unary::Minus, _) => "-".to_owned(),
        Node::Unary(Unary::Plus, _) => "+".to_owned(),
        Node::Binary(operator, ..) => operator.sign().to_owned(),
        Node::Chain(steps, _) => {
            let signs: Vec<&str> =
                steps.iter().map(|(operator, _): &(Binary, NodeId)| operator.sign()).collect();
            format!("all of {}", signs.join(" "))
        }
        Node::Optional(_) => "stops at nil".to_owned(),
        Node::Member { property, optional, .. } => {
            let dot = if *optional { "?." } else { "." };
            match tree.node(*property) {
                Node::Str(name) => format!("{dot}{name}"),
                _ => "[..]".to_owned(),
            }
        }
        Node::Slice { .. } => "[from:to]".to_owned(),
        Node::Call(callee, _) => match tree.node(*callee) {
            Node::Name(name) => format!("{name}(..)"),
            _ => "call".to_owned(),
        },
        Node::Builtin(function, ..) => format!("{}(..)", function.name()),
        Node::Predicate(_) => "predicate".to_owned(),
        Node::Pointer(Pointer::Element) => "#".to_owned(),
        Node::Pointer(Pointer::Index) => "#index".to_owned(),
        Node::Pointer(Pointer::Accumulator) => "#acc".to_owned(),
        Node::UnknownPointer(name) => format!("#{name}"),
        Node::Let(name, ..) => format!("let {name}"),
        Node::Sequence(_) => "one after another".to_owned(),
        Node::Conditional(..) => "if, then, else".to_owned(),
        Node::Array(_) => "[..]".to_owned(),
        Node::Map(_) => "{..}".to_owned(),
    }
}
