//! When a metric is measured next, and when a run that ended is deleted. No I/O. No clock.

use jiff::{SignedDuration, Timestamp};

use super::{
    plan::{MetricOutage, RunWake, Want},
    run::{Metric, Run, Ttl},
    status::{MetricResult, Phase, RunStatus, later},
};
use crate::domain::verdict::Verdict;

/// After an error, and between measurements of a metric without interval, as in the reference.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// Longest pause between two tries of an outage: a backend that is back is noticed within this time.
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_secs(60);
/// Shortest pause between measurements: an interval of zero, or a negative one, must not become a loop without end.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// How long after its time limit an answer may be missing before the run is looked at anyway: queries queue up in
/// front of a busy endpoint.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// When `metric` is measured next; `None` when it is not.
///
/// Computed from stored times only, so that it is the same in every pass. After the clock was set back it may lie
/// further ahead than the interval.
pub(super) fn due(metric: &Metric, status: &RunStatus) -> Option<Timestamp> {
    let started = status.started_at?;
    let result = status.metric(&metric.name);
    if result.is_some_and(|result| result.phase.is_done()) {
        return None;
    }
    let Some((result, last)) = result.and_then(|result| Some((result, result.measurements.last()?))) else {
        return Some(metric.initial_delay.map_or(started, |delay| later(started, delay)));
    };
    if last.phase.is_done() && metric.count.is_some_and(|count| result.count >= count) {
        return None;
    }
    // A measurement in flight belongs to another controller's provider, or was cut off: it is measured anew, also
    // where the count is reached, or the metric would never end.
    let finished = last.finished_at.or(last.resume_at).or(last.started_at).unwrap_or(started);
    let tries = last.outage_tries();
    let pause = if tries > 0 {
        back_off(tries)
    } else if last.phase == Phase::Done(Verdict::Error) {
        RETRY
    } else {
        metric.interval.unwrap_or(RETRY)
    };
    Some(later(finished, pause.max(SHORTEST_PAUSE)))
}

/// 10 s, 20 s, 40 s, then 60 s.
fn back_off(tries: i64) -> SignedDuration {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(8);
    RETRY.saturating_mul(1 << doublings).min(LONGEST_BACK_OFF)
}

/// The measurements of an unfinished run that are wanted, in the order of the spec.
pub(super) fn wants(run: &Run, metrics: &[Metric], status: &RunStatus) -> Vec<Want> {
    let want = |metric: &Metric| {
        Some(Want {
            run: run.uid.clone(),
            namespace: run.namespace.clone(),
            metric: metric.name.clone(),
            ordinal: status.ordinal(&metric.name),
            due: due(metric, status)?,
            query: metric.query.clone().ok()?,
        })
    };
    metrics.iter().filter_map(want).collect()
}

/// When an unfinished run is looked at again even if no sample comes.
pub(super) fn wake(metrics: &[Metric], status: &RunStatus, now: Timestamp) -> Option<(Timestamp, RunWake)> {
    let next = |metric: &Metric| {
        let due = due(metric, status)?;
        let name = metric.name.clone();
        if due > now {
            return Some((due, RunWake::Measure { metric: name }));
        }
        let timeout = metric.query.as_ref().map_or(SignedDuration::ZERO, |query| query.timeout);
        let late = later(later(due, timeout), GRACE);
        let at = if late > now { late } else { later(now, GRACE) };
        Some((at, RunWake::Overdue { metric: name }))
    };
    metrics.iter().filter_map(next).min()
}

/// The metrics of an unfinished run whose backend does not answer now.
pub(super) fn outages(status: &RunStatus) -> Vec<MetricOutage> {
    let outage = |result: &MetricResult| {
        let last = result.measurements.last().filter(|last| last.outage_tries() > 0)?;
        Some(MetricOutage {
            metric: result.name.clone(),
            message: last.message.clone(),
            since: last.started_at,
            tries: last.outage_tries(),
            dry_run: result.dry_run,
        })
    };
    status.metric_results.iter().filter(|result| !result.phase.is_done()).filter_map(outage).collect()
}

/// When a run that ended is to be deleted; `None` when never.
///
/// The reference deletes when the whole seconds since the end exceed the limit, which is one second later.
pub(super) fn expiry(ttl: &Ttl, status: &RunStatus) -> Option<Timestamp> {
    let verdict = status.phase.verdict()?;
    let own = match verdict {
        Verdict::Successful => ttl.after_success,
        Verdict::Failed => ttl.after_failure,
        Verdict::Inconclusive | Verdict::Error => None,
    };
    let seconds = own.or(ttl.after_completion)?;
    Some(later(status.completed_at?, SignedDuration::from_secs(seconds.saturating_add(1))))
}
