//! What every plan must satisfy, whatever decided it. Shares no code with the decisions.
//!
//! In production a plan that breaks one of these is not carried out, but for its shed.

use super::{
    memory::Memory,
    observed::{Observed, ReplicaSet, Side},
    plan::{Expose, Plan, Prepare, Retire, RouteWeights, ScaleDown, Switch},
};
use crate::domain::{PodHash, Weight};

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// What exactly, for people.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
pub enum Rule {
    /// A shed lowers the canary's side and nothing else.
    ShedOnlyLowers,
    /// Weights that are written add up to 100 or fewer, and each is a percentage.
    WeightsAddUp,
    /// Nothing is raised towards a version without ready pods.
    NoRaiseWithoutPods,
    /// Nothing is raised while the status says (or will say) that the version is rejected.
    NoRaiseAfterAbort,
    /// No pods are taken away that the traffic of the last data-plane delay may still need.
    PodsOutliveTraffic,
    /// A selector moves only where nothing can be lost.
    SwitchIsSafe,
    /// Only empty ReplicaSets are deleted.
    DeleteOnlyEmpty,
    /// A version becomes stable only once it was seen to carry all the traffic, or is the first one.
    PromotionIsEarned,
    /// A growth grows.
    GrowthGrows,
}

/// All rules that `plan` breaks, given what it was decided on.
pub fn check(observed: &Observed, plan: &Plan, now: jiff::Timestamp) -> Vec<Violation> {
    let mut broken = vec![];
    let mut add = |rule, detail: String| broken.push(Violation { rule, detail });
    shed(observed, plan, &mut add);
    exposure(observed, plan, &mut add);
    for action in &plan.prepare {
        match action {
            Prepare::ScaleUp(up) if up.to <= up.from => {
                add(Rule::GrowthGrows, format!("{}: {} to {}", up.replica_set, up.from, up.to))
            }
            Prepare::SwitchService(switch) => switched(observed, switch, now, &mut add),
            Prepare::ScaleUp(_)
            | Prepare::WriteReplicas
            | Prepare::CreateReplicaSet(_)
            | Prepare::Annotate(_)
            | Prepare::WriteRevision(_)
            | Prepare::CreateRun(_)
            | Prepare::TerminateRun(_) => {}
        }
    }
    for action in &plan.retire {
        match action {
            Retire::ScaleDown(down) => scaled_down(observed, down, now, &mut add),
            Retire::DeleteReplicaSet { name, .. } => {
                let set = observed.replica_sets.iter().find(|set| set.name == *name);
                if set.is_none_or(|set| set.replicas != 0 || set.created_pods != 0) {
                    add(Rule::DeleteOnlyEmpty, name.clone());
                }
            }
            Retire::DeleteRun { .. } | Retire::Release(_) => {}
        }
    }
    promotion(observed, plan, &mut add);
    broken
}

fn live(observed: &Observed, route: usize, destination: usize) -> Option<i64> {
    let routes = observed.virtual_service.as_ref()?.routes.as_ref().ok()?;
    let route = routes.iter().find(|known| known.index == route)?;
    route.destinations.get(destination).map(|known| known.weight.unwrap_or(0))
}

fn shed(observed: &Observed, plan: &Plan, add: &mut impl FnMut(Rule, String)) {
    let Some(lowering) = &plan.shed.weights else { return };
    for route in &lowering.routes {
        for change in route.changes.iter().filter(|change| change.side == Side::Canary) {
            let before = live(observed, route.index, change.index);
            if before.is_none_or(|before| before < i64::from(change.to.percent())) {
                add(Rule::ShedOnlyLowers, format!("route {}: {before:?} to {}", route.index, change.to));
            }
        }
        add_up(observed, route, add);
    }
}

/// The sum over a route after its changes; strangers may make it exceed 100 only by what they had.
fn add_up(observed: &Observed, written: &RouteWeights, add: &mut impl FnMut(Rule, String)) {
    let routes = observed.virtual_service.as_ref().and_then(|service| service.routes.as_ref().ok());
    let Some(route) = routes.and_then(|routes| routes.iter().find(|route| route.index == written.index))
    else {
        return add(Rule::WeightsAddUp, format!("route {} is not there", written.index));
    };
    let after = |(index, destination): (usize, &super::observed::Destination)| {
        let change = written.changes.iter().find(|change| change.index == index);
        change.map_or(destination.weight.unwrap_or(0), |change| i64::from(change.to.percent()))
    };
    let ours = |side: Side| side != Side::Other;
    let sum: i64 =
        route.destinations.iter().enumerate().filter(|(_, known)| ours(known.side)).map(after).sum();
    if !(0..=100).contains(&sum) {
        add(Rule::WeightsAddUp, format!("route {} adds up to {sum}", written.index));
    }
}

