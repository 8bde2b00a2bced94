//! Plays a case on both servers and tells what differs.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use json_patch::merge;
use serde_json::{Value, json};

use crate::{
    Fallible,
    normal::Seen,
    script::{Case, Step},
    side::{Answer, Side, Sides},
};

/// What came of a case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// For a person to read; none where both answered the same.
    pub(crate) differences: Vec<String>,
    pub(crate) requests: usize,
    pub(crate) events: usize,
}

/// One side's answers, as they were and without what is its own.
struct Played {
    raw: Vec<Answer>,
    normal: Vec<Answer>,
    /// By plural, what a watch of the whole case was told.
    events: Vec<(String, Answer)>,
}

/// The last object of each kind, after which nothing is awaited.
const LAST: &str = "zz-last";

static NAMESPACES: AtomicUsize = AtomicUsize::new(0);

/// Plays a case on both servers.
pub(crate) async fn play(sides: &Sides, case: &Case) -> Outcome {
    // Names are as long on both sides.
    let namespace = format!("case-{:05}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
    let (embedded, real) =
        tokio::join!(play_on(&sides.embedded, case, &namespace), play_on(&sides.real, case, &namespace));
    match (embedded, real) {
        (Ok(embedded), Ok(real)) => judge(case, &embedded, &real),
        (embedded, real) => {
            let errors = [embedded.err(), real.err()].into_iter().flatten().map(|error| error.to_string());
            Outcome { differences: errors.collect(), ..Outcome::default() }
        }
    }
}

async fn play_on(side: &Side, case: &Case, namespace: &str) -> Fallible<Played> {
    let step = |verb: &str, path: &str, body: String| Step {
        verb: verb.into(),
        path: path.into(),
        body,
        any_text: false,
    };
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let made = side.send(&step("POST", "/api/v1/namespaces", object.to_string()), namespace).await?;
    let begin = made.body.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let begin = begin.ok_or_else(|| format!("{}: no namespace: {}", side.name, made.body))?.to_owned();
    let mut seen = Seen::default();
    let mut played = Played { raw: vec![], normal: vec![], events: vec![] };
    for step in &case.steps {
        let step = filled(step, &played.raw, &begin);
        let answer = match step.verb.as_str() {
            "WATCH" => side.watch(&step.path, namespace, "").await?,
            _ => side.send(&step, namespace).await?,
        };
        let mut body = seen.normal(chosen(&step, answer.body.clone()));
        if step.any_text && body.get("message").is_some() {
            body["message"] = json!("<any text>");
            body["details"] = json!("<any text>");
        }
        let normal = Answer { status: answer.status, body };
        played.raw.push(answer);
        played.normal.push(normal);
    }
    if case.refused.is_some() {
        return Ok(played);
    }
    for plural in touched(case) {
        let Some(last) = last_of(plural) else { continue };
        side.send(&step("POST", plural, last.to_string()), namespace).await?;
        let path = format!("{plural}?watch=1&timeoutSeconds=15&resourceVersion={begin}");
        let told = side.watch(&path, namespace, LAST).await?;
        let events = Answer { status: told.status, body: seen.normal(told.body) };
        played.events.push((plural.to_owned(), events));
    }
    Ok(played)
}

/// The plurals that a case may have written to.
fn touched(case: &Case) -> BTreeSet<&str> {
    let short = case.steps.iter().filter(|step| !step.path.starts_with('/') && step.verb != "WATCH");
    short.map(|step| step.path.split(['/', '?', '@']).next().unwrap_or_default()).collect()
}

fn last_of(plural: &str) -> Option<Value> {
    let metadata = json!({"name": LAST});
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let workload = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let of = |version: &str, kind: &str, spec: Value| {
        Some(json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}))
    };
    match plural {
        "configmaps" => of("v1", "ConfigMap", Value::Null),
        "secrets" => of("v1", "Secret", Value::Null),
        "leases" => of("coordination.k8s.io/v1", "Lease", json!({})),
        "services" => of("v1", "Service", json!({"ports": [{"port": 1}]})),
        "replicasets" => of("apps/v1", "ReplicaSet", workload),
        "deployments" => of("apps/v1", "Deployment", workload),
        "pods" => of("v1", "Pod", json!({"containers": [{"name": "c", "image": "i"}]})),
        "virtualservices" => of("networking.istio.io/v1", "VirtualService", json!({})),
        "destinationrules" => of("networking.istio.io/v1", "DestinationRule", json!({"host": "a"})),
        "rollouts" => of("argoproj.io/v1alpha1", "Rollout", json!({})),
        "analysisruns" => of("argoproj.io/v1alpha1", "AnalysisRun", json!({"metrics": []})),
        "rolloutrecords" => of("serin.dev/v1alpha1", "RolloutRecord", json!({})),
        _ => None,
    }
}

