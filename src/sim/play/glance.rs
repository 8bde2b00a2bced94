//! What a story waits for: glances at the world.

use serde_json::Value;

use super::{cast::Cast, scenario::Scenario};
use crate::sim::{store::Resource, world::World};

/// Nothing more is to come of the story.
pub(super) fn is_over(world: &World, cast: &Cast, scenario: Scenario) -> bool {
    let (image, phase) = match scenario {
        Scenario::BadMetric | Scenario::BadPods | Scenario::GitDown | Scenario::TakeoverByRestart => {
            (&cast.old_image, "Healthy")
        }
        Scenario::Good | Scenario::NoData | Scenario::PrometheusDown => (&cast.new_image, "Healthy"),
        Scenario::UserAbort => (&cast.new_image, "Degraded"),
        Scenario::FixedFirst | Scenario::Contested | Scenario::Superseded => (&cast.fixed_image, "Healthy"),
    };
    let healing = match scenario {
        Scenario::BadMetric
        | Scenario::BadPods
        | Scenario::GitDown
        | Scenario::Contested
        | Scenario::TakeoverByRestart => is_healing_over(world, "Synced") && is_told(world, cast),
        Scenario::FixedFirst => is_healing_over(world, "Superseded") && is_told(world, cast),
        Scenario::UserAbort => {
            is_healing_over(world, "NoPolicy") && (!has_audience(world, cast) || !ledger(world).is_empty())
        }
        Scenario::Good | Scenario::NoData | Scenario::PrometheusDown | Scenario::Superseded => true,
    };
    healing && is_on(world, cast, image, phase) && is_tidy(world, cast) && live_weight(world, cast) == 0
}

pub(super) fn rollout<'a>(world: &'a World, cast: &Cast) -> Option<&'a Value> {
    world.store().object(Resource::Rollouts, &cast.rollout.namespace, &cast.rollout.name).map(AsRef::as_ref)
}

pub(super) fn status(world: &World, cast: &Cast) -> Value {
    rollout(world, cast).map(|rollout| rollout["status"].clone()).unwrap_or_default()
}

/// The Rollout is in this phase and its spec names this image.
pub(super) fn is_on(world: &World, cast: &Cast, image: &str, phase: &str) -> bool {
    rollout(world, cast).is_some_and(|rollout| {
        let generation = rollout["metadata"]["generation"].as_i64().unwrap_or(0).to_string();
        rollout["spec"]["template"]["spec"]["containers"][0]["image"] == image
            && rollout["status"]["phase"] == phase
            && rollout["status"]["observedGeneration"] == generation.as_str()
    })
}

/// Only one version has pods left.
pub(super) fn is_tidy(world: &World, cast: &Cast) -> bool {
    let sets = replica_sets(world, cast);
    sets.filter(|set| set["spec"]["replicas"].as_i64() != Some(0)).count() == 1
}

pub(super) fn replica_sets<'a>(world: &'a World, cast: &'a Cast) -> impl Iterator<Item = &'a Value> {
    let all = world.store().objects(Resource::ReplicaSets);
    all.filter(|(key, _)| key.namespace == cast.rollout.namespace).map(|(_, set)| set.as_ref())
}

/// Pods that are asked for of the new version.
pub(super) fn canary_pods(world: &World, cast: &Cast) -> i64 {
    let is_new =
        |set: &&Value| set["spec"]["template"]["spec"]["containers"][0]["image"] == cast.new_image.as_str();
    replica_sets(world, cast).filter(is_new).filter_map(|set| set["spec"]["replicas"].as_i64()).sum()
}

/// The canary's weight on the VirtualService.
pub(super) fn live_weight(world: &World, cast: &Cast) -> i64 {
    let route = &cast.virtual_service;
    let Some(routes) = world.store().object(Resource::VirtualServices, &route.namespace, &route.name) else {
        return 0;
    };
    let entries = routes["spec"]["http"].as_array().into_iter().flatten();
    let destinations = entries.flat_map(|entry| entry["route"].as_array().into_iter().flatten());
    let is_canary = |entry: &&Value| {
        let host = entry["destination"]["host"].as_str().unwrap_or_default();
        host.split('.').next() == Some(&cast.services.canary)
    };
    destinations.filter(is_canary).filter_map(|entry| entry["weight"].as_i64()).max().unwrap_or(0)
}

/// The canary's weight in the Rollout's status.
pub(super) fn booked_weight(world: &World, cast: &Cast) -> i64 {
    status(world, cast)["canary"]["weights"]["canary"]["weight"].as_i64().unwrap_or(0)
}

/// Who holds the controllers' lease.
pub(super) fn holder(world: &World) -> String {
    let leases = world.store().objects(Resource::Leases);
    let holders = leases.filter_map(|(_, lease)| lease["spec"]["holderIdentity"].as_str());
    holders.collect::<Vec<_>>().join(" ")
}

pub(super) fn is_healing_over(world: &World, phase: &str) -> bool {
    let mut heals = world.store().objects(Resource::SelfHeals).peekable();
    heals.peek().is_some() && heals.all(|(_, heal)| heal["status"]["phase"] == phase)
}

/// States of what Slack was told, by the notifier's own ledger.
pub(super) fn ledger(world: &World) -> Vec<Value> {
    let records = world.store().objects(Resource::RolloutRecords);
    let ledgers = records.filter_map(|(_, record)| record["status"]["notify"]["ledger"].as_array());
    ledgers.flatten().map(|entry| entry["state"].clone()).collect()
}

/// Whether the Rollout subscribes anybody to its aborts.
pub(super) fn has_audience(world: &World, cast: &Cast) -> bool {
    let annotations = rollout(world, cast).and_then(|rollout| rollout["metadata"]["annotations"].as_object());
    annotations.into_iter().flatten().any(|(name, _)| {
        let rest = name.strip_prefix("notifications.argoproj.io/subscribe.");
        rest == Some("slack") || rest == Some("on-rollout-aborted.slack")
    })
}

pub(super) fn is_told(world: &World, cast: &Cast) -> bool {
    let states = ledger(world);
    let is_begun = !states.is_empty() || !has_audience(world, cast);
    is_begun && states.iter().all(|state| state == "Final")
}
