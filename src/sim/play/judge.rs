//! The judge: whether a story ended as it must, by what the store, the repository, Slack and the mesh hold. It shares
//! nothing with whoever tells the story, and nothing with the controller.

use serde_json::Value;

use super::{
    cast::{Cast, Scenario, tag},
    stage::Played,
    timeline::{Entry, Kind, timeline},
};
use crate::sim::{
    engine,
    store::{Key, Resource},
};

/// The author of commits that serin makes.
const BOT: &str = "SelfHeal Bot";

/// What was found wrong; empty when the story ended as it must.
pub fn judge(played: &Played, cast: &Cast, scenario: Scenario) -> Vec<String> {
    let mut wrong = vec![];
    let answers = played.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let entries = played.door.with(|world| timeline(world.log(), &answers, &cast.services.canary));
    if !played.has_ended {
        wrong.push("the story did not come to its end in time".to_owned());
    }
    ending(played, cast, scenario, &mut wrong);
    traffic(played, cast, &mut wrong);
    match scenario {
        Scenario::BadMetric => {
            git_after_bad(played, cast, &mut wrong);
            shed_first(&entries, &mut wrong);
            one_canary(&entries, &mut wrong);
            if played.slack_messages != 1 {
                wrong.push(format!("Slack has {} messages instead of one", played.slack_messages));
            }
        }
        Scenario::Good => git_after_good(played, &mut wrong),
    }
    scaled_down_late(&entries, cast, played, &mut wrong);
    wrong
}

fn object(played: &Played, resource: Resource, namespace: &str, name: &str) -> Value {
    played
        .door
        .with(|world| world.store().object(resource, namespace, name).map(|object| object.as_ref().clone()))
        .unwrap_or_default()
}

fn ending(played: &Played, cast: &Cast, scenario: Scenario, wrong: &mut Vec<String>) {
    let image = match scenario {
        Scenario::BadMetric => &cast.old_image,
        Scenario::Good => &cast.new_image,
    };
    let rollout = object(played, Resource::Rollouts, &cast.rollout.namespace, &cast.rollout.name);
    let found = &rollout["spec"]["template"]["spec"]["containers"][0]["image"];
    if found != image {
        wrong.push(format!("the Rollout asks for {found}, not for {image}"));
    }
    if rollout["status"]["phase"] != "Healthy" {
        wrong.push(format!(
            "the Rollout is {} ({})",
            rollout["status"]["phase"], rollout["status"]["message"]
        ));
    }
    let hash = &rollout["status"]["stableRS"];
    for service in [&cast.services.stable, &cast.services.canary] {
        let service = object(played, Resource::Services, &cast.rollout.namespace, service);
        if service["spec"]["selector"]["rollouts-pod-template-hash"] != *hash {
            wrong
                .push(format!("Service {} does not lead to the stable version", service["metadata"]["name"]));
        }
    }
    let routes = object(
        played,
        Resource::VirtualServices,
        &cast.virtual_service.namespace,
        &cast.virtual_service.name,
    );
    let marks = routes["metadata"]["annotations"].as_object().into_iter().flatten();
    if marks.clone().any(|(key, _)| key.starts_with("shed.serin.dev/")) {
        wrong.push("a shed mark was left on the VirtualService".to_owned());
    }
    for route in routes["spec"]["http"].as_array().into_iter().flatten() {
        for entry in route["route"].as_array().into_iter().flatten() {
            let host = entry["destination"]["host"].as_str().unwrap_or_default();
            if host.split('.').next() == Some(&cast.services.canary)
                && entry["weight"].as_i64().unwrap_or(0) != 0
            {
                wrong.push(format!("the canary's route still has weight {}", entry["weight"]));
            }
        }
    }
}

/// No share of the traffic ever led to nothing, and at the end all of it is served by the version that stayed.
fn traffic(played: &Played, cast: &Cast, wrong: &mut Vec<String>) {
    let route = Key::new(&cast.virtual_service.namespace, &cast.virtual_service.name);
    let (served, history) = played.door.with(|world| {
        let mesh = &world.actors.mesh;
        (mesh.served(&route), mesh.history(&route).to_vec())
    });
    // Before the first version has pods nobody can be served.
    let first = history
        .iter()
        .position(|(_, shares)| shares.iter().any(|share| share.can_serve && share.share > 0.0));
    let after = history.iter().skip(first.unwrap_or(0));
    for (at, shares) in after {
        if let Some(lost) = shares.iter().find(|share| share.share > 0.0 && !share.can_serve) {
            wrong.push(format!(
                "at {at} {:.1} % of the traffic led to {} where nobody can serve",
                lost.share * 100.0,
                lost.destination
            ));
        }
    }
    if !served.contains_key(tag(&cast.old_image)) || !served.contains_key(tag(&cast.new_image)) {
        wrong.push(format!("not both versions were ever served: {:?}", served.keys().collect::<Vec<_>>()));
    }
}

