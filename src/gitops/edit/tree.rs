//! A YAML text as a tree of places: where each scalar stands in the bytes, how it is written, and what hangs
//! below what. Built from the parser's events; values are not interpreted. Pure.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Deeper than this no Kubernetes object is; a limit keeps the walk off the stack's end.
const MAX_DEPTH: usize = 100;

/// More nodes than any manifest of the allowed size has for good reasons.
const MAX_NODES: usize = 200_000;

/// One node of a YAML text.
#[derive(Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    /// Keys in the order of the text, duplicates included.
    Mapping(Vec<(Node, Node)>),
    Sequence(Vec<Node>),
    /// A `*name`: the node stands elsewhere.
    Alias,
}

/// One scalar and where its text stands, quotes included.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) value: String,
    pub(super) style: ScalarStyle,
    pub(super) bytes: Range<usize>,
}

/// Why a text cannot be read as a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Syntax(String),
    TooDeep,
    TooLarge,
}

impl Node {
    /// The text of a scalar; `None` for everything else.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(scalar) => Some(&scalar.value),
            Self::Mapping(_) | Self::Sequence(_) | Self::Alias => None,
        }
    }

    /// The value of a key, if this is a mapping that has it. With duplicates: the first.
    pub(super) fn entry(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Mapping(entries) => {
                entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
            }
            Self::Scalar(_) | Self::Sequence(_) | Self::Alias => None,
        }
    }
}

/// The documents of `text`, empty ones left out.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| Unreadable::Syntax(e.to_string()))?;
        builder.take(&event, span)?;
    }
    Ok(builder.documents)
}

/// An open mapping or sequence.
enum Open {
    Mapping { entries: Vec<(Node, Node)>, key: Option<Node> },
    Sequence(Vec<Node>),
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: &Event<'_>, span: Span) -> Result<(), Unreadable> {
        match event {
            Event::Scalar(value, style, _, _) => {
                let at = span.start.byte_offset().zip(span.end.byte_offset());
                let (start, end) = at.ok_or_else(|| Unreadable::Syntax("a scalar without place".into()))?;
                self.place(Node::Scalar(Scalar {
                    value: value.to_string(),
                    style: *style,
                    bytes: start..end,
                }))
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => self.place(Node::Alias),
            Event::MappingStart(..) => self.begin(Open::Mapping { entries: vec![], key: None }),
            Event::SequenceStart(..) => self.begin(Open::Sequence(vec![])),
            Event::MappingEnd | Event::SequenceEnd => match self.open.pop() {
                Some(Open::Mapping { entries, .. }) => self.place(Node::Mapping(entries)),
                Some(Open::Sequence(items)) => self.place(Node::Sequence(items)),
                None => Err(Unreadable::Syntax("an end without a start".into())),
            },
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::Comment(..) => Ok(()),
            _ => Err(Unreadable::Syntax("an event that is not known here".into())),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), Unreadable> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        self.open.push(open);
        Ok(())
    }

    fn place(&mut self, node: Node) -> Result<(), Unreadable> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Unreadable::TooLarge);
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping { entries, key }) => match key.take() {
                None => *key = Some(node),
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}
