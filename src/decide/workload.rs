//! How many pods each version shall have: growth first, shrinking only where no traffic can miss them.

use jiff::Timestamp;

use super::{
    course::Course,
    facts::Facts,
    observed::ReplicaSet,
    plan::{AnnotateReplicaSet, DeadlineChange, NewReplicaSet, Prepare, Retire, ScaleDown, ScaleUp, Wake},
    report::{Stage, Wait},
};
use crate::domain::Weight;

/// What the workloads need in this pass.
#[derive(Default)]
pub(super) struct Workload {
    pub(super) prepare: Vec<Prepare>,
    pub(super) retire: Vec<Retire>,
    pub(super) wakes: Vec<Wake>,
}

/// True when the canary has exactly the pods that its step asks for, and stable has been asked for all of its own.
pub(super) fn canary_counts_reached(facts: &Facts<'_>, course: &Course) -> bool {
    let (Some(new), Some(stable)) = (facts.new, facts.stable) else { return false };
    let desired = canary_desired(facts, course);
    let stable_is_asked_for =
        stable.replicas >= facts.spec.replicas && stable.created_pods >= facts.spec.replicas;
    new.replicas == desired && new.serving() >= desired && stable_is_asked_for
}

/// Pods that the canary's step asks for: `⌈replicas · weight / 100⌉`, all of them once the steps are done.
fn canary_desired(facts: &Facts<'_>, course: &Course) -> i32 {
    facts.spec.weight_at(course.cursor).replicas_needed(facts.spec.replicas)
}

/// Stable's scale-up back to full size, sent together with a shed.
pub(super) fn grow(facts: &Facts<'_>, course: &Course) -> Option<ScaleUp> {
    let stable =
        facts.stable.filter(|_| matches!(course.stage, Stage::Aborted | Stage::Canary | Stage::Creating))?;
    scale_up(facts, stable, facts.spec.replicas, false)
}

pub(super) fn workload(facts: &Facts<'_>, course: &Course, is_shedding: bool) -> Workload {
    let mut work = Workload::default();
    match course.stage {
        Stage::Gone | Stage::Refused => return work,
        Stage::Creating => {
            work.prepare.extend(create(facts));
            keep_stable(facts, &mut work, is_shedding);
        }
        Stage::FirstDeploy => {}
        Stage::Promoted => promoted(facts, course, &mut work),
        Stage::Canary => canary(facts, course, &mut work, is_shedding),
        Stage::Aborted => {
            keep_stable(facts, &mut work, is_shedding);
            aborted(facts, &mut work);
        }
    }
    others(facts, course, &mut work);
    clean_up(facts, &mut work);
    work
}

