//! Both conditions of a metric against one result: what the measurement came to.

use jiff::Timestamp;

use super::{Condition, error::Error};
use crate::domain::value::MetricValue;

/// What two conditions make of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The success condition holds, or only a failure condition is given and it does not hold, or there is no
    /// condition at all.
    Successful,
    /// The failure condition holds (also when the success condition does), or only a success condition is given
    /// and it does not hold.
    Failed,
    /// Both are given and neither holds.
    Inconclusive,
}

/// Which condition could not be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `successCondition`.
    Success,
    /// `failureCondition`.
    Failure,
}

impl Which {
    fn field(self) -> &'static str {
        match self {
            Self::Success => "successCondition",
            Self::Failure => "failureCondition",
        }
    }
}

/// A condition that could not be evaluated. `Display` is the text of `measurement.message`.
///
/// The measurement's phase is Error, whatever the other condition says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("could not evaluate {} \"{condition}\": {}", which.field(), tail(cause, *no_data))]
pub struct JudgeError {
    /// The condition to blame.
    pub which: Which,
    /// Its text.
    pub condition: String,
    /// True when the result was nil or an empty list: there was nothing to judge.
    pub no_data: bool,
    /// What the evaluation met.
    pub cause: Error,
}

fn tail(cause: &Error, no_data: bool) -> String {
    if no_data {
        "metric result is nil or empty: no data returned from the metric provider".to_owned()
    } else {
        cause.to_string()
    }
}

/// Judges a result. An absent condition is `None`; an empty text counts as absent, which the caller sees to.
///
/// `now` is what `now()` in a condition gives.
///
/// # Errors
/// The first condition that cannot be evaluated, the success condition first, even when the other alone would
/// decide.
pub fn judge_at(
    success: Option<&Condition>,
    failure: Option<&Condition>,
    result: &MetricValue,
    now: Option<Timestamp>,
) -> Result<Judged, JudgeError> {
    let ask = |which: Which, condition: Option<&Condition>| {
        condition
            .map(|condition| {
                condition.evaluate_at(result, now).map_err(|cause| JudgeError {
                    which,
                    condition: condition.text().to_owned(),
                    no_data: result.is_nil_or_empty(),
                    cause,
                })
            })
            .transpose()
    };
    let succeeded = ask(Which::Success, success)?;
    let failed = ask(Which::Failure, failure)?;
    Ok(match (succeeded, failed) {
        (_, Some(true)) | (Some(false), None) => Judged::Failed,
        (None | Some(true), None | Some(false)) => Judged::Successful,
        (Some(false), Some(false)) => Judged::Inconclusive,
    })
}

/// [`judge_at`] without a time: `now()` in a condition is an error.
///
/// # Errors
/// See [`judge_at`].
pub fn judge(
    success: Option<&Condition>,
    failure: Option<&Condition>,
    result: &MetricValue,
) -> Result<Judged, JudgeError> {
    judge_at(success, failure, result, None)
}