/// What of a body is compared: all of it, but for discovery only what both can serve.
fn chosen(step: &Step, mut body: Value) -> Value {
    let names = |items: &mut Vec<Value>, known: &dyn Fn(&str) -> bool, field: &str| {
        items.retain(|item| item.get(field).and_then(Value::as_str).is_some_and(known));
    };
    let known_group = |name: &str| GROUPS_SERVED.contains(&name);
    let known_resource = |name: &str| {
        let (plural, part) = name.split_once('/').unwrap_or((name, ""));
        RESOURCES_SERVED.contains(&plural) && ["", "status", "scale", "eviction"].contains(&part)
    };
    if let Some(groups) = body.get_mut("groups").and_then(Value::as_array_mut) {
        names(groups, &known_group, "name");
        groups.sort_by_key(|group| group["name"].to_string());
    }
    if let Some(resources) = body.get_mut("resources").and_then(Value::as_array_mut) {
        names(resources, &known_resource, "name");
        resources.sort_by_key(|resource| resource["name"].to_string());
    }
    if step.verb == "AGGREGATED"
        && let Some(items) = body.get_mut("items").and_then(Value::as_array_mut)
    {
        items.retain(|item| item.pointer("/metadata/name").and_then(Value::as_str).is_none_or(known_group));
        items.sort_by_key(|item| item["metadata"]["name"].to_string());
        for version in items.iter_mut().filter_map(|item| item.get_mut("versions")?.as_array_mut()).flatten()
        {
            if let Some(resources) = version.get_mut("resources").and_then(Value::as_array_mut) {
                names(resources, &known_resource, "resource");
                resources.sort_by_key(|resource| resource["resource"].to_string());
                for resource in resources.iter_mut() {
                    if let Some(parts) = resource.get_mut("subresources").and_then(Value::as_array_mut) {
                        names(parts, &|part| ["status", "scale", "eviction"].contains(&part), "subresource");
                    }
                    let none =
                        resource.get("subresources").and_then(Value::as_array).is_some_and(Vec::is_empty);
                    if let Some(fields) = resource.as_object_mut().filter(|_| none) {
                        fields.remove("subresources");
                    }
                }
            }
        }
    }
    body
}

const GROUPS_SERVED: &[&str] = &[
    "apps",
    "argoproj.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "networking.istio.io",
    "serin.dev",
    "apiextensions.k8s.io",
];

const RESOURCES_SERVED: &[&str] = &[
    "namespaces",
    "nodes",
    "pods",
    "services",
    "endpoints",
    "events",
    "secrets",
    "configmaps",
    "serviceaccounts",
    "deployments",
    "replicasets",
    "endpointslices",
    "leases",
    "virtualservices",
    "destinationrules",
    "rollouts",
    "analysisruns",
    "analysistemplates",
    "clusteranalysistemplates",
    "experiments",
    "rolloutrecords",
    "selfhealpolicies",
    "selfheals",
    "customresourcedefinitions",
];

/// Puts parts of earlier answers where the step asks for them.
fn filled(step: &Step, answers: &[Answer], begin: &str) -> Step {
    let fill = |text: &str| {
        let mut text = text.replace("{{begin}}", begin);
        while let Some((before, rest)) = text.split_once("{{") {
            let Some((place, after)) = rest.split_once("}}") else { break };
            let (number, pointer) = place.split_at(place.find('/').unwrap_or(place.len()));
            let answer = number.parse::<usize>().ok().and_then(|number| answers.get(number.checked_sub(1)?));
            let value = answer.and_then(|answer| answer.body.pointer(pointer));
            let value = match value {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => "null".into(),
            };
            text = format!("{before}{value}{after}");
        }
        text
    };
    let mut body = fill(&step.body);
    if let Some((object, change)) = body.split_once(" + ")
        && let (Ok(mut object), Ok(change)) = (serde_json::from_str(object), serde_json::from_str(change))
    {
        merge(&mut object, &change);
        body = object.to_string();
    }
    Step { path: fill(&step.path), body, ..step.clone() }
}

fn judge(case: &Case, embedded: &Played, real: &Played) -> Outcome {
    let mut outcome = Outcome { requests: case.steps.len(), ..Outcome::default() };
    for (at, step) in case.steps.iter().enumerate() {
        let (Some(ours), Some(theirs)) = (embedded.normal.get(at), real.normal.get(at)) else { continue };
        if case.refused.is_some() && at + 1 == case.steps.len() {
            if (200..400).contains(&ours.status) {
                outcome
                    .differences
                    .push(format!("  {} {}: the embedded server does not refuse it", step.verb, step.path));
            }
            continue;
        }
        let found = differences(ours, theirs);
        if !found.is_empty() {
            outcome.differences.push(format!(
                "  request {}: {} {}\n{}",
                at + 1,
                step.verb,
                step.path,
                found.join("\n")
            ));
        }
    }
    for ((plural, ours), (_, theirs)) in embedded.events.iter().zip(&real.events) {
        outcome.events += ours.body.as_array().map_or(0, Vec::len);
        let found = differences(ours, theirs);
        if !found.is_empty() {
            outcome.differences.push(format!("  events of {plural}:\n{}", found.join("\n")));
        }
    }
    outcome
}

fn differences(ours: &Answer, theirs: &Answer) -> Vec<String> {
    let mut found = vec![];
    if ours.status != theirs.status {
        found.push(format!("    status\n      embedded {}\n      real     {}", ours.status, theirs.status));
    }
    differ(Some(&ours.body), Some(&theirs.body), "", &mut found);
    found
}

fn differ(ours: Option<&Value>, theirs: Option<&Value>, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                differ(a.get(name), b.get(name), &format!("{path}/{name}"), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                differ(a.get(at), b.get(at), &format!("{path}/{at}"), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let shown = |value: Option<&Value>| value.map_or("absent".into(), Value::to_string);
            found.push(format!("    {path}\n      embedded {}\n      real     {}", shown(a), shown(b)));
        }
    }
}
