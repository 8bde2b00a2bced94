//! Which version each Service selects, and when its selector may be moved.

use super::{
    course::Course,
    facts::Facts,
    observed::{ReplicaSet, Side},
    plan::{Prepare, Switch},
    report::{Stage, Wait},
};
use crate::domain::{PodHash, Weight};

/// The switches that are safe now, and what the others wait for.
pub(super) fn switches(facts: &Facts<'_>, course: &Course) -> (Vec<Prepare>, Vec<Wait>) {
    let wanted = match course.stage {
        Stage::Gone | Stage::Refused | Stage::Creating | Stage::FirstDeploy => [None, None],
        Stage::Promoted => [facts.new, facts.new],
        Stage::Canary => [facts.stable, facts.new],
        Stage::Aborted => [facts.stable, facts.stable],
    };
    let mut switches = vec![];
    let mut waiting = vec![];
    for (side, set) in [Side::Stable, Side::Canary].into_iter().zip(wanted) {
        match set.and_then(|set| switch(facts, course, side, set)) {
            Some(Ok(switch)) => switches.push(Prepare::SwitchService(switch)),
            Some(Err(wait)) => waiting.push(wait),
            None => {}
        }
    }
    (switches, waiting)
}

/// `None` when the selector is right already (or its Service is missing, which is said elsewhere).
fn switch(facts: &Facts<'_>, course: &Course, side: Side, set: &ReplicaSet) -> Option<Result<Switch, Wait>> {
    let service = facts.service(side)?;
    if service.selected.as_ref() == Some(&set.hash) {
        return None;
    }
    let is_whole = set.serving() >= set.replicas
        && set.replicas > 0
        && set.serving() >= facts.spec.replicas.min(set.replicas);
    let wait = match (&service.selected, side) {
        // Taking over a Service that selects every version narrows it: the version must be whole, and where it is
        // not the stable one it must be meant to have what the routes send there.
        (None, _) if !is_whole => Some(pods_of(side)),
        (None, Side::Canary) if !may_narrow(facts, course, set) => Some(Wait::Weight),
        (None, _) => None,
        (Some(_), _) if set.serving() == 0 => Some(pods_of(side)),
        (Some(_), _) if facts.is_idle(side) => None,
        (Some(_), Side::Stable) if can_carry_now(facts, set) => None,
        (Some(from), Side::Canary) if takes_the_place_of(facts, course, from, set) => None,
        (Some(_), _) => Some(Wait::DataPlane),
    };
    Some(match wait {
        Some(wait) => Err(wait),
        None => Ok(Switch {
            service: service.name.clone(),
            side,
            resource_version: service.resource_version.clone(),
            from: service.selected.clone(),
            to: set.hash.clone(),
            adopt: service.managed_by.is_none().then(|| facts.observed.rollout.key.name.clone()),
        }),
    })
}

/// Whether the canary's Service, which selects every version, may be narrowed to this one. Engines that apply on the
/// server's side take a selector as a whole: each apply takes the hash off, also in mid-canary.
fn may_narrow(facts: &Facts<'_>, course: &Course, set: &ReplicaSet) -> bool {
    let largest = || facts.observed.exposure.largest(facts.now, facts.delay(), |seen| seen.canary);
    facts.stable.is_some_and(|stable| stable.hash == set.hash)
        || facts.is_idle(Side::Canary)
        || is_meant_to_have(facts, course, largest())
}

/// The present step gives the new version this much, and its pods can carry it.
pub(super) fn is_meant_to_have(facts: &Facts<'_>, course: &Course, weight: Weight) -> bool {
    let can_carry =
        |new: &ReplicaSet| new.serving() > 0 && new.serving() >= weight.replicas_needed(facts.spec.replicas);
    weight <= facts.spec.weight_at(course.cursor) && facts.new.is_some_and(can_carry)
}

/// The stable side leads to a wrong version while it carries traffic: it may be moved to one that can carry the
/// most that may still arrive there.
fn can_carry_now(facts: &Facts<'_>, set: &ReplicaSet) -> bool {
    let largest = facts.observed.exposure.largest(facts.now, facts.delay(), |seen| seen.stable);
    facts.exposure.stable > Weight::ZERO && set.serving() >= largest.replicas_needed(facts.spec.replicas)
}

/// Stable is gone, the canary's Service leads to nobody, and a person has decided that the new version, which is whole, shall
/// take its place: who waits for that traffic to end waits for ever, and all of it fails meanwhile.
fn takes_the_place_of(facts: &Facts<'_>, course: &Course, from: &PodHash, set: &ReplicaSet) -> bool {
    let serves = |other: &ReplicaSet| other.hash == *from && other.serving() > 0;
    facts.stable.is_none()
        && course.memory.promote_full
        && !course.is_frozen()
        && set.serving() >= facts.spec.replicas
        && !facts.observed.replica_sets.iter().any(serves)
}

fn pods_of(side: Side) -> Wait {
    match side {
        Side::Canary => Wait::CanaryPods,
        Side::Stable | Side::Other => Wait::StablePods,
    }
}
