//! What can be wrong with a condition, and how it is said.

use std::{fmt, ops::Range};

use super::{limits, tree::Span};

/// Where a condition went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The text is not a condition. It never will be one: fix the template.
    Syntax,
    /// The condition does not fit the type of what the provider returned.
    Type,
    /// The condition fits, and its evaluation met something it cannot judge: an index past the end, a nil.
    Evaluation,
    /// The condition or its evaluation is larger than serin allows.
    Limit,
}

/// Why a condition has no verdict.
///
/// `Display` is the bare message that people know from `measurement.message`. Position, what was found and
/// expected, and a hint are there for tools that can show more; [`Error::explain`] puts them together.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    stage: Stage,
    message: String,
    span: Option<Span>,
    found: Option<String>,
    expected: Option<String>,
    hint: Option<String>,
}

/// Hints where there is nothing to judge. None of them offers a way to pass without saying that it is one.
pub(crate) const NOTHING: &str = "there is no data: try the query at the provider; only where no data may pass, \
                                  `default(result, ..)` gives it a value";
pub(crate) const EMPTY: &str = "there is no data: try the query at the provider; only where no data may pass, \
                                `len(result) == 0 || ..` says so";
pub(crate) const NIL_SIDE: &str = "one side is nil: an empty list, or a field that is not there; `?? ..` gives it a \
                                   value, take one that fails";

impl Error {
    fn new(stage: Stage, message: impl Into<String>, span: Option<Span>) -> Self {
        let mut message = message.into();
        if message.len() > limits::MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(limits::MESSAGE_BYTES));
            message.push_str("...");
        }
        Self(Box::new(Inner { stage, message, span, found: None, expected: None, hint: None }))
    }

    pub(crate) fn syntax(message: impl Into<String>, span: Span) -> Self {
        Self::new(Stage::Syntax, message, Some(span))
    }

    pub(crate) fn mismatch(message: impl Into<String>, span: Span) -> Self {
        Self::new(Stage::Type, message, Some(span))
    }

    /// An error of evaluation; the evaluator adds the place.
    pub(crate) fn evaluation(message: impl Into<String>) -> Self {
        Self::new(Stage::Evaluation, message, None)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(Stage::Limit, message, None)
    }

    pub(crate) fn too_deep(span: Span) -> Self {
        Self::new(Stage::Limit, "expression is nested too deeply", Some(span)).hint(
            "at most 64 brackets in one another and 200 operators in a row; use `in [..]` for long lists",
        )
    }

    pub(crate) fn too_many_nodes(span: Span) -> Self {
        Self::new(Stage::Limit, "compilation failed: expression exceeds maximum allowed nodes", Some(span))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    pub(crate) fn wanted(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self.0.found = Some(found.into());
        self
    }

    /// Adds the place where there is none yet.
    pub(crate) fn at(mut self, span: Span) -> Self {
        self.0.span.get_or_insert(span);
        self
    }

    /// Where it went wrong: in the text, the types, the evaluation, or at a limit.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The bytes of the condition's text that are to blame.
    pub fn place(&self) -> Option<Range<usize>> {
        self.0.span.map(|span| usize::from(span.from)..usize::from(span.to))
    }

    /// What was found, in the words of the language.
    pub fn found(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// What would have fitted.
    pub fn expected(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What to write instead.
    pub fn suggestion(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The message with the place marked in `text`, for a terminal. Several lines, no colour, no final line end.
    pub fn explain(&self, text: &str) -> String {
        let mut out = self.0.message.trim_end().to_owned();
        if let Some(place) = self.place().filter(|place| text.is_char_boundary(place.start.min(text.len()))) {
            let start = place.start.min(text.len());
            let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let line = text[line_start..].lines().next().unwrap_or_default();
            let before = text[line_start..start].chars().count();
            let marked = text.get(start..place.end.min(line_start + line.len())).unwrap_or_default();
            let width = marked.chars().count().max(1);
            out += &format!(
                "\n  | {}\n  | {}{}",
                line.replace('\t', " "),
                " ".repeat(before),
                "^".repeat(width)
            );
        }
        if let (Some(expected), Some(found)) = (self.expected(), self.found()) {
            out += &format!("\n  expected {expected}, found {found}");
        }
        if let Some(hint) = self.suggestion() {
            out += &format!("\n  hint: {hint}");
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}