fn create(facts: &Facts<'_>) -> Option<Prepare> {
    // Under a name that is taken nothing can be made: the next pass has another one.
    if facts.new.is_some() || facts.observed.is_name_taken {
        return None;
    }
    let rollout = &facts.observed.rollout;
    let hash = facts.spec.template_hash.clone();
    let not_copied = [
        "kubectl.kubernetes.io/last-applied-configuration",
        "rollout.argoproj.io/revision",
        "rollout.argoproj.io/revision-history",
        "rollout.argoproj.io/desired-replicas",
        "notified.notifications.argoproj.io",
    ];
    let annotations = rollout
        .annotations
        .iter()
        .filter(|(key, _)| !not_copied.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Some(Prepare::CreateReplicaSet(NewReplicaSet {
        name: super::set_name(&rollout.key, &hash),
        hash,
        revision: facts.next_revision(),
        desired: facts.spec.replicas,
        min_ready_seconds: facts.spec.min_ready_seconds,
        selector: std::sync::Arc::clone(&facts.spec.selector),
        template: std::sync::Arc::clone(&facts.spec.template),
        annotations,
    }))
}

/// Stable keeps its full size while a canary takes its steps, whatever else happens.
fn keep_stable(facts: &Facts<'_>, work: &mut Workload, is_shedding: bool) {
    let Some(stable) = facts.stable else { return };
    if !is_shedding {
        work.prepare.extend(scale_up(facts, stable, facts.spec.replicas, true).map(Prepare::ScaleUp));
    }
    shrink(facts, stable, facts.spec.replicas, work);
    sync_annotations(facts, stable, stable.deadline.map(|_| DeadlineChange::Remove), work);
}

fn promoted(facts: &Facts<'_>, course: &Course, work: &mut Workload) {
    let Some(new) = facts.new else { return };
    if course.is_frozen() {
        return;
    }
    work.prepare.extend(scale_up(facts, new, facts.spec.replicas, true).map(Prepare::ScaleUp));
    shrink(facts, new, facts.spec.replicas, work);
    sync_annotations(facts, new, new.deadline.map(|_| DeadlineChange::Remove), work);
}

fn canary(facts: &Facts<'_>, course: &Course, work: &mut Workload, is_shedding: bool) {
    keep_stable(facts, work, is_shedding);
    let Some(new) = facts.new else { return };
    if course.is_frozen() {
        return;
    }
    let desired = canary_desired(facts, course);
    work.prepare.extend(scale_up(facts, new, desired, true).map(Prepare::ScaleUp));
    shrink(facts, new, desired, work);
    sync_annotations(facts, new, new.deadline.map(|_| DeadlineChange::Remove), work);
}

/// The rejected canary keeps its pods for a while (people look at them), then goes.
fn aborted(facts: &Facts<'_>, work: &mut Workload) {
    let (Some(new), Some(stable)) = (facts.new, facts.stable) else { return };
    let Some(delay) = facts.spec.abort_scale_down_delay else {
        return sync_annotations(facts, new, None, work);
    };
    let deadline = new.deadline.or_else(|| {
        let may_start =
            stable.serving() >= facts.spec.replicas && facts.exposure.of_hash(&new.hash) == Weight::ZERO;
        may_start.then(|| facts.after(facts.now, delay))
    });
    let is_news = new.deadline.is_none() && new.replicas > 0;
    let change = deadline.filter(|_| is_news).map(DeadlineChange::Set);
    sync_annotations(facts, new, change, work);
    if let Some(deadline) = deadline {
        retire_at(facts, new, deadline, work);
    }
}

/// Versions that are neither wanted nor stable.
fn others(facts: &Facts<'_>, course: &Course, work: &mut Workload) {
    if course.is_frozen() {
        return;
    }
    for set in facts.others.iter().filter(|set| set.replicas > 0) {
        if facts.is_selected(&set.hash) || facts.exposure.of_hash(&set.hash) > Weight::ZERO {
            continue;
        }
        // The previous stable version is kept for its delay; a canary that was superseded only until it is drained.
        let deadline = match (course.stage, set.deadline) {
            (_, Some(deadline)) => deadline,
            (Stage::Promoted, None) if !facts.spec.scale_down_delay.is_zero() => {
                let deadline = facts.after(facts.now, facts.spec.scale_down_delay);
                let annotate = AnnotateReplicaSet {
                    name: set.name.clone(),
                    resource_version: set.resource_version.clone(),
                    revision: None,
                    desired: None,
                    deadline: Some(DeadlineChange::Set(deadline)),
                };
                work.prepare.push(Prepare::Annotate(annotate));
                deadline
            }
            (_, None) => facts.now,
        };
        retire_at(facts, set, deadline, work);
    }
}

/// Takes a version down to 0 once its deadline is over and its traffic has drained.
fn retire_at(facts: &Facts<'_>, set: &ReplicaSet, deadline: Timestamp, work: &mut Workload) {
    if set.replicas == 0 || facts.is_selected(&set.hash) {
        return;
    }
    let Some(drained) = facts.drained_at(&set.hash) else { return };
    let at = deadline.max(drained);
    if facts.now < at || facts.lingering(&set.hash) > Weight::ZERO {
        let reason = if drained > deadline { Wait::DataPlane } else { Wait::ScaleDown };
        // A restart begins the exposure's history anew: then its end is what is waited for.
        let at = at.max(facts.after(facts.observed.exposure.since, facts.delay()));
        work.wakes.push(Wake { at, reason });
        return;
    }
    work.retire.push(Retire::ScaleDown(scale_down(facts, set, 0)));
}

/// Fewer pods, but never fewer than the traffic that may still arrive needs.
fn shrink(facts: &Facts<'_>, set: &ReplicaSet, desired: i32, work: &mut Workload) {
    if set.replicas <= desired {
        return;
    }
    // What the traffic needs is counted against the size the version has now: after a scale-down of the whole
    // rollout the same traffic is meant for fewer pods.
    let share = facts.lingering(&set.hash);
    let needed = share.replicas_needed(facts.spec.replicas);
    let to = desired.max(needed).min(set.replicas);
    if to > desired {
        let since = facts.observed.exposure.present.as_ref().map_or(facts.now, |(at, _)| *at);
        work.wakes.push(Wake {
            at: facts.after(since.max(facts.observed.exposure.since), facts.delay()),
            reason: Wait::DataPlane,
        });
    }
    if to < set.replicas {
        work.retire.push(Retire::ScaleDown(scale_down(facts, set, to)));
    }
}

fn scale_up(facts: &Facts<'_>, set: &ReplicaSet, to: i32, clear_deadline: bool) -> Option<ScaleUp> {
    (set.replicas < to).then(|| ScaleUp {
        replica_set: set.name.clone(),
        resource_version: set.resource_version.clone(),
        revision: set.revision,
        from: set.replicas,
        to,
        desired: facts.spec.replicas,
        clear_deadline: clear_deadline && set.deadline.is_some(),
    })
}

fn scale_down(facts: &Facts<'_>, set: &ReplicaSet, to: i32) -> ScaleDown {
    ScaleDown {
        replica_set: set.name.clone(),
        resource_version: set.resource_version.clone(),
        hash: set.hash.clone(),
        revision: set.revision,
        from: set.replicas,
        to,
        desired: facts.spec.replicas,
        clear_deadline: to == 0 && set.deadline.is_some(),
    }
}

/// Brings the annotations of a version in use up to date, unless a scale-up of this pass does so anyway.
fn sync_annotations(
    facts: &Facts<'_>,
    set: &ReplicaSet,
    deadline: Option<DeadlineChange>,
    work: &mut Workload,
) {
    let is_scaled = work
        .prepare
        .iter()
        .any(|action| matches!(action, Prepare::ScaleUp(up) if up.replica_set == set.name))
        || work
            .retire
            .iter()
            .any(|action| matches!(action, Retire::ScaleDown(down) if down.replica_set == set.name));
    let desired = (set.desired != Some(facts.spec.replicas)).then_some(facts.spec.replicas);
    if !is_scaled && (desired.is_some() || deadline.is_some()) {
        work.prepare.push(Prepare::Annotate(AnnotateReplicaSet {
            name: set.name.clone(),
            resource_version: set.resource_version.clone(),
            revision: None,
            desired,
            deadline,
        }));
    }
}

/// Deletes the oldest versions beyond the history limit; only empty ones.
fn clean_up(facts: &Facts<'_>, work: &mut Workload) {
    let surplus = facts.others.len().saturating_sub(facts.spec.revision_history_limit);
    let empty =
        |set: &&&ReplicaSet| set.replicas == 0 && set.created_pods == 0 && !facts.is_selected(&set.hash);
    let oldest = facts.others.iter().take(surplus).filter(empty);
    work.retire.extend(oldest.map(|set| Retire::DeleteReplicaSet {
        name: set.name.clone(),
        uid: set.uid.clone(),
        resource_version: set.resource_version.clone(),
    }));
}
