//! `Table` output: the columns `kubectl get` prints.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{resource::Resource, structural, text};

/// A cell out of an object, at a time.
type Cell = fn(&Value, Timestamp) -> Value;

/// Name, type, and how to fill it.
type Column = (&'static str, &'static str, Cell);

const AGE: Column =
    ("Age", "string", |object, now| json!(age(text(object, "/metadata/creationTimestamp"), now)));
/// As definitions of custom kinds have it.
const DATE: Column = ("Age", "date", AGE.2);

/// A kind, its columns after the name, and those that only `-o wide` prints.
type Columns = (Resource, &'static [Column], &'static [Column]);

/// Columns after the name, and those that only `-o wide` prints; kinds that are not listed have only their age.
const COLUMNS: &[Columns] = &[
    (
        Resource::VirtualServices,
        &[
            ("Gateways", "string", |it, _| at(it, "/spec/gateways")),
            ("Hosts", "string", |it, _| at(it, "/spec/hosts")),
            DATE,
        ],
        &[],
    ),
    (Resource::DestinationRules, &[("Host", "string", |it, _| at(it, "/spec/host")), DATE], &[]),
    (
        Resource::Pods,
        &[
            ("Ready", "string", |it, _| json!(ready(it))),
            ("Status", "string", |it, _| json!(pod_status(it))),
            ("Restarts", "string", |it, _| {
                json!(count(it, "/status/containerStatuses/0/restartCount").to_string())
            }),
            AGE,
        ],
        &[
            ("IP", "string", |it, _| or_none(text(it, "/status/podIP"))),
            ("Node", "string", |it, _| or_none(text(it, "/spec/nodeName"))),
            ("Nominated Node", "string", |it, _| or_none(text(it, "/status/nominatedNodeName"))),
            ("Readiness Gates", "string", |_, _| json!("<none>")),
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
        WORKLOAD,
    ),
    (
        Resource::Deployments,
        &[
            ("Ready", "string", |it, _| {
                let (ready, wanted) = (count(it, "/status/readyReplicas"), count(it, "/spec/replicas"));
                json!(format!("{ready}/{wanted}"))
            }),
            ("Up-to-date", "string", |it, _| count(it, "/status/updatedReplicas")),
            ("Available", "string", |it, _| count(it, "/status/availableReplicas")),
            AGE,
        ],
        WORKLOAD,
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
        &[("Selector", "string", |it, _| or_none(&pairs(it.pointer("/spec/selector"))))],
    ),
    (
        Resource::ConfigMaps,
        &[("Data", "string", |it, _| json!(entries(it, &["data", "binaryData"]))), AGE],
        &[],
    ),
    (
        Resource::Secrets,
        &[
            ("Type", "string", |it, _| at(it, "/type")),
            ("Data", "string", |it, _| json!(entries(it, &["data"]))),
            AGE,
        ],
        &[],
    ),
    (Resource::Namespaces, &[("Status", "string", |it, _| at(it, "/status/phase")), AGE], &[]),
    (Resource::Leases, &[("Holder", "string", |it, _| json!(text(it, "/spec/holderIdentity"))), AGE], &[]),
];

const WORKLOAD: &[Column] = &[
    ("Containers", "string", |it, _| json!(containers(it, "name"))),
    ("Images", "string", |it, _| json!(containers(it, "image"))),
    ("Selector", "string", |it, _| or_none(&pairs(it.pointer("/spec/selector/matchLabels")))),
];

/// Events are told apart by what they are about, so that their name comes last. The flag is true for `-o wide`.
const EVENT: &[(Column, bool)] = &[
    (("Last Seen", "string", |it, now| json!(age(text(it, "/lastTimestamp"), now))), false),
    (("Type", "string", |it, _| json!(text(it, "/type"))), false),
    (("Reason", "string", |it, _| json!(text(it, "/reason"))), false),
    (
        ("Object", "string", |it, _| {
            let kind = text(it, "/involvedObject/kind").to_lowercase();
            json!(format!("{kind}/{}", text(it, "/involvedObject/name")))
        }),
        false,
    ),
    (("Subobject", "string", |it, _| json!(text(it, "/involvedObject/fieldPath"))), true),
    (("Source", "string", |it, _| json!(text(it, "/source/component"))), true),
    (("Message", "string", |it, _| json!(text(it, "/message").trim())), false),
    (("First Seen", "string", |it, now| json!(age(text(it, "/firstTimestamp"), now))), true),
    (("Count", "string", |it, _| json!(count(it, "/count").as_i64().unwrap_or(1).max(1))), true),
    (("Name", "string", |it, _| json!(text(it, "/metadata/name"))), true),
];

/// How a cell is filled, as a closure.
type Filled = dyn Fn(&Value, Timestamp) -> Value;

/// A column as the answer has it.
struct Shown {
    name: String,
    kind: String,
    format: &'static str,
    priority: i64,
    cell: Box<Filled>,
}

fn shown(column: &Column, is_wide: bool) -> Shown {
    let (name, kind, cell) = *column;
    let format = if name == "Name" { "name" } else { "" };
    Shown { name: name.into(), kind: kind.into(), format, priority: i64::from(is_wide), cell: Box::new(cell) }
}

fn columns(resource: Resource) -> Vec<Shown> {
    if resource == Resource::Events {
        return EVENT.iter().map(|(column, is_wide)| shown(column, *is_wide)).collect();
    }
    let name: Column = ("Name", "string", |it, _| json!(text(it, "/metadata/name")));
    let mut all = vec![shown(&name, false)];
    if let Some(defined) = structural::columns(resource) {
        all.extend(defined.iter().map(|column| {
            let (pointer, is_date) = (column.pointer.clone(), column.kind == "date");
            let cell = move |it: &Value, now| {
                if is_date { json!(age(text(it, &pointer), now)) } else { at(it, &pointer) }
            };
            let (name, kind) = (column.name.clone(), column.kind.clone());
            Shown { name, kind, format: "", priority: column.priority, cell: Box::new(cell) }
        }));
        if defined.is_empty() {
            all.push(shown(&DATE, false));
        }
        return all;
    }
    let usual: &[Column] = if resource.definition().custom { &[DATE] } else { &[AGE] };
    let (narrow, wide) = COLUMNS
        .iter()
        .find(|(kind, ..)| *kind == resource)
        .map_or((usual, &[][..]), |(_, narrow, wide)| (*narrow, *wide));
    all.extend(narrow.iter().map(|column| shown(column, false)));
    all.extend(wide.iter().map(|column| shown(column, true)));
    all
}

/// The Table of an object or a list, as a client sees it that asked for one. `includeObject` is the query's.
pub fn table(resource: Resource, body: &Value, include_object: &str, now: Timestamp) -> Value {
    let columns = columns(resource);
    let row = |item: &Value| row(resource, &columns, item, include_object, now);
    let rows: Vec<Value> = match body.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().map(row).collect(),
        None => vec![row(body)],
    };
    let mut metadata = json!({});
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = body.pointer(&format!("/metadata/{field}")).filter(|value| **value != json!(""))
        {
            metadata[field] = value.clone();
        }
    }
    let definition = |column: &Shown| {
        json!({"name": column.name, "type": column.kind, "format": column.format, "description": "",
            "priority": column.priority})
    };
    let definitions: Vec<Value> = columns.iter().map(definition).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
        "rows": rows})
}

fn row(resource: Resource, columns: &[Shown], object: &Value, include_object: &str, now: Timestamp) -> Value {
    let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object, now)).collect();
    let shown = match include_object {
        "None" => Value::Null,
        "Object" => {
            let mut object = object.clone();
            // In lists these are left out.
            let definition = resource.definition();
            for (field, value) in
                [("apiVersion", definition.stored_version()), ("kind", definition.kind.to_owned())]
            {
                if object.get(field).is_none() {
                    object[field] = json!(value);
                }
            }
            object
        }
        _ => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
        }
    };
    json!({"cells": cells, "object": shown})
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn pairs(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

fn containers(workload: &Value, field: &str) -> String {
    let all = workload.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let all = all.into_iter().flatten().filter_map(|container| container.get(field)?.as_str());
    all.collect::<Vec<_>>().join(",")
}

fn entries(object: &Value, fields: &[&str]) -> usize {
    fields.iter().filter_map(|field| object.get(*field)?.as_object()).map(serde_json::Map::len).sum()
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
