//! Conditions, counts and phase of a Rollout's status: a function of what is observed and what was decided.

use jiff::Timestamp;

use super::{
    contest,
    course::Course,
    facts::Facts,
    memory::{Condition, ConditionStatus, Counts, Memory, Phase},
    report::Stage,
    spec::{SpecError, Step},
};

/// Fills in what follows from the rest: counts, conditions, phase and message.
pub(super) fn complete(facts: &Facts<'_>, course: &mut Course) {
    course.memory.counts = counts(facts);
    let mut conditions = Conditions { list: course.memory.conditions.clone(), now: whole_second(facts.now) };
    conditions.drop("InvalidSpec");
    paused(facts, course, &mut conditions);
    let is_healthy = is_healthy(facts, course);
    available(facts, course, &mut conditions);
    healthy(is_healthy, &mut conditions);
    completed(course, &mut conditions);
    progressing(facts, course, is_healthy, &mut conditions);
    metrics_unavailable(course, &mut conditions);
    if let Some((status, message)) = course.contest.condition(facts) {
        conditions.set(contest::KIND, status, contest::KIND, &message);
    }
    references(facts, &mut conditions);
    course.memory.conditions = conditions.list;
    let (phase, message) = phase(facts, &course.memory);
    course.memory.phase = Some(phase);
    course.memory.message = message;
}

/// `at` without its fraction of a second, as the wire keeps it.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A list of conditions with the reference's rules for changing it.
pub(super) struct Conditions {
    pub(super) list: Vec<Condition>,
    pub(super) now: Timestamp,
}

impl Conditions {
    fn find(&self, kind: &str) -> Option<&Condition> {
        self.list.iter().find(|condition| condition.kind == kind)
    }

    pub(super) fn drop(&mut self, kind: &str) {
        self.list.retain(|condition| condition.kind != kind);
    }

    /// Same status and reason: nothing changes, the message neither. Same status: the transition keeps its time.
    pub(super) fn set(&mut self, kind: &str, status: ConditionStatus, reason: &str, message: &str) {
        if self.find(kind).is_some_and(|old| old.status == status && old.reason == reason) {
            return;
        }
        self.renew(kind, status, reason, message);
    }

    /// Writes the condition anew, also when status and reason are the same.
    pub(super) fn renew(&mut self, kind: &str, status: ConditionStatus, reason: &str, message: &str) {
        let old = self.find(kind).filter(|old| old.status == status).map(|old| old.last_transition);
        let condition = Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_update: self.now,
            last_transition: old.unwrap_or(self.now),
        };
        self.drop(kind);
        self.list.push(condition);
    }
}

fn counts(facts: &Facts<'_>) -> Counts {
    let sets = &facts.observed.replica_sets;
    let sum = |of: fn(&super::observed::ReplicaSet) -> i32| sets.iter().map(of).fold(0, i32::saturating_add);
    Counts {
        replicas: sum(|set| set.created_pods),
        updated: facts.new.map_or(0, |new| new.created_pods),
        ready: sum(|set| set.ready),
        available: sum(|set| set.available),
    }
}

fn is_paused(facts: &Facts<'_>, memory: &Memory) -> bool {
    facts.spec.paused || !memory.pauses.is_empty()
}

fn paused(facts: &Facts<'_>, course: &Course, conditions: &mut Conditions) {
    let is_paused = is_paused(facts, &course.memory);
    if course.stage == Stage::Aborted || (!is_paused && conditions.find("Paused").is_none()) {
        return;
    }
    let status = if is_paused { ConditionStatus::True } else { ConditionStatus::False };
    conditions.set("Paused", status, "RolloutPaused", "Rollout is paused");
}

/// The reference's own test of health, stricter than the phase: also every old pod is gone.
fn is_healthy(facts: &Facts<'_>, course: &Course) -> bool {
    let counts = course.memory.counts;
    let wanted = facts.spec.replicas;
    counts.updated == wanted
        && counts.available == wanted
        && counts.replicas == wanted
        && course.cursor == super::spec::Cursor::Done
        && course.memory.stable.is_some()
        && course.memory.stable == course.memory.current
        && facts.memory.observed_generation == Some(facts.observed.rollout.generation)
}

fn available(facts: &Facts<'_>, course: &Course, conditions: &mut Conditions) {
    let (status, message) = if course.memory.counts.available >= facts.spec.replicas {
        (ConditionStatus::True, "Rollout has minimum availability")
    } else {
        (ConditionStatus::False, "Rollout does not have minimum availability")
    };
    conditions.set("Available", status, "AvailableReason", message);
}

fn healthy(is_healthy: bool, conditions: &mut Conditions) {
    if is_healthy {
        conditions.set("Healthy", ConditionStatus::True, "RolloutHealthy", "Rollout is healthy");
    } else if conditions.find("Healthy").is_some() {
        conditions.set("Healthy", ConditionStatus::False, "RolloutHealthy", "Rollout is not healthy");
    }
}

fn completed(course: &Course, conditions: &mut Conditions) {
    let is_completed = course.memory.stable.is_some() && course.memory.stable == course.memory.current;
    let status = if is_completed { ConditionStatus::True } else { ConditionStatus::False };
    conditions.set("Completed", status, "RolloutCompleted", "RolloutCompleted");
}