fn exposure(observed: &Observed, plan: &Plan, add: &mut impl FnMut(Rule, String)) {
    for action in &plan.expose {
        let Expose::Weights(weights) = action else { continue };
        let mut raises = false;
        for route in &weights.routes {
            add_up(observed, route, add);
            for change in route.changes.iter().filter(|change| change.side == Side::Canary) {
                raises |=
                    live(observed, route.index, change.index).unwrap_or(0) < i64::from(change.to.percent());
            }
        }
        if !raises {
            continue;
        }
        let target = observed.canary_service.as_ref().and_then(|service| service.selected.as_ref());
        if target.is_none_or(|hash| ready(observed, hash) <= 0) {
            add(Rule::NoRaiseWithoutPods, format!("canary to {} on {target:?}", weights.canary));
        }
        let memory = plan.memory.rollout.as_ref().map_or(&observed.rollout.memory, |write| &write.new);
        if is_rejected(memory, target) {
            add(Rule::NoRaiseAfterAbort, format!("canary to {}", weights.canary));
        }
    }
}

fn is_rejected(memory: &Memory, target: Option<&PodHash>) -> bool {
    memory.abort && memory.stable.is_some() && memory.stable.as_ref() != target
}

fn ready(observed: &Observed, hash: &PodHash) -> i32 {
    observed.replica_sets.iter().filter(|set| set.hash == *hash).map(|set| set.available).max().unwrap_or(0)
}

fn switched(observed: &Observed, switch: &Switch, now: jiff::Timestamp, add: &mut impl FnMut(Rule, String)) {
    let pods = ready(observed, &switch.to);
    let delay = observed.settings.data_plane_delay;
    let carried = observed.exposure.largest(now, delay, |seen| match switch.side {
        Side::Canary => seen.canary,
        Side::Stable | Side::Other => seen.stable,
    });
    let replicas = observed.rollout.spec.as_ref().map_or(0, |spec| spec.replicas);
    let is_first = switch.from.is_none();
    if pods == 0 || !(carried == Weight::ZERO || is_first || pods >= carried.replicas_needed(replicas)) {
        let detail = format!("{} to {} with {pods} pods, carried {carried}", switch.service, switch.to);
        add(Rule::SwitchIsSafe, detail);
    }
}

fn scaled_down(
    observed: &Observed,
    down: &ScaleDown,
    now: jiff::Timestamp,
    add: &mut impl FnMut(Rule, String),
) {
    let Some(set) = observed.replica_sets.iter().find(|set| set.name == down.replica_set) else {
        return add(Rule::PodsOutliveTraffic, format!("{} is not there", down.replica_set));
    };
    let carried =
        observed.exposure.largest(now, observed.settings.data_plane_delay, |seen| seen.of_hash(&set.hash));
    let needed =
        observed.rollout.spec.as_ref().map_or(set.replicas, |spec| carried.replicas_needed(spec.replicas));
    if down.to >= set.replicas || down.to < needed || is_last_resort(observed, set, down.to) {
        let detail = format!(
            "{} from {} to {}, {carried} % of traffic may need {needed}",
            set.name, set.replicas, down.to
        );
        add(Rule::PodsOutliveTraffic, detail);
    }
}

/// Stable pods are never taken away altogether while the rollout wants any.
fn is_last_resort(observed: &Observed, set: &ReplicaSet, to: i32) -> bool {
    let wants_pods = observed.rollout.spec.as_ref().is_ok_and(|spec| spec.replicas > 0);
    to == 0 && wants_pods && observed.rollout.memory.stable.as_ref() == Some(&set.hash)
}

fn promotion(observed: &Observed, plan: &Plan, add: &mut impl FnMut(Rule, String)) {
    let Some(write) = &plan.memory.rollout else { return };
    if write.old.stable == write.new.stable || write.old.stable.is_none() {
        return;
    }
    let carries = observed
        .virtual_service
        .as_ref()
        .is_some_and(|service| service.least_share(Side::Canary) == Weight::FULL);
    let leads = observed.canary_service.as_ref().and_then(|service| service.selected.as_ref())
        == write.new.stable.as_ref();
    if !(carries && leads) {
        add(Rule::PromotionIsEarned, format!("{:?} was not seen to carry all the traffic", write.new.stable));
    }
}
