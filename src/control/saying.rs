//! What the log says: one line for each decision that is another one than before, and one for each new failure.

use crate::{
    apply::Executed,
    decide::{
        analysis::Mark,
        observed::Observed,
        plan::{Action, Attempt, Lowering, Plan, ShedReason},
        report::{Stage, Wait},
    },
    domain::{Key, Weight},
};

/// What makes two decisions the same for a reader.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    stage: Stage,
    target: Weight,
    /// Each once, in order.
    waiting: Vec<Wait>,
    notes: Vec<String>,
    shed: Option<Shed>,
}

/// How a shed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shed {
    Done,
    Refused,
    /// Another replica leads.
    NotSent,
}

impl Shed {
    fn of(executed: &Executed) -> Self {
        if executed.failed.contains(&Action::Shed) {
            Self::Refused
        } else if executed.attempts.iter().any(|attempt| attempt.action == Action::Shed) {
            Self::Done
        } else {
            Self::NotSent
        }
    }
}

impl Said {
    pub(super) fn of(plan: &Plan, executed: &Executed) -> Self {
        let report = &plan.report;
        Self {
            stage: report.stage,
            target: report.target,
            waiting: once(&report.waiting),
            notes: report.notes.clone(),
            shed: plan.shed.weights.as_ref().map(|_| Shed::of(executed)),
        }
    }

    pub(super) fn log(&self, key: &Key, observed: &Observed, plan: &Plan) {
        let report = &plan.report;
        let stage: &str = report.stage.into();
        // Between two writes of ours there is nothing to know.
        if self.shed.is_none() && self.waiting == [Wait::OwnWrite] {
            return;
        }
        let waits: Vec<String> = self.waiting.iter().map(ToString::to_string).collect();
        let waits = if waits.is_empty() { "nothing".to_owned() } else { waits.join(", ") };
        let notes: String = report.notes.iter().map(|note| format!(": {note}")).collect();
        let hash = observed.new_hash.as_ref().map(ToString::to_string).unwrap_or_default();
        if let (Some(lowering), Some(shed)) = (&plan.shed.weights, self.shed) {
            let verdict = lowering.mark.as_ref().map(|mark| &mark.verdict);
            let outcome = match shed {
                Shed::Done => "Took traffic",
                Shed::Refused => "Could not yet take traffic",
                Shed::NotSent => "Does not lead any more and takes no traffic",
            };
            tracing::warn!(
                rollout.namespace = %key.namespace,
                rollout.name = %key.name,
                rollout.generation = observed.rollout.generation,
                revision.hash = %hash,
                shed.reason = %lowering.why,
                metric.name = verdict.map(|verdict| verdict.metric.as_str()),
                metric.value = verdict.map(|verdict| verdict.value.as_str()),
                metric.limit = lowering.mark.as_ref().map(|mark| mark.limit.as_str()),
                weight.live_percent = report.live.percent(),
                weight.target_percent = report.target.percent(),
                "{outcome} from the canary of `{key}`: {} % was live, {} % is permitted: {}",
                report.live,
                report.ceiling,
                why(lowering),
            );
        } else {
            tracing::info!(
                rollout.namespace = %key.namespace,
                rollout.name = %key.name,
                rollout.generation = observed.rollout.generation,
                rollout.stage = stage,
                revision.hash = %hash,
                weight.live_percent = report.live.percent(),
                weight.target_percent = report.target.percent(),
                weight.ceiling_percent = report.ceiling.percent(),
                "`{key}` is {stage}: {} % live, {} % wanted, waits for {waits}{notes}",
                report.live,
                report.target,
            );
        }
    }
}

/// Without repetitions, in the order of the first ones.
fn once(waiting: &[Wait]) -> Vec<Wait> {
    let mut all = vec![];
    for wait in waiting {
        if !all.contains(wait) {
            all.push(*wait);
        }
    }
    all
}

/// Conditions that a person should hear of, once when they come and once when they go.
const TROUBLES: [&str; 3] = ["InvalidSpec", "MetricsUnavailable", "TrafficContested"];

/// Says which trouble came or went with the status that was just written.
pub(super) fn troubles(key: &Key, plan: &Plan, executed: &Executed) {
    let is_written = executed.attempts.iter().any(|one| one.action == Action::Status && one.is_success());
    let Some(write) = plan.memory.rollout.as_ref().filter(|_| is_written) else {
        return;
    };
    for kind in TROUBLES {
        let before = write.old.condition(kind).filter(|condition| condition.status.is_true());
        let now = write.new.condition(kind).filter(|condition| condition.status.is_true());
        match (before, now) {
            (None, Some(condition)) => tracing::warn!(
                rollout.namespace = %key.namespace,
                rollout.name = %key.name,
                condition.kind = kind,
                "`{key}`: {kind}: {}",
                condition.message
            ),
            (Some(_), None) => tracing::info!(
                rollout.namespace = %key.namespace,
                rollout.name = %key.name,
                condition.kind = kind,
                "`{key}`: {kind} is over"
            ),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

/// Why traffic is taken away, for somebody who reads this line alone.
fn why(lowering: &Lowering) -> String {
    match (lowering.why, &lowering.mark) {
        (ShedReason::Rejected, Some(mark)) => {
            let Mark { metric, value, verdict, .. } = &mark.verdict;
            format!("metric `{metric}` is {verdict}: {value}, and `{}` was asked for", mark.limit)
        }
        (ShedReason::Rejected, None) => "the version was rejected".to_owned(),
        (ShedReason::Superseded, _) => "the spec asks for another version by now".to_owned(),
        (ShedReason::NoReadyPod, _) => "none of its pods is ready".to_owned(),
        (ShedReason::AboveCeiling, _) => "somebody else raised it".to_owned(),
    }
}

/// Says each failure once, until it is another one.
pub(super) fn failures(key: &Key, known: &[Attempt], executed: &Executed) {
    for action in &executed.failed {
        let Some(attempt) = executed.attempts.iter().rev().find(|attempt| attempt.action == *action) else {
            continue;
        };
        let is_known = known.iter().any(|old| {
            (&old.action, old.status, &old.reason) == (&attempt.action, attempt.status, &attempt.reason)
        });
        // A conflict is not a failure of anything: the object is looked at again.
        if is_known || attempt.reason == "Conflict" {
            continue;
        }
        tracing::warn!(
            rollout.namespace = %key.namespace,
            rollout.name = %key.name,
            action.kind = ?action,
            http.status = attempt.status,
            http.reason = %attempt.reason,
            "A request for `{key}` failed and is tried again: {} {}: {}",
            attempt.status,
            attempt.reason,
            attempt.message,
        );
    }
}
