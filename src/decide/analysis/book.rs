//! One answer becomes one measurement: judged, counted, and never counted twice. No I/O. No clock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    judge::{self, Booking, Judged, Missing},
    plan::{Mark, OutageMode},
    run::{Metric, Outcome, Sample},
    status::{
        FAILED_WITHOUT_DATA, Measurement, MetricResult, NO_DATA, NO_DATA_SINCE, OUTAGE, Phase,
        RESOLVED_QUERY, RunStatus, UNCOUNTED, WAITED, whole_second,
    },
};
use crate::domain::verdict::Verdict;

/// Longest message and longest value that is stored, in bytes: ten measurements of a few metrics must stay far
/// below the size of an object that etcd takes.
const STORED_BYTES: usize = 2048;

/// Books `sample` as the next measurement of `metric`. `Unresolved` is not a measurement and changes nothing.
pub(super) fn book(
    status: &mut RunStatus,
    metrics: &[Metric],
    metric: &Metric,
    sample: &Sample,
    mode: OutageMode,
) {
    let result = result_of(status, metrics, metric);
    let judged = match &sample.outcome {
        Outcome::Unresolved { .. } => return,
        Outcome::Value { value, text } => {
            judge::value(metric, value, text, sample.finished_at, waited(result, sample))
        }
        Outcome::Refused { message } => Judged::error(message),
        Outcome::Outage { message } => match mode {
            OutageMode::Reference => Judged::error(message),
            OutageMode::Hold => Judged { booking: Booking::Outage, ..Judged::error(message) },
        },
    };
    let measurement = Measurement {
        phase: Phase::Done(judged.verdict),
        message: shortened(&judged.message),
        started_at: Some(whole_second(sample.started_at)),
        finished_at: Some(whole_second(sample.finished_at)),
        value: shortened(&judged.value),
        metadata: sample.metadata.clone(),
        resume_at: None,
    };
    record(result, measurement, &judged);
}

/// Books an Error measurement of a metric that cannot be asked at all.
pub(super) fn book_unaskable(
    status: &mut RunStatus,
    metrics: &[Metric],
    metric: &Metric,
    why: &str,
    now: Timestamp,
) {
    let sample = Sample {
        ordinal: status.ordinal(&metric.name),
        started_at: now,
        finished_at: now,
        outcome: Outcome::Refused { message: why.to_owned() },
        metadata: BTreeMap::new(),
    };
    book(status, metrics, metric, &sample, OutageMode::Reference);
}

/// Books the measurement that a shed mark stands for.
pub(super) fn book_mark(status: &mut RunStatus, metrics: &[Metric], metric: &Metric, mark: &Mark) {
    let judged = Judged {
        verdict: mark.verdict,
        message: mark.message.clone(),
        value: mark.value.clone(),
        missing: mark.no_data.then_some(Missing::Nan),
        on_numbers: !mark.no_data,
        booking: Booking::Counted,
    };
    let at = Some(whole_second(mark.at));
    let measurement = Measurement {
        phase: Phase::Done(mark.verdict),
        message: shortened(&mark.message),
        started_at: at,
        finished_at: at,
        value: shortened(&mark.value),
        ..Measurement::default()
    };
    record(result_of(status, metrics, metric), measurement, &judged);
}

/// The result of `metric`, made at its place in the order of the spec when it is the first measurement.
fn result_of<'a>(status: &'a mut RunStatus, metrics: &[Metric], metric: &Metric) -> &'a mut MetricResult {
    let place = |name: &str| metrics.iter().position(|metric| metric.name == name);
    let own = place(&metric.name);
    let results = &mut status.metric_results;
    let at = results.iter().position(|result| result.name == metric.name).unwrap_or_else(|| {
        let after = results.iter().position(|result| place(&result.name) > own);
        let at = after.unwrap_or(results.len());
        results.insert(at, first_result(metric));
        at
    });
    &mut results[at]
}

fn first_result(metric: &Metric) -> MetricResult {
    let query = metric.query.as_ref().map(|query| query.promql.masked()).unwrap_or_default();
    let metadata = (!query.is_empty()).then(|| (RESOLVED_QUERY.to_owned(), query));
    MetricResult {
        name: metric.name.clone(),
        phase: Phase::Running,
        dry_run: metric.dry_run,
        metadata: metadata.into_iter().collect(),
        ..MetricResult::default()
    }
}

