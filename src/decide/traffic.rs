//! How much traffic the canary may have, what it shall have, and what must be cut at once.

use super::{
    course::Course,
    facts::Facts,
    mark::ShedMark,
    observed::{Exposure, ReplicaSet, Route, Side, VirtualService},
    plan::{Expose, Lowering, Release, Retire, RouteWeights, SetWeights, ShedReason, WeightChange},
    report::{Stage, Wait},
};
use crate::domain::Weight;

/// What is permitted and what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) ceiling: Weight,
    /// Why live weight above the ceiling is cut.
    pub(super) why: ShedReason,
    pub(super) target: Weight,
    /// What keeps the target below what the steps ask for.
    pub(super) waiting: Vec<Wait>,
}

/// The weight that is permitted and the one that is wanted, after what this pass remembers.
pub(super) fn limits(facts: &Facts<'_>, course: &Course) -> Limits {
    let (ceiling, why) = ceiling(facts, course);
    let (target, waiting) = target(facts, course, ceiling);
    Limits { ceiling, why, target: target.min(ceiling), waiting }
}

/// The largest weight that the canary's side may have now. It is never stored: it follows from the steps, the
/// verdicts and the pods.
fn ceiling(facts: &Facts<'_>, course: &Course) -> (Weight, ShedReason) {
    let foreign = (Weight::FULL, ShedReason::AboveCeiling);
    // Both sides without a hash lead to the same pods; a canary side that leads to stable pods exposes nobody.
    let Some(carried) = facts.exposure.leads_to(Side::Canary) else {
        // A Service without a hash reaches every version, a rejected one too.
        let is_rejected = course.stage == Stage::Aborted && course.memory.stable.is_some();
        return if is_rejected { (Weight::ZERO, ShedReason::Rejected) } else { foreign };
    };
    if course.memory.stable.is_none() || course.memory.stable.as_ref() == Some(carried) {
        return foreign;
    }
    let Some(new) = facts.new.filter(|new| new.hash == *carried) else {
        return (Weight::ZERO, ShedReason::Superseded);
    };
    if course.stage == Stage::Aborted {
        return (Weight::ZERO, ShedReason::Rejected);
    }
    if new.serving() == 0 {
        return (Weight::ZERO, ShedReason::NoReadyPod);
    }
    let permitted = match course.stage {
        Stage::Canary => facts.spec.weight_at(course.cursor),
        // The steps begin anew with the next pass; until then nothing is gained and nothing is lost.
        Stage::Creating | Stage::FirstDeploy | Stage::Promoted | Stage::Gone => facts.live(),
        Stage::Refused | Stage::Aborted => Weight::ZERO,
    };
    (permitted, ShedReason::AboveCeiling)
}

fn target(facts: &Facts<'_>, course: &Course, ceiling: Weight) -> (Weight, Vec<Wait>) {
    match course.stage {
        Stage::Gone | Stage::Refused | Stage::Creating | Stage::FirstDeploy => (facts.live(), vec![]),
        Stage::Aborted => back_to(facts, facts.stable),
        Stage::Promoted => promoted_target(facts),
        Stage::Canary => canary_target(facts, course, ceiling),
    }
}

/// After promotion traffic stays where it is until both Services select the new version and the data plane knows;
/// then the routes are put back to where every update begins.
fn promoted_target(facts: &Facts<'_>) -> (Weight, Vec<Wait>) {
    let Some(new) = facts.new else { return (facts.live(), vec![]) };
    let leads = |side| facts.exposure.leads_to(side) == Some(&new.hash);
    if leads(Side::Canary) && !leads(Side::Stable) {
        // The stable side still leads to the previous version.
        return (if new.serving() >= facts.spec.replicas { Weight::FULL } else { facts.live() }, vec![]);
    }
    back_to(facts, Some(new))
}

