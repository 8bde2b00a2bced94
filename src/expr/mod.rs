//! The condition language of analysis metrics: pure, bounded, total. No I/O. No clock.

mod error;
mod judge;
mod tree;

use jiff::Timestamp;

pub use error::{Error, Stage};
pub use judge::{JudgeError, Judged, Which, judge, judge_at};

use crate::domain::value::MetricValue;

/// A condition, parsed once and evaluated many times.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// A text that is no condition whatever the result, or larger than the limits.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { text: text.to_owned() })
    }

    /// The verdict on a result; `now()` in the condition is an error.
    ///
    /// # Errors
    /// Whatever has no verdict: types that do not fit, nothing where something is asked for.
    pub fn evaluate(&self, result: &MetricValue) -> Result<bool, Error> {
        self.evaluate_at(result, None)
    }

    /// The verdict on a result at a time, which `now()` in the condition gives.
    ///
    /// # Errors
    /// See [`Condition::evaluate`].
    pub fn evaluate_at(&self, _result: &MetricValue, _now: Option<Timestamp>) -> Result<bool, Error> {
        Err(Error::evaluation("the condition language is not there yet"))
    }

    /// The text as given.
    pub fn text(&self) -> &str {
        &self.text
    }
}
