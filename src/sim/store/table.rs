//! `Table` output: the columns `kubectl get` prints.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{resource::Resource, text};

/// A cell out of an object, at a time.
type Cell = fn(&Value, Timestamp) -> Value;

/// Name, description's type, and how to fill it.
type Column = (&'static str, &'static str, Cell);

const AGE: Column =
    ("Age", "string", |object, now| json!(age(text(object, "/metadata/creationTimestamp"), now)));

/// Columns after the name; kinds that are not listed have only their age.
const COLUMNS: &[(Resource, &[Column])] = &[
    (
        Resource::Rollouts,
        &[
            ("Desired", "integer", |it, _| at(it, "/spec/replicas")),
            ("Current", "integer", |it, _| at(it, "/status/replicas")),
            ("Up-to-date", "integer", |it, _| at(it, "/status/updatedReplicas")),
            ("Available", "integer", |it, _| at(it, "/status/availableReplicas")),
            AGE,
        ],
    ),
    (Resource::AnalysisRuns, &[("Status", "string", |it, _| at(it, "/status/phase")), AGE]),
    (Resource::Experiments, &[("Status", "string", |it, _| at(it, "/status/phase")), AGE]),
    (
        Resource::SelfHeals,
        &[
            ("Phase", "string", |it, _| at(it, "/status/phase")),
            ("Reason", "string", |it, _| at(it, "/status/reason")),
            ("Commit", "string", |it, _| at(it, "/status/commit")),
            AGE,
        ],
    ),
    (Resource::SelfHealPolicies, &[("Mode", "string", |it, _| at(it, "/spec/mode")), AGE]),
    (
        Resource::VirtualServices,
        &[
            ("Gateways", "string", |it, _| at(it, "/spec/gateways")),
            ("Hosts", "string", |it, _| at(it, "/spec/hosts")),
            AGE,
        ],
    ),
    (Resource::DestinationRules, &[("Host", "string", |it, _| at(it, "/spec/host")), AGE]),
    (
        Resource::Pods,
        &[
            ("Ready", "string", |it, _| json!(ready(it))),
            ("Status", "string", |it, _| json!(pod_status(it))),
            ("Restarts", "string", |it, _| count(it, "/status/containerStatuses/0/restartCount")),
            AGE,
        ],
    ),
    (
        Resource::ReplicaSets,
        &[
            ("Desired", "integer", |it, _| count(it, "/spec/replicas")),
            ("Current", "integer", |it, _| count(it, "/status/replicas")),
            ("Ready", "integer", |it, _| count(it, "/status/readyReplicas")),
            AGE,
        ],
    ),
    (
        Resource::Deployments,
        &[
            ("Ready", "string", |it, _| {
                let (ready, wanted) = (count(it, "/status/readyReplicas"), count(it, "/spec/replicas"));
                json!(format!("{ready}/{wanted}"))
            }),
            ("Up-to-date", "integer", |it, _| count(it, "/status/updatedReplicas")),
            ("Available", "integer", |it, _| count(it, "/status/availableReplicas")),
            AGE,
        ],
    ),
    (
        Resource::Services,
        &[
            ("Type", "string", |it, _| at(it, "/spec/type")),
            ("Cluster-IP", "string", |it, _| at(it, "/spec/clusterIP")),
            ("External-IP", "string", |_, _| json!("<none>")),
            ("Port(s)", "string", |it, _| json!(ports(it))),
            AGE,
        ],
    ),
    (
        Resource::Events,
        &[
            ("Last Seen", "string", |it, now| json!(age(text(it, "/lastTimestamp"), now))),
            ("Type", "string", |it, _| at(it, "/type")),
            ("Reason", "string", |it, _| at(it, "/reason")),
            ("Object", "string", |it, _| {
                let kind = text(it, "/involvedObject/kind").to_lowercase();
                json!(format!("{kind}/{}", text(it, "/involvedObject/name")))
            }),
            ("Message", "string", |it, _| at(it, "/message")),
        ],
    ),
    (Resource::Namespaces, &[("Status", "string", |it, _| at(it, "/status/phase")), AGE]),
    (Resource::Leases, &[("Holder", "string", |it, _| at(it, "/spec/holderIdentity")), AGE]),
];