/// The routes go back to where every update begins, once the stable side leads to `stable` and the data plane knows.
/// Also an update or an abort may find them where the promotion before it has left them.
fn back_to(facts: &Facts<'_>, stable: Option<&ReplicaSet>) -> (Weight, Vec<Wait>) {
    let leads = |seen: &Exposure| seen.leads_to(Side::Stable) == stable.map(|stable| &stable.hash);
    if stable.is_none() || !leads(&facts.exposure) {
        return (facts.live(), vec![]);
    }
    let known = facts.observed.exposure.held(facts.now, facts.delay(), leads);
    match (known, facts.live()) {
        (true, _) | (_, Weight::ZERO) => (Weight::ZERO, vec![]),
        (false, live) => (live, vec![Wait::DataPlane]),
    }
}

fn canary_target(facts: &Facts<'_>, course: &Course, ceiling: Weight) -> (Weight, Vec<Wait>) {
    if let (Some(new), None) = (facts.new, facts.stable)
        && course.memory.promote_full
        && new.serving() >= facts.spec.replicas
        && facts.exposure.leads_to(Side::Canary) == Some(&new.hash)
    {
        // Somebody deleted the stable version, and somebody has decided that this one shall take its place. It gets all or
        // nothing: what the other side kept would have no pods.
        let may = ceiling == Weight::FULL && !course.is_frozen();
        return if may { (Weight::FULL, vec![Wait::Weight]) } else { (facts.live(), course.held_by()) };
    }
    let (Some(new), Some(stable)) = (facts.new, facts.stable) else {
        return (facts.live(), vec![Wait::CanaryPods]);
    };
    if facts.exposure.leads_to(Side::Canary) == Some(&stable.hash) {
        let (back, mut waiting) = back_to(facts, Some(stable));
        waiting.push(Wait::CanaryPods);
        return (back, waiting);
    }
    if facts.exposure.leads_to(Side::Canary) != Some(&new.hash) {
        let is_open = facts.service(Side::Canary).is_some_and(|service| service.selected.is_none());
        if is_open
            && facts.live() > Weight::ZERO
            && !super::services::is_meant_to_have(facts, course, facts.live())
        {
            // It leads to every version, and can be narrowed to the new one only without this traffic.
            return if stable.serving() >= facts.spec.replicas {
                (Weight::ZERO, vec![Wait::Weight])
            } else {
                (facts.live(), vec![Wait::StablePods])
            };
        }
        return (facts.live().min(ceiling), vec![Wait::CanaryPods]);
    }
    if course.memory.promote_full && new.serving() < facts.spec.replicas {
        return (facts.live(), vec![Wait::CanaryPods]);
    }
    let reached = super::workload::canary_counts_reached(facts, course);
    let wanted = if reached {
        facts.spec.weight_at(course.cursor)
    } else {
        facts.spec.weight_before(course.cursor).max(facts.live().min(ceiling))
    };
    if wanted <= facts.live() {
        let waiting = if reached { vec![] } else { vec![Wait::CanaryPods] };
        return (wanted, waiting);
    }
    let mut waiting = vec![];
    if course.is_held() {
        waiting.extend(course.held_by());
    }
    if facts.observed.virtual_service.as_ref().is_some_and(|service| service.is_hands_off) {
        waiting.push(Wait::Contest);
    }
    waiting.extend(course.contest.wait());
    // What the canary does not get goes there, whoever has moved that Service.
    let is_astray = facts.exposure.leads_to(Side::Stable).is_some_and(|hash| *hash != stable.hash);
    if is_astray || stable.serving() < wanted.complement().replicas_at_least(facts.spec.replicas) {
        waiting.push(Wait::StablePods);
    }
    if waiting.is_empty() { (wanted, vec![Wait::Weight]) } else { (facts.live(), waiting) }
}

/// The urgent lowering, where live weight is above the ceiling.
pub(super) fn shed(facts: &Facts<'_>, limits: &Limits, mark: Option<ShedMark>) -> Option<Lowering> {
    let service = facts.observed.virtual_service.as_ref()?;
    lowering(service, limits.ceiling, limits.why, mark)
}

