//! The AnalysisRun engine: samples go in; status, wants and a verdict come out. Pure and total.
//! No I/O. No clock. No async.
//!
//! How it differs from the reference, on purpose:
//!
//! - A metric that ends badly ends its siblings and the run in the same pass, not in the next one. The final status
//!   is the same.
//! - A sample is booked alone: one metric's verdict never waits for another metric's answer.
//! - An outage (nobody answered) is one Error measurement with a number of tries, is not counted, and is tried again
//!   after 10 s, 20 s, 40 s, then each 60 s ([`OutageMode::Hold`]).
//! - An answer without data follows the metric's policy where it has one. Without one the verdict is the
//!   reference's, but a Failed that real numbers alone do not explain has [`Cause::NoData`].
//! - `metricResults` is in the order of the spec, an early Error sets `completedAt`, a run is deleted exactly when
//!   its time to live ends, and an interval under one second counts as one second.

mod assess;
mod book;
mod finish;
mod judge;
mod plan;
mod run;
mod schedule;
mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use self::status::whole_second;
pub use self::{
    finish::finished,
    plan::{Cause, Evidence, Finished, Mark, MetricOutage, OutageMode, RunEvent, RunStep, RunWake, Want},
    run::{
        Criterion, DEFAULT_RETENTION, Metric, NoData, OnNoData, Outcome, Part, Query, Range, Run, Sample,
        SecretRef, SpecError, Text, Ttl,
    },
    status::{
        FAILED_WITHOUT_DATA, Measurement, MetricResult, NO_DATA, NO_DATA_SINCE, OUTAGE, Phase,
        RESOLVED_QUERY, RunStatus, Summary, UNCOUNTED, WAITED, newest_measurement_at,
    },
};
use crate::domain::verdict::Verdict;

/// One pass over a run. `samples` are the answers that the sampler holds, by metric; those with an ordinal that is
/// not the next one of their metric are ignored.
///
/// A run that has ended never changes again.
pub fn step(run: &Run, samples: &BTreeMap<String, Sample>, now: Timestamp, outage: OutageMode) -> RunStep {
    if run.status.phase.is_done() {
        return ended(run, now);
    }
    if run.deleting {
        return RunStep::unchanged(run.status.clone());
    }
    match &run.metrics {
        Err(error) => {
            let mut status = run.status.clone();
            let mut events = vec![];
            enter(&mut status, Phase::Done(Verdict::Error), error.to_string(), now, &mut events);
            summed_up(run, status, events, now)
        }
        Ok(metrics) => measured(run, metrics, samples, now, outage),
    }
}

/// The pass that books a verdict from the shed mark, when the sample itself was lost in a crash: always ended, with
/// the mark's verdict. `None` when the run has ended already, or holds no such metric that decides, or the mark's
/// verdict does not shed.
pub fn book_failed(run: &Run, mark: &Mark, now: Timestamp) -> Option<RunStep> {
    let metrics = run.metrics.as_deref().ok()?;
    let metric = metrics.iter().find(|metric| metric.name == mark.metric && !metric.dry_run)?;
    if run.status.phase.is_done() || !matches!(mark.verdict, Verdict::Failed | Verdict::Error) {
        return None;
    }
    let mut status = run.status.clone();
    let mut events = vec![];
    status.started_at.get_or_insert(whole_second(mark.at));
    if status.metric(&metric.name).is_none_or(|result| !result.phase.is_done()) {
        book::book_mark(&mut status, metrics, metric, mark);
    }
    let (phase, message) = assess::assess(&mut status, metrics, run.terminate, &mut events);
    if matches!(phase, Phase::Done(Verdict::Failed | Verdict::Error)) {
        enter(&mut status, phase, message, now, &mut events);
    } else {
        // Traffic was taken away on this verdict, so it stands, also where the counters alone do not explain it.
        let message =
            format!("Metric \"{}\" assessed {} at {}, by the shed mark", metric.name, mark.verdict, mark.at);
        if let Some(result) = status.metric_results.iter_mut().find(|result| result.name == metric.name) {
            result.phase = Phase::Done(mark.verdict);
        }
        enter(&mut status, Phase::Done(mark.verdict), message, now, &mut events);
    }
    trim(&mut status, metrics);
    Some(summed_up(run, status, events, now))
}

