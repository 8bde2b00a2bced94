//! What the log says: one line for each decision that is another one than before, and one for each new failure.

use crate::{
    apply::Executed,
    decide::{
        observed::Observed,
        plan::{Attempt, Plan},
        report::{Stage, Wait},
    },
    domain::{Key, Weight},
};

/// What makes two decisions the same for a reader.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    stage: Stage,
    target: Weight,
    ceiling: Weight,
    waiting: Vec<Wait>,
    notes: Vec<String>,
    sheds: bool,
}

impl Said {
    pub(super) fn of(_: &Observed, plan: &Plan) -> Self {
        let report = &plan.report;
        Self {
            stage: report.stage,
            target: report.target,
            ceiling: report.ceiling,
            waiting: report.waiting.clone(),
            notes: report.notes.clone(),
            sheds: plan.shed.weights.is_some(),
        }
    }

    pub(super) fn log(&self, key: &Key, observed: &Observed, plan: &Plan) {
        let report = &plan.report;
        let stage: &str = report.stage.into();
        let waits: Vec<String> = report.waiting.iter().map(ToString::to_string).collect();
        let waits = if waits.is_empty() { "nothing".to_owned() } else { waits.join(", ") };
        let hash = observed.new_hash.as_ref().map(ToString::to_string).unwrap_or_default();
        if let Some(lowering) = &plan.shed.weights {
            tracing::warn!(
                rollout.namespace = %key.namespace,
                rollout.name = %key.name,
                rollout.generation = observed.rollout.generation,
                revision.hash = %hash,
                shed.reason = %lowering.why,
                weight.live_percent = report.live.percent(),
                weight.target_percent = report.target.percent(),
                "takes traffic from the canary of `{key}`: {} % is live, {} % is permitted ({})",
                report.live,
                report.ceiling,
                lowering.why,
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
                notes = %report.notes.join("; "),
                "`{key}` is {stage}: {} % live, {} % wanted, waits for {waits}",
                report.live,
                report.target,
            );
        }
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
            "a request for `{key}` failed and is tried again: {}",
            attempt.message,
        );
    }
}