/// Takes the canary's side down to `ceiling` on every route that is above it; `None` where none is.
pub(super) fn lowering(
    service: &VirtualService,
    ceiling: Weight,
    why: ShedReason,
    mark: Option<ShedMark>,
) -> Option<Lowering> {
    let above = service.routes.iter().flatten().filter(|route| route.share(Side::Canary) > ceiling);
    let routes: Vec<RouteWeights> = above.filter_map(|route| weights(route, ceiling)).collect();
    (!routes.is_empty()).then(|| Lowering {
        virtual_service: service.key.clone(),
        has_annotations: service.has_annotations,
        routes,
        mark,
        why,
    })
}

/// The planned change of weights, up or down, where live weights are not what is wanted.
pub(super) fn expose(facts: &Facts<'_>, limits: &Limits, course: &Course) -> Option<Expose> {
    let service = facts.observed.virtual_service.as_ref()?;
    let clear_mark = service.has_mark && course.mark_is_dead;
    let off = service.routes.iter().flatten().filter(|route| route.share(Side::Canary) != limits.target);
    let routes: Vec<RouteWeights> = off.filter_map(|route| weights(route, limits.target)).collect();
    if !routes.is_empty() {
        return Some(Expose::Weights(SetWeights {
            virtual_service: service.key.clone(),
            resource_version: service.resource_version.clone(),
            routes,
            canary: limits.target,
            clear_mark,
            puts_back: course.contest.is_reassert && limits.target > facts.live(),
        }));
    }
    clear_mark.then(|| Expose::ClearMark {
        virtual_service: service.key.clone(),
        resource_version: service.resource_version.clone(),
    })
}

/// Once the update is through and the routes are where the next one begins, nothing of them stays ours.
pub(super) fn release(facts: &Facts<'_>, course: &Course) -> Option<Retire> {
    let service = facts.observed.virtual_service.as_ref()?;
    let entry = service.own_entry?;
    let hash = facts.new.map(|new| &new.hash);
    let leads = |side| facts.exposure.leads_to(side).is_some() && facts.exposure.leads_to(side) == hash;
    let is_done = course.stage == Stage::Promoted
        && !course.is_promotion
        && facts.live() == Weight::ZERO
        && !service.has_mark
        && leads(Side::Stable)
        && leads(Side::Canary);
    is_done.then(|| {
        Retire::Release(Release {
            virtual_service: service.key.clone(),
            resource_version: service.resource_version.clone(),
            entry,
        })
    })
}

/// What to write so that the canary's side has `canary`, the strangers what they have, and stable the rest.
/// `None` where nothing would change.
fn weights(route: &Route, canary: Weight) -> Option<RouteWeights> {
    let strangers: i64 = route
        .destinations
        .iter()
        .filter(|destination| destination.side == Side::Other)
        .map(|destination| destination.weight.unwrap_or(0).max(0))
        .fold(0, i64::saturating_add);
    let rest = i64::from(canary.complement().percent()).saturating_sub(strangers).max(0);
    let stable = Weight::new(rest).unwrap_or(Weight::ZERO);
    let mut left = [(Side::Canary, canary), (Side::Stable, stable)];
    let mut changes = vec![];
    for (index, destination) in route.destinations.iter().enumerate() {
        let Some((_, share)) = left.iter_mut().find(|(side, _)| *side == destination.side) else { continue };
        // A second destination of the same side gets nothing: the first carries the side.
        let to = std::mem::replace(share, Weight::ZERO);
        if destination.weight.unwrap_or(0) != i64::from(to.percent()) {
            changes.push(WeightChange::new(index, destination, to));
        }
    }
    (!changes.is_empty()).then(|| RouteWeights { index: route.index, name: route.name.clone(), changes })
}
