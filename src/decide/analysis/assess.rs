//! Counters become phases: limits inside a metric, severity across metrics, summaries. No I/O. No clock.

use super::{
    plan::RunEvent,
    run::Metric,
    status::{MetricResult, Phase, RunStatus, Summary},
};
use crate::domain::verdict::Verdict;

/// A limit that was passed, with the text that says so.
struct Passed {
    verdict: Verdict,
    text: String,
}

/// Assesses all metrics and the run, and completes in one pass what the reference needs two for: a metric that ends
/// badly ends its siblings and the run at once. The final status is the same.
pub(super) fn assess(
    status: &mut RunStatus,
    metrics: &[Metric],
    terminate: bool,
    events: &mut Vec<RunEvent>,
) -> (Phase, String) {
    let before = terminate || is_stopped_by_a_metric(status);
    let outcome = assess_once(status, metrics, terminate, before, events);
    if !before && is_stopped_by_a_metric(status) {
        return assess_once(status, metrics, terminate, true, events);
    }
    outcome
}

/// True once a metric that decides has ended in anything but Successful.
fn is_stopped_by_a_metric(status: &RunStatus) -> bool {
    let bad = |phase: Phase| phase.verdict().is_some_and(|verdict| verdict != Verdict::Successful);
    status.metric_results.iter().any(|result| !result.dry_run && bad(result.phase))
}

fn assess_once(
    status: &mut RunStatus,
    metrics: &[Metric],
    terminate: bool,
    terminating: bool,
    events: &mut Vec<RunEvent>,
) -> (Phase, String) {
    let mut summary = Summary::default();
    let mut dry_run_summary = Summary::default();
    let mut worst: Option<Verdict> = None;
    let mut message = if terminate { "Run Terminated".to_owned() } else { String::new() };
    let mut everything_ended = true;
    for metric in metrics {
        let summary = if metric.dry_run { &mut dry_run_summary } else { &mut summary };
        summary.count = summary.count.saturating_add(1);
        let Some(result) = status.metric_results.iter_mut().find(|result| result.name == metric.name) else {
            everything_ended = false;
            continue;
        };
        move_phase(result, metric, terminating, events);
        let Some(verdict) = result.phase.verdict() else {
            everything_ended = false;
            continue;
        };
        let passed = passed_limit(metric, result);
        enter(summary, passed.as_ref());
        if metric.dry_run {
            worst = worst.or(Some(Verdict::Successful));
            if let Some(passed) = passed {
                result.message = format!("Metric assessed {verdict} due to {}", passed.text);
            }
        } else if worst.is_none_or(|worst| verdict > worst) {
            worst = Some(verdict);
            if let Some(passed) = passed {
                message = said(result, verdict, &passed.text);
            }
        }
    }
    status.run_summary = summary;
    status.dry_run_summary = Some(dry_run_summary);
    match worst {
        _ if terminating => (Phase::Done(worst.unwrap_or(Verdict::Successful)), message),
        Some(worst) if everything_ended => (Phase::Done(worst), message),
        Some(_) | None => (Phase::Running, String::new()),
    }
}

fn said(result: &MetricResult, verdict: Verdict, limit: &str) -> String {
    let tail = if result.message.is_empty() {
        String::new()
    } else {
        format!(": \"Error Message: {}\"", result.message)
    };
    format!("Metric \"{}\" assessed {verdict} due to {limit}{tail}", result.name)
}

/// Each ended metric enters one bucket, chosen by its limits alone, as the reference counts.
fn enter(summary: &mut Summary, passed: Option<&Passed>) {
    let bucket = match passed.map(|passed| passed.verdict) {
        None | Some(Verdict::Successful) => &mut summary.successful,
        Some(Verdict::Failed) => &mut summary.failed,
        Some(Verdict::Inconclusive) => &mut summary.inconclusive,
        Some(Verdict::Error) => &mut summary.error,
    };
    *bucket = bucket.saturating_add(1);
}

fn move_phase(result: &mut MetricResult, metric: &Metric, terminating: bool, events: &mut Vec<RunEvent>) {
    let phase = metric_phase(metric, result, terminating);
    if phase == result.phase {
        return;
    }
    if let Some(last) = result.measurements.last() {
        result.message.clone_from(&last.message);
    }
    result.phase = phase;
    if let Some(verdict) = phase.verdict() {
        events.push(RunEvent::Metric { name: result.name.clone(), verdict });
    }
}

/// The first rule that applies decides.
fn metric_phase(metric: &Metric, result: &MetricResult, terminating: bool) -> Phase {
    if result.phase.is_done() {
        return result.phase;
    }
    let Some(last) = result.measurements.last() else {
        return if terminating { Phase::Done(Verdict::Successful) } else { Phase::Pending };
    };
    if !last.phase.is_done() {
        return Phase::Running;
    }
    if let Some(passed) = passed_limit(metric, result) {
        return Phase::Done(passed.verdict);
    }
    let wants_a_row = metric.consecutive_success_limit > 0;
    if wants_a_row && result.consecutive_success >= metric.consecutive_success_limit {
        return Phase::Done(Verdict::Successful);
    }
    if metric.count.is_some_and(|count| result.count >= count) {
        return Phase::Done(match (wants_a_row, metric.failure_limit >= 0) {
            (true, true) => Verdict::Inconclusive,
            (true, false) => Verdict::Failed,
            (false, _) => Verdict::Successful,
        });
    }
    if terminating { Phase::Done(Verdict::Successful) } else { Phase::Running }
}

/// Inside one metric Error overrides Inconclusive, and that overrides Failed.
fn passed_limit(metric: &Metric, result: &MetricResult) -> Option<Passed> {
    let errors = (result.consecutive_error, metric.consecutive_error_limit);
    if errors.0 > errors.1 {
        let text = format!("consecutiveErrors ({}) > consecutiveErrorLimit ({})", errors.0, errors.1);
        return Some(Passed { verdict: Verdict::Error, text });
    }
    let inconclusive = (result.inconclusive, metric.inconclusive_limit);
    if inconclusive.0 > inconclusive.1 {
        let text = format!("inconclusive ({}) > inconclusiveLimit ({})", inconclusive.0, inconclusive.1);
        return Some(Passed { verdict: Verdict::Inconclusive, text });
    }
    let failed = (result.failed, metric.failure_limit);
    if failed.1 >= 0 && failed.0 > failed.1 {
        let text = format!("failed ({}) > failureLimit ({})", failed.0, failed.1);
        return Some(Passed { verdict: Verdict::Failed, text });
    }
    None
}
