//! The order of things: what was asked of the API server, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{Climb, Ending, Wrong, case::Case};
use crate::sim::play::timeline::{Asked, Entry, Kind};

/// The weight goes up by the steps of the Rollout, each version from the first one on, and down to nothing.
pub(super) fn weights(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    if ending.climbs.is_empty() {
        return;
    }
    let steps = case.rollout()["spec"]["strategy"]["canary"]["steps"].as_array().into_iter().flatten();
    let mut whole: Vec<i64> = steps.filter_map(|step| step["setWeight"].as_i64()).collect();
    if whole.last() != Some(&100) {
        whole.push(100);
    }
    let seen: Vec<i64> = case.weights().into_iter().map(|(_, weight)| weight).collect();
    let climbs: Vec<&[i64]> = seen.split(|weight| *weight == 0).filter(|climb| !climb.is_empty()).collect();
    let fits = |(climb, kind): (&&[i64], &Climb)| match kind {
        Climb::Cut => whole.starts_with(climb) && climb.len() < whole.len(),
        Climb::Whole => whole == **climb,
    };
    if climbs.len() != ending.climbs.len()
        || seen.last() != Some(&0)
        || !climbs.iter().zip(ending.climbs).all(fits)
    {
        wrong.add(format!("the canary's weight went {seen:?}, not as {:?} of {whole:?}", ending.climbs));
    }
}

/// The controller's first write after the sample that decided takes the canary's traffic away, and nothing of the verdict
/// is booked before.
pub(super) fn shed_first(case: &Case, wrong: &mut Wrong) {
    let is_shed = |entry: &&Entry| entry.canary_weight == Some(0) && is_route(entry);
    let is_booked = |entry: &Entry| {
        entry.asked().is_some_and(|asked| {
            asked.resource.starts_with("analysisruns") && asked.body["status"]["phase"] == "Failed"
        })
    };
    let Some(booked) = case.entries.iter().position(is_booked) else {
        return wrong.add("no AnalysisRun was ever booked as Failed");
    };
    let before = case.entries.get(..booked).unwrap_or_default();
    let climbed = before.iter().rposition(|entry| entry.canary_weight.is_some_and(|weight| weight > 0));
    if !before.iter().skip(climbed.unwrap_or(booked)).any(|entry| is_shed(&entry)) {
        return wrong.add("the verdict was booked before the traffic was taken away");
    }
    let is_answer = |entry: &Entry| matches!(entry.kind, Kind::Answer { .. });
    if !case.entries.iter().any(is_answer) {
        return;
    }
    let is_bad = |entry: &Entry| matches!(entry.kind, Kind::Answer { is_good: false, value: Some(_), .. });
    let Some(last) = case.entries.iter().rposition(is_bad) else {
        return wrong.add("no bad sample was ever given");
    };
    let is_write = |entry: &&Entry| {
        entry.asked().is_some_and(|asked| {
            case.is_controller(&asked.actor)
                && asked.resource != "leases"
                && asked.status != 0
                && !["get", "list", "watch"].contains(&asked.verb.as_str())
        })
    };
    let is_late = |entry: &&Entry| !is_shed(entry);
    let is_harmless = |entry: &&Entry| !is_route(entry);
    let writes: Vec<&Entry> = case.entries.iter().skip(last).filter(is_write).collect();
    let under_way =
        writes.iter().copied().take(case.under_way).take_while(is_late).take_while(is_harmless).count();
    match writes.get(under_way) {
        Some(entry) if is_shed(entry) => {}
        Some(other) => wrong.add(format!(
            "after the failing sample the controller first did `{}` (canary at {:?})",
            other.what(),
            other.canary_weight
        )),
        None => wrong.add("after the failing sample the controller did nothing"),
    }
}

fn is_route(entry: &Entry) -> bool {
    entry.asked().is_some_and(|asked| asked.resource == "virtualservices" && asked.verb == "patch")
}

/// One ReplicaSet for each version, and none for one that was there before: a revert starts no canary.
pub(super) fn replica_sets(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    let is_made =
        |asked: &&Asked| asked.resource == "replicasets" && asked.verb == "create" && asked.status == 201;
    let made = case.entries.iter().filter_map(Entry::asked).filter(is_made).count();
    let wanted = ending.pushed.len() + 1;
    if made != wanted {
        wrong.add(format!("{made} ReplicaSets were made instead of {wanted}"));
    }
}

/// No version loses pods before its traffic has been gone for the data-plane delay.
pub(super) fn scaled_down_late(case: &Case, wrong: &mut Wrong) {
    let mut routes = Routes::default();
    for entry in &case.entries {
        routes.see(case, entry);
        let Some(asked) = entry.asked().filter(|asked| case.is_controller(&asked.actor)) else { continue };
        if asked.resource != "replicasets" || asked.status != 200 {
            continue;
        }
        let Some(to) = asked.body.pointer("/spec/replicas").and_then(Value::as_i64) else { continue };
        let Some(set) = routes.sets.get_mut(&asked.name) else { continue };
        let from = std::mem::replace(&mut set.pods, to);
        let quiet = set.idle_since.map(|since| entry.at.duration_since(since));
        if to < from && quiet.is_none_or(|quiet| quiet < case.data_plane_delay) {
            let since = quiet.map_or("while it had traffic".to_owned(), |quiet| {
                format!("{quiet:#} after its traffic was taken away")
            });
            wrong.add(format!("{} was scaled from {from} to {to} {since}", asked.name));
        }
    }
}

/// Which version has traffic, by what was asked of the API server.
#[derive(Default)]
struct Routes {
    weight: i64,
    /// The version that each side's Service selects.
    canary: String,
    stable: String,
    sets: BTreeMap<String, Set>,
}

struct Set {
    hash: String,
    pods: i64,
    /// Since when it has had no traffic; `None` while it has some.
    idle_since: Option<Timestamp>,
}

impl Routes {
    fn see(&mut self, case: &Case, entry: &Entry) {
        let Some(asked) = entry.asked().filter(|asked| asked.is_done()) else { return };
        self.weight = entry.canary_weight.unwrap_or(0);
        let text = |pointer: &str| asked.body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if asked.resource == "services"
            && let Some(hash) = text("/spec/selector/rollouts-pod-template-hash")
        {
            if asked.name == case.names.canary_service {
                self.canary = hash;
            } else if asked.name == case.names.stable_service {
                self.stable = hash;
            }
        } else if asked.resource == "replicasets"
            && asked.verb == "create"
            && let Some(hash) = text("/metadata/labels/rollouts-pod-template-hash")
        {
            self.sets.insert(asked.name.clone(), Set { hash, pods: 0, idle_since: Some(entry.at) });
        }
        for set in self.sets.values_mut() {
            let has_traffic = (set.hash == self.canary && self.weight > 0)
                || (set.hash == self.stable && self.weight < 100);
            set.idle_since = if has_traffic { None } else { set.idle_since.or(Some(entry.at)) };
        }
    }
}
