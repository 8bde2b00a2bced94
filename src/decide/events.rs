//! Kubernetes events: what clients and people are told of a pass, with the reference's reasons and texts.

use super::{
    analysis::Phase,
    course::Course,
    facts::Facts,
    memory::{Memory, RunStatus, Weights},
    plan::{About, Event, EventKind, Expose, Plan, Prepare, Retire, ShedReason, Switch, Tell},
    report::Stage,
    runs::Analyses,
    traffic::Limits,
};
use crate::domain::{Weight, verdict::Verdict};

pub(super) fn events(facts: &Facts<'_>, course: &Course, analyses: &Analyses<'_>, plan: &Plan) -> Vec<Tell> {
    let mut events = of_workloads(facts, plan);
    events.extend(of_traffic(plan));
    if plan.memory.rollout.is_some() {
        events.extend(of_story(facts, course));
        events.extend(of_runs(facts.memory, &course.memory));
        events.extend(course.events.iter().cloned());
        events.extend(of_weights(facts.memory.weights.as_ref(), course.memory.weights.as_ref()));
    }
    events.extend(analyses.events());
    events
}

fn normal(reason: &str, message: String) -> Tell {
    Tell::Event(Event { about: About::Rollout, kind: EventKind::Normal, reason: reason.to_owned(), message })
}

fn warning(reason: &str, message: String) -> Tell {
    Tell::Event(Event { about: About::Rollout, kind: EventKind::Warning, reason: reason.to_owned(), message })
}

fn of_workloads(facts: &Facts<'_>, plan: &Plan) -> Vec<Tell> {
    let scaled = |direction: &str, name: &str, revision: i64, from: i32, to: i32| {
        normal(
            "ScalingReplicaSet",
            format!("Scaled {direction} ReplicaSet {name} (revision {revision}) from {from} to {to}"),
        )
    };
    let mut events = vec![];
    for action in &plan.prepare {
        match action {
            Prepare::WriteRevision(revision) => {
                events.push(normal("RolloutUpdated", format!("Rollout updated to revision {revision}")));
            }
            Prepare::CreateReplicaSet(new) => {
                let message = format!("Created ReplicaSet {} (revision {})", new.name, new.revision);
                events.push(normal("NewReplicaSetCreated", message));
            }
            Prepare::ScaleUp(up) => events.push(scaled("up", &up.replica_set, up.revision, up.from, up.to)),
            Prepare::SwitchService(switch) => events.push(switched(switch)),
            Prepare::WriteReplicas
            | Prepare::Annotate(_)
            | Prepare::CreateRun(_)
            | Prepare::TerminateRun(_) => {}
        }
    }
    if let Some(up) = &plan.shed.grow {
        events.push(scaled("up", &up.replica_set, up.revision, up.from, up.to));
    }
    for action in &plan.retire {
        match action {
            Retire::ScaleDown(down) => {
                events.push(scaled("down", &down.replica_set, down.revision, down.from, down.to))
            }
            Retire::DeleteReplicaSet { .. } | Retire::DeleteRun { .. } | Retire::Release(_) => {}
        }
    }
    let failed = facts.observed.last.iter().rev().find(|attempt| {
        matches!(attempt.action, super::plan::Action::CreateReplicaSet(_))
            && attempt.status >= 400
            && attempt.reason != "AlreadyExists"
    });
    if let Some(failed) = failed.filter(|_| facts.new.is_none()) {
        events.push(warning(
            "ReplicaSetCreateError",
            format!("The new ReplicaSet could not be created: {}", failed.message),
        ));
    }
    events
}

fn switched(switch: &Switch) -> Tell {
    let from = switch.from.as_ref().map(ToString::to_string).unwrap_or_default();
    normal(
        "SwitchService",
        format!("Switched selector for service '{}' from '{from}' to '{}'", switch.service, switch.to),
    )
}

fn of_traffic(plan: &Plan) -> Vec<Tell> {
    let updated = |name: &str, weight: Weight| {
        normal("Updated VirtualService", format!("VirtualService `{name}` set to desiredWeight '{weight}'"))
    };
    let mut events = vec![];
    if let Some(lowering) = &plan.shed.weights {
        let canary = lowering.routes.iter().flat_map(|route| &route.changes);
        let to = canary
            .filter(|change| change.side == super::observed::Side::Canary)
            .map(|change| change.to)
            .max();
        events.push(updated(&lowering.virtual_service.name, to.unwrap_or(Weight::ZERO)));
    }
    for action in &plan.expose {
        match action {
            Expose::Weights(weights) => events.push(updated(&weights.virtual_service.name, weights.canary)),
            Expose::ClearMark { .. } => {}
        }
    }
    events
}