fn progressing(facts: &Facts<'_>, course: &Course, is_healthy: bool, conditions: &mut Conditions) {
    let reason = conditions.find("Progressing").map(|condition| condition.reason.clone());
    let was = |name: &str| reason.as_deref() == Some(name);
    let name = facts.new.map(|new| new.name.as_str()).unwrap_or_default();
    let revision = facts.new.map_or(0, |new| new.revision);
    let mut set =
        |status, reason: &str, message: &str| conditions.set("Progressing", status, reason, message);
    if course.stage == Stage::Aborted {
        let why = course.abort.as_ref().map(|abort| abort.message.as_str()).filter(|why| !why.is_empty());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        set(
            ConditionStatus::False,
            "RolloutAborted",
            &format!("Rollout aborted update to revision {revision}{why}"),
        );
    } else if course.is_retry {
        set(ConditionStatus::Unknown, "RolloutRetry", "Retrying Rollout after abort");
    } else if is_paused(facts, &course.memory) && course.memory.stable != course.memory.current {
        set(ConditionStatus::Unknown, "RolloutPaused", "Rollout is paused");
    } else if was("RolloutPaused") {
        set(ConditionStatus::Unknown, "RolloutResumed", "Rollout is resumed");
    } else if is_healthy {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        set(ConditionStatus::True, "NewReplicaSetAvailable", &message);
    } else if facts.new.is_some() && facts.memory.current != course.memory.current {
        let message = format!("Created new replica set \"{name}\"");
        conditions.renew("Progressing", ConditionStatus::True, "NewReplicaSetCreated", &message);
    } else if has_progressed(facts, course) || reason.is_none() {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        conditions.renew("Progressing", ConditionStatus::True, "ReplicaSetUpdated", &message);
    } else if is_deadline_over(facts) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        set(ConditionStatus::False, "ProgressDeadlineExceeded", &message);
    }
}

fn has_progressed(facts: &Facts<'_>, course: &Course) -> bool {
    let (old, new) = (&facts.memory, &course.memory);
    old.counts.updated != new.counts.updated
        || new.counts.replicas - new.counts.updated < old.counts.replicas - old.counts.updated
        || new.counts.ready > old.counts.ready
        || new.counts.available > old.counts.available
        || old.stable != new.stable
        || old.step_index != new.step_index
        || old.step_hash != new.step_hash
}

/// No progress for `progressDeadlineSeconds`, and none is expected: not at a pause or an analysis, not while pods of
/// other versions wait out their delay.
pub(super) fn is_deadline_over(facts: &Facts<'_>) -> bool {
    deadline(facts).is_some_and(|deadline| facts.now > deadline)
}

/// When the progress deadline passes; `None` while it does not run.
pub(super) fn deadline(facts: &Facts<'_>) -> Option<Timestamp> {
    let progressing = facts.memory.condition("Progressing")?;
    let cursor = super::spec::Cursor::parse(facts.memory.step_index, facts.spec.steps.len());
    let waits = match facts.spec.step(cursor) {
        Some(Step::Pause { .. } | Step::Analysis) => true,
        Some(Step::SetWeight(_)) | None => false,
    };
    let is_exempt = waits
        || is_paused(facts, facts.memory)
        || matches!(
            progressing.reason.as_str(),
            "RolloutAborted" | "RolloutPaused" | "NewReplicaSetAvailable"
        )
        || facts.others.iter().any(|set| set.deadline.is_some() && set.replicas > 0);
    (!is_exempt).then(|| facts.after(progressing.last_update, facts.spec.progress_deadline))
}

fn metrics_unavailable(course: &Course, conditions: &mut Conditions) {
    const KIND: &str = "MetricsUnavailable";
    if course.outages.is_empty() {
        if conditions.find(KIND).is_some_and(|old| old.status == ConditionStatus::True) {
            conditions.set(KIND, ConditionStatus::False, KIND, "Metrics are available again");
        }
        return;
    }
    let message = format!("The rollout holds its weight: {}", bounded(&course.outages.join("; "), 1024));
    conditions.set(KIND, ConditionStatus::True, KIND, &message);
}

/// Objects that the Rollout names and that are missing or not usable.
fn references(facts: &Facts<'_>, conditions: &mut Conditions) {
    let Some(error) = super::references::first_error(facts) else { return };
    invalid(&facts.observed.rollout.key.name, &error, conditions);
}

/// The condition of a spec that cannot be acted on.
pub(super) fn invalid(name: &str, error: &SpecError, conditions: &mut Conditions) {
    let message = bounded(&format!("The Rollout \"{name}\" is invalid: {error}"), 4096);
    if conditions.find("InvalidSpec").is_some_and(|old| old.message == message) {
        return;
    }
    conditions.renew("InvalidSpec", ConditionStatus::True, "InvalidSpec", &message);
}

/// At most `limit` bytes, cut at a character.
pub(super) fn bounded(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

/// The phase that clients show; the first that fits.
pub(super) fn phase(facts: &Facts<'_>, memory: &Memory) -> (Phase, String) {
    let conditions = &memory.conditions;
    if let Some(invalid) = memory.condition("InvalidSpec") {
        return (Phase::Degraded, format!("InvalidSpec: {}", invalid.message));
    }
    let is_bad = |reason: &str| reason == "RolloutAborted" || reason == "ProgressDeadlineExceeded";
    if let Some(bad) = conditions.iter().find(|condition| is_bad(&condition.reason)) {
        return (Phase::Degraded, format!("{}: {}", bad.reason, bad.message));
    }
    if facts.spec.paused {
        return (Phase::Paused, "manually paused".to_owned());
    }
    if let Some(pause) = memory.pauses.first() {
        return (Phase::Paused, pause.reason.as_str().to_owned());
    }
    let progressing = |message: &str| (Phase::Progressing, message.to_owned());
    if memory.counts.updated < facts.spec.replicas {
        return progressing("more replicas need to be updated");
    }
    if memory.counts.available < memory.counts.updated {
        return progressing("updated replicas are still becoming available");
    }
    if memory.stable.is_none() || memory.stable != memory.current {
        return progressing("waiting for all steps to complete");
    }
    (Phase::Healthy, String::new())
}
