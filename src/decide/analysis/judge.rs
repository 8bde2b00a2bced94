//! What one answer is: good, bad, neither, not judgeable, or no data. No I/O. No clock.

use jiff::{SignedDuration, Timestamp};

use super::run::{Criterion, Metric, OnNoData};
use crate::{
    domain::{value::MetricValue, verdict::Verdict},
    expr::{self, Condition, JudgeError, Which},
};

/// Longest piece of a query that is repeated in a message, in bytes; the whole one is in the metric's metadata.
const QUOTED_BYTES: usize = 200;

/// An answer, judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub verdict: Verdict,
    pub message: String,
    /// The value as it is stored.
    pub value: String,
    /// Set when the answer held no number at all.
    pub missing: Option<Missing>,
    /// True when the verdict would be the same whatever a NaN in the answer had been.
    pub on_numbers: bool,
    pub booking: Booking,
}

/// What an answer without data was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Empty,
    Nan,
}

/// Whether an answer enters the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booking {
    Counted,
    /// Nobody answered.
    Outage,
    /// No data, and still waited for.
    Waiting,
}

impl Missing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Nan => "NaN",
        }
    }

    /// What is missing in `value`; `None` when it holds a number, or is no answer of numbers.
    fn of(value: &MetricValue) -> Option<Self> {
        match value {
            MetricValue::Nil => Some(Self::Empty),
            MetricValue::Floats(all) if all.is_empty() => Some(Self::Empty),
            MetricValue::Float(one) if one.is_nan() => Some(Self::Nan),
            MetricValue::Floats(all) if all.iter().all(|one| one.is_nan()) => Some(Self::Nan),
            MetricValue::Float(_)
            | MetricValue::Floats(_)
            | MetricValue::Int(_)
            | MetricValue::MapList(_)
            | MetricValue::Json(_)
            | MetricValue::Str(_) => None,
        }
    }
}

impl Judged {
    /// An Error that is counted and has no value.
    pub(super) fn error(message: &str) -> Self {
        Self {
            verdict: Verdict::Error,
            message: message.to_owned(),
            value: String::new(),
            missing: None,
            on_numbers: false,
            booking: Booking::Counted,
        }
    }
}

/// Judges an answer that came at `at`. `waited` is how long answers without data have come in a row.
pub(super) fn value(
    metric: &Metric,
    value: &MetricValue,
    text: &str,
    at: Timestamp,
    waited: SignedDuration,
) -> Judged {
    let missing = Missing::of(value);
    if let (Some(missing), Some(policy)) = (missing, metric.no_data) {
        let is_waited_for = policy.timeout.map_or(policy.outcome == OnNoData::Ignore, |limit| waited < limit);
        return without_data(metric, missing, policy.outcome, is_waited_for, text);
    }
    let (verdict, mut message) = conditions(metric, value, at);
    if missing == Some(Missing::Nan) && verdict != Verdict::Successful && message.is_empty() {
        message = no_data(metric, Missing::Nan);
    }
    let on_numbers = missing.is_none() && holds_for_any_nan(metric, value, at, verdict);
    let text = if verdict == Verdict::Error { "" } else { text };
    Judged { verdict, message, value: text.to_owned(), missing, on_numbers, booking: Booking::Counted }
}

fn without_data(
    metric: &Metric,
    missing: Missing,
    outcome: OnNoData,
    is_waited_for: bool,
    text: &str,
) -> Judged {
    let verdict = match outcome {
        OnNoData::Error => Verdict::Error,
        OnNoData::Inconclusive | OnNoData::Ignore => Verdict::Inconclusive,
        OnNoData::Failed => Verdict::Failed,
    };
    let said = no_data(metric, missing);
    let (verdict, message, booking) = if is_waited_for {
        (Verdict::Inconclusive, format!("{said}; not counted, waiting for data"), Booking::Waiting)
    } else {
        (verdict, said, Booking::Counted)
    };
    Judged { verdict, message, value: text.to_owned(), missing: Some(missing), on_numbers: false, booking }
}

fn no_data(metric: &Metric, missing: Missing) -> String {
    let query = metric.query.as_ref().map(|query| query.promql.masked()).unwrap_or_default();
    // On one line: people read this in a table's column and in a chat.
    let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = query.floor_char_boundary(QUOTED_BYTES);
    let dots = if cut < query.len() { "..." } else { "" };
    let what = match missing {
        Missing::Empty => "an empty result",
        Missing::Nan => "NaN",
    };
    format!("no data: query `{}{dots}` returned {what}", &query[..cut])
}

/// The verdict of the two conditions. One that cannot be evaluated, or does not parse, makes it Error, whatever the
/// other says; the success condition is looked at first.
fn conditions(metric: &Metric, value: &MetricValue, at: Timestamp) -> (Verdict, String) {
    let judged = parsed(Which::Success, metric.success.as_ref(), value).and_then(|success| {
        match parsed(Which::Failure, metric.failure.as_ref(), value) {
            Ok(failure) => expr::judge_at(success, failure, value, Some(at)),
            Err(unreadable) => expr::judge_at(success, None, value, Some(at)).and(Err(unreadable)),
        }
    });
    match judged {
        Ok(expr::Judged::Successful) => (Verdict::Successful, String::new()),
        Ok(expr::Judged::Failed) => (Verdict::Failed, String::new()),
        Ok(expr::Judged::Inconclusive) => (Verdict::Inconclusive, String::new()),
        Err(error) => (Verdict::Error, error.to_string()),
    }
}

fn parsed<'a>(
    which: Which,
    criterion: Option<&'a Criterion>,
    value: &MetricValue,
) -> Result<Option<&'a Condition>, JudgeError> {
    let Some(criterion) = criterion else { return Ok(None) };
    criterion.parsed.as_ref().map(Some).map_err(|cause| JudgeError {
        which,
        condition: criterion.text.clone(),
        no_data: value.is_nil_or_empty(),
        cause: cause.clone(),
    })
}

/// True when `verdict` would be the same whatever each NaN in `value` had been.
fn holds_for_any_nan(metric: &Metric, value: &MetricValue, at: Timestamp, verdict: Verdict) -> bool {
    let MetricValue::Floats(all) = value else { return true };
    if !all.iter().any(|one| one.is_nan()) {
        return true;
    }
    [f64::NEG_INFINITY, 0.0, 1.0, f64::INFINITY].into_iter().all(|instead| {
        let filled = all.iter().map(|one| if one.is_nan() { instead } else { *one }).collect();
        conditions(metric, &MetricValue::Floats(filled), at).0 == verdict
    })
}
