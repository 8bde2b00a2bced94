//! Why a run ended, read from its status alone: a restarted controller sees the same cause. No I/O. No clock.

use super::{
    book,
    plan::{Cause, Evidence, Finished},
    run::{Metric, Run},
    status::{Measurement, MetricResult, NO_DATA, Phase, RESOLVED_QUERY, RunStatus},
};
use crate::domain::verdict::Verdict;

/// The verdict of a run that ended with `status`; `None` while it has not.
pub fn finished(run: &Run, status: &RunStatus) -> Option<Finished> {
    let verdict = status.phase.verdict()?;
    let metrics = run.metrics.as_deref().unwrap_or_default();
    let (cause, result) = cause(metrics, status, verdict);
    let cause = match (cause, &run.metrics) {
        (Cause::NotMeasurable, Err(_)) if result.is_none() => Cause::InvalidSpec,
        (cause, _) => cause,
    };
    let evidence = result.map(|result| evidence(metrics, status, result, verdict));
    Some(Finished { verdict, message: status.message.clone(), cause, evidence })
}

fn cause<'a>(
    metrics: &[Metric],
    status: &'a RunStatus,
    verdict: Verdict,
) -> (Cause, Option<&'a MetricResult>) {
    let ended = |result: &&MetricResult| !result.dry_run && result.phase == Phase::Done(verdict);
    let first = status.metric_results.iter().find(ended);
    match verdict {
        Verdict::Successful => (Cause::Passed, None),
        Verdict::Failed => {
            let on_numbers = |result: &&MetricResult| ended(result) && is_failed_on_numbers(metrics, result);
            match status.metric_results.iter().find(on_numbers) {
                Some(result) => (Cause::MetricFailed, Some(result)),
                None if first.is_some() => (Cause::NoData, first),
                None => (Cause::NotMeasurable, None),
            }
        }
        Verdict::Inconclusive | Verdict::Error => {
            let measured = if verdict == Verdict::Error { Cause::NotMeasurable } else { Cause::Undecided };
            (if first.is_some_and(ended_without_data) { Cause::NoData } else { measured }, first)
        }
    }
}

/// True where the bad measurements on real numbers alone pass the limit.
fn is_failed_on_numbers(metrics: &[Metric], result: &MetricResult) -> bool {
    let without = book::failed_without_data(result);
    let limit = metrics.iter().find(|metric| metric.name == result.name).map(|metric| metric.failure_limit);
    match limit {
        Some(limit) if limit >= 0 => result.failed.saturating_sub(without) > limit,
        // Failed for want of enough good measurements in a row: every one of them must have been a number.
        Some(_) | None => result.failed > 0 && result.inconclusive == 0 && without == 0,
    }
}

fn ended_without_data(result: &MetricResult) -> bool {
    // The reference's own text for an empty answer, in runs that it measured.
    let empty = "metric result is nil or empty";
    let without = |last: &Measurement| last.metadata.contains_key(NO_DATA) || last.message.contains(empty);
    result.measurements.last().is_some_and(without)
}

fn evidence(metrics: &[Metric], status: &RunStatus, result: &MetricResult, verdict: Verdict) -> Evidence {
    let metric = metrics.iter().find(|metric| metric.name == result.name);
    let deciding = result.measurements.iter().rev().find(|m| m.phase == Phase::Done(verdict));
    let deciding = deciding.or(result.measurements.last());
    Evidence {
        metric: result.name.clone(),
        value: deciding.map(|measurement| measurement.value.clone()).unwrap_or_default(),
        limit: metric.map(limit).unwrap_or_default(),
        query: result.metadata.get(RESOLVED_QUERY).cloned().unwrap_or_default(),
        samples: result.count,
        failed: result.failed,
        failure_limit: metric.map_or(0, |metric| metric.failure_limit),
        started_at: status.started_at,
        failed_at: deciding.and_then(|measurement| measurement.finished_at),
    }
}

/// What should have held, as a condition.
pub(super) fn limit(metric: &Metric) -> String {
    match (&metric.success, &metric.failure) {
        (Some(success), None) => success.text.clone(),
        (None, Some(failure)) => format!("not ({})", failure.text),
        (Some(success), Some(failure)) => format!("({}) and not ({})", success.text, failure.text),
        (None, None) => String::new(),
    }
}