/// What is done about other hands on the weights.
pub(super) fn of_contest(facts: &Facts<'_>, course: &Course, limits: &Limits, plan: &Plan) -> Option<Tell> {
    let is_cut = plan.shed.weights.as_ref().is_some_and(|lowering| {
        let was_given = facts.memory.weights.as_ref().map_or(Weight::ZERO, |weights| weights.canary.weight);
        let is_foreign = facts
            .observed
            .virtual_service
            .as_ref()
            .is_some_and(|service| service.last_writer.is_some() && !service.is_last_written_by_us);
        let can_be_raised = matches!(lowering.why, ShedReason::AboveCeiling | ShedReason::Rejected);
        can_be_raised && is_foreign && facts.live() > was_given
    });
    let target = if is_cut { limits.ceiling } else { limits.target };
    course.contest.event(facts, target, is_cut).map(|message| warning(super::contest::KIND, message))
}

fn of_weights(old: Option<&Weights>, new: Option<&Weights>) -> Option<Tell> {
    let new = new?;
    if old == Some(new) {
        return None;
    }
    let detail = match old {
        None => format!("to {}", new.canary.weight),
        Some(old) if old.canary.weight != new.canary.weight => {
            format!("from {} to {}", old.canary.weight, new.canary.weight)
        }
        Some(_) => String::new(),
    };
    Some(normal("TrafficWeightUpdated", format!("Traffic weight updated {detail}")))
}

/// What changed in the story: not completed any more, paused, resumed, aborted.
fn of_story(facts: &Facts<'_>, course: &Course) -> Vec<Tell> {
    let (old, new) = (facts.memory, &course.memory);
    let mut events = vec![];
    let is_open = |memory: &Memory| {
        memory
            .condition("Completed")
            .is_some_and(|condition| condition.status != super::memory::ConditionStatus::True)
    };
    if is_open(new)
        && !is_open(old)
        && let Some(set) = facts.new
    {
        let message =
            format!("Rollout not completed, started update to revision {} ({})", set.revision, set.hash);
        events.push(normal("RolloutNotCompleted", message));
    }
    match (old.pauses.first(), new.pauses.first()) {
        (None, Some(pause)) => {
            events.push(normal("RolloutPaused", format!("Rollout is paused ({})", pause.reason.as_str())));
        }
        (Some(_), None) if course.stage != Stage::Aborted => {
            events.push(normal("RolloutResumed", "Rollout is resumed".to_owned()));
        }
        (Some(_), None) | (None, None) | (Some(_), Some(_)) => {}
    }
    let aborted = |memory: &Memory| {
        memory
            .condition("Progressing")
            .filter(|condition| condition.reason == "RolloutAborted")
            .map(|condition| condition.message.clone())
    };
    if let (None, Some(message)) = (aborted(old), aborted(new)) {
        events.push(warning("RolloutAborted", message));
    }
    events
}

/// A change of a current run's phase, as the Rollout's status books it.
fn of_runs(old: &Memory, new: &Memory) -> Vec<Tell> {
    let both =
        [("Step", &old.step_run, &new.step_run), ("Background", &old.background_run, &new.background_run)];
    both.into_iter().filter_map(|(kind, old, new)| of_run(kind, old.as_ref(), new.as_ref()?)).collect()
}

fn of_run(kind: &str, old: Option<&RunStatus>, new: &RunStatus) -> Option<Tell> {
    let before = old.filter(|old| old.name == new.name);
    if new.phase == Phase::NotStarted || before.is_some_and(|before| before.phase == new.phase) {
        return None;
    }
    let previous = before.map_or("NoPreviousStatus", |before| before.phase.as_str());
    let phase = new.phase.as_str();
    let message = format!("{kind} Analysis Run '{}' Status New: '{phase}' Previous: '{previous}'", new.name);
    let is_bad = matches!(new.phase.verdict(), Some(Verdict::Failed | Verdict::Error));
    let reason = format!("AnalysisRun{phase}");
    Some(if is_bad { warning(&reason, message) } else { normal(&reason, message) })
}
