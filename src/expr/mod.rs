//! The condition language of analysis metrics: pure, bounded, total. No I/O. No clock.
//!
//! A condition is parsed once. For each type of result that it meets it is checked and made into a program once;
//! evaluating is walking that program.
//!
//! ```text
//! text -lexer, parser-> tree -check(type of the result)-> types -optimize, lower-> program -eval(result)-> verdict
//! ```
//!
//! The verdicts are those of the reference controller's engine, its optimizer's included, on every condition that
//! people have written. Where there is nothing to judge there is an error, never a pass.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one operation fits one or two of 14 kinds of values, 18 types, 70 functions: everything else is an \
              error, `no such rewriting` or the general way, never a verdict; arms that act list what they act on"
)]

mod budget;
mod builtin;
mod check;
mod compare;
mod error;
mod escape;
mod eval;
mod explain;
mod judge;
mod layout;
mod lexer;
mod limits;
mod lower;
mod moment;
mod number;
mod optimize;
mod parser;
mod pattern;
mod tree;
mod types;
mod value;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;

pub use error::{Error, Stage};
pub use eval::Reason;
pub use judge::{JudgeError, Judged, Which, judge, judge_at};

use crate::domain::value::MetricValue;
use lower::Program;
use tree::Tree;
use types::{Carrier, Keyed, Type};
use value::Value;

/// A condition, parsed once and evaluated many times, by any number of threads. Two conditions are equal when
/// their texts are.
#[derive(Clone)]
pub struct Condition(Arc<Parsed>);

struct Parsed {
    text: String,
    tree: Tree,
    /// One for each [`Shape`], made when the first result of that shape is there.
    programs: [OnceLock<Result<Program, Error>>; Shape::COUNT],
}

/// The static types that results have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Nil,
    Bool,
    Int,
    Float,
    Text,
    Floats,
    Rows,
    List,
    Object,
}

impl Shape {
    const COUNT: usize = 9;

    fn of(result: &MetricValue) -> Self {
        match result {
            MetricValue::Float(_) => Self::Float,
            MetricValue::Int(_) => Self::Int,
            MetricValue::Floats(_) => Self::Floats,
            MetricValue::MapList(_) => Self::Rows,
            MetricValue::Str(_) | MetricValue::Json(serde_json::Value::String(_)) => Self::Text,
            MetricValue::Nil | MetricValue::Json(serde_json::Value::Null) => Self::Nil,
            MetricValue::Json(serde_json::Value::Bool(_)) => Self::Bool,
            MetricValue::Json(serde_json::Value::Number(_)) => Self::Float,
            MetricValue::Json(serde_json::Value::Array(_)) => Self::List,
            MetricValue::Json(serde_json::Value::Object(_)) => Self::Object,
        }
    }

    fn kind(self) -> Type {
        match self {
            Self::Nil => Type::Nil,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Float => Type::Float,
            Self::Text => Type::Text,
            Self::Floats => Type::List(Carrier::Floats, None),
            Self::Rows => Type::List(Carrier::Maps, None),
            Self::List => Type::LIST,
            Self::Object => Type::Map(Keyed::Text),
        }
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// A text that is no condition whatever the result ([`Stage::Syntax`]), or larger than the limits
    /// ([`Stage::Limit`]).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let tree = parser::parse(text)?;
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), tree, programs: Default::default() })))
    }

    /// The verdict on a result; `now()` in the condition is an error.
    ///
    /// # Errors
    /// Types that do not fit ([`Stage::Type`]), nothing where something is asked for ([`Stage::Evaluation`]), too
    /// much work ([`Stage::Limit`]). Never a panic, never a pass.
    pub fn evaluate(&self, result: &MetricValue) -> Result<bool, Error> {
        self.evaluate_at(result, None)
    }

    /// The verdict on a result at a time, which `now()` in the condition gives.
    ///
    /// # Errors
    /// See [`Condition::evaluate`].
    pub fn evaluate_at(&self, result: &MetricValue, now: Option<Timestamp>) -> Result<bool, Error> {
        let program = self.program(Shape::of(result))?;
        match eval::run(program, result, now)? {
            Value::Bool(verdict) => Ok(verdict),
            other => Err(Error::evaluation(format!("expected bool, but got {}", other.type_name()))
                .wanted("true or false", other.type_name())
                .hint("a condition compares: `result[0] < 0.05`")
                .at(program.span(program.root()))),
        }
    }

    /// The parts of the condition that decided the verdict on a result, with their values. Empty where the verdict
    /// is an error or no single part decided.
    pub fn because(&self, result: &MetricValue, now: Option<Timestamp>) -> Vec<Reason> {
        match self.program(Shape::of(result)) {
            Ok(program) => eval::because(program, &self.0.text, result, now),
            Err(_) => vec![],
        }
    }

    /// The typed tree for results of the type of this one, indented, one node a line.
    ///
    /// # Errors
    /// When the condition does not fit the type.
    pub fn explain(&self, result: &MetricValue) -> Result<String, Error> {
        let mut tree = self.0.tree.clone();
        let types = check::check(&mut tree, &self.0.text, &Shape::of(result).kind())?;
        Ok(explain::explain(&tree, &types))
    }

    /// The text as given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    fn program(&self, shape: Shape) -> Result<&Program, Error> {
        let Some(slot) = self.0.programs.get(shape as usize) else {
            return Err(Error::evaluation("no program for this type of result"));
        };
        slot.get_or_init(|| self.compile(shape)).as_ref().map_err(Clone::clone)
    }

    fn compile(&self, shape: Shape) -> Result<Program, Error> {
        let mut tree = self.0.tree.clone();
        let mut types = check::check(&mut tree, &self.0.text, &shape.kind())?;
        optimize::optimize(&mut tree, &mut types)?;
        lower::lower(&tree, &types)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.0.text).finish()
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

#[cfg(test)]
mod tests;