/// The Table of an object or a list, as a client sees it that asked for one. `includeObject` is the query's.
pub fn table(resource: Resource, body: &Value, include_object: &str, now: Timestamp) -> Value {
    let columns =
        COLUMNS.iter().find(|(kind, _)| *kind == resource).map_or(&[AGE][..], |(_, columns)| columns);
    // Events are told apart by what they are about.
    let named = resource != Resource::Events;
    let rows: Vec<Value> = match body.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().map(|item| row(columns, named, item, include_object, now)).collect(),
        None => vec![row(columns, named, body, include_object, now)],
    };
    let mut metadata = json!({});
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = body.pointer(&format!("/metadata/{field}")) {
            metadata[field] = value.clone();
        }
    }
    let definition = |(name, kind, _): &Column| json!({"name": name, "type": kind, "format": "", "description": "", "priority": 0});
    let name = json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0});
    let definitions: Vec<Value> =
        named.then_some(name).into_iter().chain(columns.iter().map(definition)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
        "rows": rows})
}

fn row(columns: &[Column], named: bool, object: &Value, include_object: &str, now: Timestamp) -> Value {
    let name = named.then(|| json!(text(object, "/metadata/name")));
    let cells: Vec<Value> =
        name.into_iter().chain(columns.iter().map(|(.., cell)| cell(object, now))).collect();
    let shown = match include_object {
        "None" => Value::Null,
        "Object" => object.clone(),
        _ => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
        }
    };
    json!({"cells": cells, "object": shown})
}

fn at(object: &Value, pointer: &str) -> Value {
    match object.pointer(pointer) {
        Some(list @ Value::Array(_)) => json!(list.to_string()),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

fn count(object: &Value, pointer: &str) -> Value {
    json!(object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0))
}

fn ready(pod: &Value) -> String {
    let all = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let wanted = pod.pointer("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    let ready = all.into_iter().flatten().filter(|one| one.get("ready") == Some(&json!(true))).count();
    format!("{ready}/{wanted}")
}

fn pod_status(pod: &Value) -> Cow<'_, str> {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".into();
    }
    match text(pod, "/status/containerStatuses/0/state/waiting/reason") {
        "" => text(pod, "/status/phase").into(),
        reason => reason.into(),
    }
}

fn ports(service: &Value) -> String {
    let all = service.pointer("/spec/ports").and_then(Value::as_array);
    let one = |port: &Value| format!("{}/{}", count(port, "/port"), text(port, "/protocol"));
    all.into_iter().flatten().map(one).collect::<Vec<_>>().join(",")
}

/// Seconds below 2 minutes, then minutes, hours and days, as kubectl shortens them.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".into() };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_prints_the_columns_of_its_definition() {
        let now = "2026-01-01T00:02:30Z".parse().unwrap();
        let list = json!({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "cart",
            "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"replicas": 4}, "status": {"replicas": 5}}]});
        let table = table(Resource::Rollouts, &list, "", now);
        assert_eq!(table["rows"][0]["cells"], json!(["cart", 4, 5, null, null, "2m30s"]));
        let names: Vec<_> =
            table["columnDefinitions"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["Name", "Desired", "Current", "Up-to-date", "Available", "Age"]);
    }

    #[test]
    fn ages_are_shortened_as_kubectl_does() {
        let now = "2026-01-20T00:00:00Z".parse().unwrap();
        for (since, expected) in [
            ("2026-01-19T23:58:01Z", "119s"),
            ("2026-01-19T23:55:00Z", "5m"),
            ("2026-01-19T22:00:00Z", "120m"),
            ("2026-01-19T20:30:00Z", "3h30m"),
            ("2026-01-17T00:00:00Z", "3d"),
            ("2026-01-01T00:00:00Z", "19d"),
            ("", "<unknown>"),
        ] {
            assert_eq!(age(since, now), expected, "{since}");
        }
    }
}