/// How long answers without data have come in a row when this one came; zero for the first.
fn waited(result: &MetricResult, sample: &Sample) -> SignedDuration {
    let since = result.metadata.get(NO_DATA_SINCE).and_then(|text| text.parse::<Timestamp>().ok());
    since.map_or(SignedDuration::ZERO, |since| sample.finished_at.duration_since(since))
}

/// Adds the measurement and moves exactly one of the numbers that make the ordinal.
fn record(result: &mut MetricResult, mut measurement: Measurement, judged: &Judged) {
    keep_no_data_since(result, judged, &measurement);
    if let Some(missing) = judged.missing {
        measurement.metadata.insert(NO_DATA.to_owned(), missing.as_str().to_owned());
    }
    match judged.booking {
        Booking::Counted => {
            tally_failed_without_data(result, judged, &measurement);
            count(result, judged.verdict);
            result.measurements.push(measurement);
        }
        Booking::Outage => uncounted(result, measurement, OUTAGE),
        Booking::Waiting => uncounted(result, measurement, WAITED),
    }
}

fn count(result: &mut MetricResult, verdict: Verdict) {
    let up = |number: &mut i64| *number = number.saturating_add(1);
    if verdict == Verdict::Successful {
        up(&mut result.consecutive_success);
    } else {
        result.consecutive_success = 0;
    }
    if verdict == Verdict::Error {
        up(&mut result.error);
        up(&mut result.consecutive_error);
        return;
    }
    result.consecutive_error = 0;
    up(&mut result.count);
    match verdict {
        Verdict::Successful => up(&mut result.successful),
        Verdict::Failed => up(&mut result.failed),
        Verdict::Inconclusive => up(&mut result.inconclusive),
        Verdict::Error => {}
    }
}

/// Records an answer that is not counted. Answers of one kind in a row share one measurement, so that an outage of
/// a day is one entry with a number and not thousands.
fn uncounted(result: &mut MetricResult, mut measurement: Measurement, kind: &str) {
    let total = result.tally(UNCOUNTED).saturating_add(1);
    result.metadata.insert(UNCOUNTED.to_owned(), total.to_string());
    let mut answers = 1;
    if let Some(last) = result.measurements.pop_if(|last| last.metadata.contains_key(kind)) {
        let before = if kind == OUTAGE { last.outage_tries() } else { last.waited_answers() };
        answers = before.saturating_add(1);
        measurement.started_at = last.started_at;
    }
    measurement.metadata.insert(kind.to_owned(), answers.to_string());
    result.measurements.push(measurement);
}

/// The clock of `noDataTimeout` runs from the first answer without data until any other answer.
fn keep_no_data_since(result: &mut MetricResult, judged: &Judged, measurement: &Measurement) {
    match (judged.missing, measurement.finished_at) {
        (Some(_), Some(at)) => {
            result.metadata.entry(NO_DATA_SINCE.to_owned()).or_insert_with(|| at.to_string());
        }
        _ => {
            result.metadata.remove(NO_DATA_SINCE);
        }
    }
}

fn tally_failed_without_data(result: &mut MetricResult, judged: &Judged, measurement: &Measurement) {
    if judged.verdict != Verdict::Failed {
        return;
    }
    let total = failed_without_data(result).saturating_add(i64::from(!judged.on_numbers));
    if total > 0 || !has_only_numbers(measurement) {
        result.metadata.insert(FAILED_WITHOUT_DATA.to_owned(), total.to_string());
    }
}

/// How many of `failed` were not reached by real numbers alone.
///
/// Serin keeps the number beside the counters once it differs from what the kept measurements show; without it (a
/// run of the reference, taken over) the texts of the kept measurements are counted.
pub(super) fn failed_without_data(result: &MetricResult) -> i64 {
    if result.metadata.contains_key(FAILED_WITHOUT_DATA) {
        return result.tally(FAILED_WITHOUT_DATA);
    }
    let failed = result.measurements.iter().filter(|m| m.phase == Phase::Done(Verdict::Failed));
    i64::try_from(failed.filter(|m| !has_only_numbers(m)).count()).unwrap_or(i64::MAX)
}

fn has_only_numbers(measurement: &Measurement) -> bool {
    let value = measurement.value.as_str();
    !(value.is_empty() || value == "[]" || value.contains("NaN"))
}

/// `text`, cut at a character's border when it is too long to be stored.
fn shortened(text: &str) -> String {
    if text.len() <= STORED_BYTES {
        return text.to_owned();
    }
    let cut = text.floor_char_boundary(STORED_BYTES);
    format!("{}...", &text[..cut])
}
