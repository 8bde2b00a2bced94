//! The cluster at rest: objects and traffic.

use jiff::SignedDuration;

use super::{Ending, Wrong, case::Case};

/// How much time requests may be lost to pods that crash: until the mesh has followed the request that takes the
/// traffic away.
const CRASHES_COST: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn rest(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    let rollout = case.rollout();
    let found = &rollout["spec"]["template"]["spec"]["containers"][0]["image"];
    if found != ending.asked.image(case) {
        wrong.add(format!("the Rollout asks for {found}, not for {}", ending.asked.image(case)));
    }
    let status = &rollout["status"];
    if status["phase"] != ending.phase {
        wrong
            .add(format!("the Rollout is {} ({}), not {}", status["phase"], status["message"], ending.phase));
    }
    stable(case, ending, wrong);
    routes(case, wrong);
}

/// The version that stays is stable, alone in having pods, and both Services lead to it.
fn stable(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    let namespace = &case.names.rollout.namespace;
    let hash = &case.rollout()["status"]["stableRS"];
    for set in case.all("ReplicaSet").filter(|set| set["metadata"]["namespace"] == namespace.as_str()) {
        let is_stable = set["metadata"]["labels"]["rollouts-pod-template-hash"] == *hash;
        let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
        let (name, pods) = (&set["metadata"]["name"], set["spec"]["replicas"].as_i64().unwrap_or(0));
        if is_stable && image != ending.serves.image(case) {
            wrong.add(format!("{image} is stable, not {}", ending.serves.image(case)));
        }
        if is_stable == (pods == 0) {
            wrong.add(format!("{name} of {image} was left with {pods} pods"));
        }
    }
    for service in [&case.names.stable_service, &case.names.canary_service] {
        let selector = &case.one("Service", namespace, service)["spec"]["selector"];
        if selector["rollouts-pod-template-hash"] != *hash {
            wrong.add(format!("Service {service} does not lead to the stable version"));
        }
    }
}

fn routes(case: &Case, wrong: &mut Wrong) {
    let key = &case.names.virtual_service;
    let routes = case.one("VirtualService", &key.namespace, &key.name);
    let mut marks = routes["metadata"]["annotations"].as_object().into_iter().flatten();
    if marks.any(|(key, _)| key.starts_with("shed.serin.dev/")) {
        wrong.add("a shed mark was left on the VirtualService");
    }
    for route in routes["spec"]["http"].as_array().into_iter().flatten() {
        for entry in route["route"].as_array().into_iter().flatten() {
            let host = entry["destination"]["host"].as_str().unwrap_or_default();
            let is_canary = host.split('.').next() == Some(&case.names.canary_service);
            if is_canary && entry["weight"].as_i64().unwrap_or(0) != 0 {
                wrong.add(format!("the canary's route still has weight {}", entry["weight"]));
            }
        }
    }
}

/// No share of the traffic ever led to nothing, and at the end all of it is served by the version that stayed.
pub(super) fn traffic(case: &Case, ending: &Ending, wrong: &mut Wrong) {
    let traffic = &case.traffic;
    let total: SignedDuration = traffic.lost.iter().map(|lost| lost.lasted).sum();
    let permitted = match (traffic.lost.first(), traffic.lost.last()) {
        (Some(first), Some(last)) if ending.may_lose => {
            CRASHES_COST + case.nobody_there(first.from, last.from + last.lasted)
        }
        _ => SignedDuration::ZERO,
    };
    if total > permitted || (permitted.is_zero() && !traffic.lost.is_empty()) {
        wrong.0.extend(traffic.lost.iter().map(|lost| {
            let share = lost.share * 100.0;
            let (from, lasted, to) = (lost.from, lost.lasted, &lost.destination);
            format!(
                "from {from} for {lasted:#} {share:.1} % of the traffic led to {to}, where nobody can serve"
            )
        }));
    }
    for version in ending.pushed.iter().chain([&super::Version::Old]).map(|version| version.tag(case)) {
        if !traffic.served.contains_key(version) {
            wrong.add(format!("{version} never served anybody"));
        }
    }
    let serves = ending.serves.tag(case);
    if !traffic.last.iter().all(|version| version == serves) || traffic.last.is_empty() {
        wrong.add(format!("at the end {:?} serve, not {serves} alone", traffic.last));
    }
}