fn measured(
    run: &Run,
    metrics: &[Metric],
    samples: &BTreeMap<String, Sample>,
    now: Timestamp,
    mode: OutageMode,
) -> RunStep {
    let mut status = run.status.clone();
    let mut events = vec![];
    status.started_at.get_or_insert(whole_second(now));
    let unresolved = book_all(&mut status, run, metrics, samples, now, mode);
    let (phase, message) = assess::assess(&mut status, metrics, run.terminate, &mut events);
    match unresolved {
        Some(why) if !phase.is_done() => {
            let error = SpecError::Arguments(why).to_string();
            enter(&mut status, Phase::Done(Verdict::Error), error, now, &mut events);
        }
        _ => enter(&mut status, phase, message, now, &mut events),
    }
    trim(&mut status, metrics);
    summed_up(run, status, events, now)
}

/// Books every sample that is the next one of an unfinished metric, and what cannot be asked. Returns why a Secret
/// argument does not exist, if one does not.
fn book_all(
    status: &mut RunStatus,
    run: &Run,
    metrics: &[Metric],
    samples: &BTreeMap<String, Sample>,
    now: Timestamp,
    mode: OutageMode,
) -> Option<String> {
    let mut unresolved = None;
    for metric in metrics {
        if status.metric(&metric.name).is_some_and(|result| result.phase.is_done()) {
            continue;
        }
        let ordinal = status.ordinal(&metric.name);
        match (&metric.query, samples.get(&metric.name).filter(|sample| sample.ordinal == ordinal)) {
            (Err(why), _)
                if !run.terminate && schedule::due(metric, status).is_some_and(|due| due <= now) =>
            {
                book::book_unaskable(status, metrics, metric, why, now);
            }
            (Ok(_), Some(sample)) => {
                if let Outcome::Unresolved { message } = &sample.outcome {
                    unresolved.get_or_insert_with(|| message.clone());
                }
                book::book(status, metrics, metric, sample, mode);
            }
            (Err(_), _) | (Ok(_), None) => {}
        }
    }
    unresolved
}

/// Moves the run's phase; the message belongs to the move and is written with it only.
fn enter(status: &mut RunStatus, phase: Phase, message: String, now: Timestamp, events: &mut Vec<RunEvent>) {
    if phase == status.phase {
        return;
    }
    status.phase = phase;
    status.message = message;
    if let Some(verdict) = phase.verdict() {
        status.completed_at.get_or_insert(whole_second(now));
        events.push(RunEvent::Run { verdict });
    }
}

/// Keeps the newest measurements of each metric; counters keep the rest.
fn trim(status: &mut RunStatus, metrics: &[Metric]) {
    for result in &mut status.metric_results {
        let metric = metrics.iter().find(|metric| metric.name == result.name);
        let limit = metric.map_or(DEFAULT_RETENTION, |metric| metric.retention.max(1));
        let surplus = result.measurements.len().saturating_sub(limit);
        result.measurements.drain(..surplus);
    }
}

/// A pass over a run that had ended before it.
fn ended(run: &Run, now: Timestamp) -> RunStep {
    summed_up(run, run.status.clone(), vec![], now)
}

fn summed_up(run: &Run, status: RunStatus, events: Vec<RunEvent>, now: Timestamp) -> RunStep {
    let mut step = RunStep { events, ..RunStep::unchanged(status) };
    step.finished = finished(run, &step.status);
    if step.finished.is_some() {
        let expiry = schedule::expiry(&run.ttl, &step.status).filter(|_| !run.deleting);
        step.expired = expiry.is_some_and(|at| at <= now);
        step.wake = expiry.filter(|at| *at > now).map(|at| (at, RunWake::Expire));
        return step;
    }
    let metrics = run.metrics.as_deref().unwrap_or_default();
    step.wants = schedule::wants(run, metrics, &step.status);
    step.outages = schedule::outages(&step.status);
    step.wake = schedule::wake(metrics, &step.status, now);
    step
}