fn commits(played: &Played, wrong: &mut Vec<String>) -> Vec<engine::Recorded> {
    engine::history(&played.repository).unwrap_or_else(|error| {
        wrong.push(format!("the repository cannot be read: {error}"));
        vec![]
    })
}

fn git_after_good(played: &Played, wrong: &mut Vec<String>) {
    let commits = commits(played, wrong);
    if let Some(commit) = commits.iter().find(|commit| commit.author == BOT) {
        wrong.push(format!("the bot committed although nothing failed: {}", commit.id));
    }
    if commits.len() != 2 {
        wrong.push(format!("the repository has {} commits instead of two", commits.len()));
    }
}

fn git_after_bad(played: &Played, cast: &Cast, wrong: &mut Vec<String>) {
    let commits = commits(played, wrong);
    let by_bot: Vec<_> = commits.iter().filter(|commit| commit.author == BOT).collect();
    let [commit] = by_bot.as_slice() else {
        return wrong.push(format!("the bot made {} commits instead of one", by_bot.len()));
    };
    if commits.first().map(|newest| newest.id) != Some(commit.id) || commits.len() != 3 {
        wrong.push("the bot's commit is not the newest of three".to_owned());
    }
    let subject = commit.message.lines().next().unwrap_or_default();
    let expected = format!("Auto-rollback to {}", cast.versions().0);
    if subject != expected {
        wrong.push(format!("the subject is `{subject}`, not `{expected}`"));
    }
    let changed = |sign: char| {
        commit
            .patch
            .lines()
            .filter(move |line| line.starts_with(sign) && !line.starts_with(&sign.to_string().repeat(3)))
    };
    let (added, removed): (Vec<_>, Vec<_>) = (changed('+').collect(), changed('-').collect());
    let swapped = removed
        .iter()
        .map(|line| line.replacen('-', "+", 1).replace(&cast.new_image, &cast.old_image))
        .collect::<Vec<_>>();
    if added.len() != 1 || removed.len() != 1 || swapped != added {
        wrong.push(format!("the commit changes more than the image:\n{}", commit.patch));
    }
}

/// The controller's first request after the last bad sample takes the canary's traffic away.
fn shed_first(entries: &[Entry], wrong: &mut Vec<String>) {
    let is_bad = |entry: &Entry| entry.kind == Kind::Answer { is_good: false, has_value: true };
    let Some(last) = entries.iter().rposition(is_bad) else {
        return wrong.push("no bad sample was ever given".to_owned());
    };
    let is_the_controllers = |entry: &&Entry| match &entry.kind {
        Kind::Request { actor, verb, .. } => actor == "controller" && *verb != "watch",
        Kind::Answer { .. } => false,
    };
    match entries.iter().skip(last).find(is_the_controllers) {
        Some(Entry {
            kind: Kind::Request { resource, verb: "patch", .. }, canary_weight: Some(0), ..
        }) if resource == "virtualservices" => {}
        Some(other) => wrong.push(format!(
            "after the failing sample the controller first did `{}` (canary at {:?})",
            other.what, other.canary_weight
        )),
        None => wrong.push("after the failing sample the controller did nothing".to_owned()),
    }
}

/// Nothing is made for a version that was there before: the revert starts no canary.
fn one_canary(entries: &[Entry], wrong: &mut Vec<String>) {
    let made = entries.iter().filter(|entry| match &entry.kind {
        Kind::Request { verb, resource, status, .. } => {
            *verb == "create" && resource == "replicasets" && *status == 201
        }
        Kind::Answer { .. } => false,
    });
    let made = made.count();
    if made != 2 {
        wrong.push(format!("{made} ReplicaSets were made instead of two"));
    }
}

/// No version loses pods before its traffic has been gone for the data-plane delay.
fn scaled_down_late(entries: &[Entry], cast: &Cast, played: &Played, wrong: &mut Vec<String>) {
    let mut replicas = std::collections::BTreeMap::<String, i64>::new();
    let mut weight_since: Option<(i64, jiff::Timestamp)> = None;
    for entry in entries {
        if let Some(weight) = entry.canary_weight
            && weight_since.is_none_or(|(known, _)| known != weight)
        {
            weight_since = Some((weight, entry.at));
        }
        let Kind::Request { actor, resource, name, status: 200, body, .. } = &entry.kind else { continue };
        if actor != "controller" || resource != "replicasets" {
            continue;
        }
        let Some(to) = body.pointer("/spec/replicas").and_then(Value::as_i64) else { continue };
        let from = replicas.insert(name.clone(), to).unwrap_or(0);
        let Some((weight, since)) = weight_since else { continue };
        let quiet = entry.at.duration_since(since);
        let delay =
            jiff::SignedDuration::try_from(played.data_plane_delay).unwrap_or(jiff::SignedDuration::MAX);
        if to < from && (weight != 0 || quiet < delay) {
            wrong.push(format!(
                "{name} of {} was scaled from {from} to {to} with the canary at {weight} % for {quiet:#}",
                cast.rollout
            ));
        }
    }
}
