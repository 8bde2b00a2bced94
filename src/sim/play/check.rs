//! Whether a reader's manifests can play: what a story would wait for in vain is said before it begins.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    api::rollout::Parsed,
    decide::{observed::Traffic, spec::Step},
    domain::Key,
};

/// A name as the API server takes it: at most 253 small letters, digits, `-` and `.`.
fn is_name(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let has_edges = |c: char| c.is_ascii_alphanumeric();
    (1..=253).contains(&text.len())
        && text.chars().all(is_fine)
        && text.starts_with(has_edges)
        && text.ends_with(has_edges)
}

/// Where and under which name the Rollout is to be made.
///
/// # Errors
/// What is wrong with it.
pub(super) fn identity(rollout: &Value) -> Result<(), String> {
    let version = rollout["apiVersion"].as_str().unwrap_or_default();
    let metadata = &rollout["metadata"];
    for (field, value) in [("name", Some(&metadata["name"])), ("namespace", metadata.get("namespace"))] {
        let text = value.map(|value| value.as_str().unwrap_or_default());
        if text.is_some_and(|text| !is_name(text)) {
            let found = value.unwrap_or(&Value::Null);
            return Err(format!("metadata.{field}: {found} is not a name that Kubernetes takes"));
        }
    }
    if !version.starts_with("argoproj.io/") {
        return Err(format!("apiVersion: `{version}` is not argoproj.io/v1alpha1"));
    }
    Ok(())
}

/// That everything which the Rollout names is there, and that nobody has to come by for it to go on.
///
/// # Errors
/// What is missing, and what to do about it.
pub(super) fn playable(
    objects: &[Value],
    parsed: &Parsed,
    traffic: &Traffic,
    wants_analysis: bool,
) -> Result<(), String> {
    let spec = parsed.rollout.spec.as_ref().map_err(ToString::to_string)?;
    if spec.replicas == 0 {
        return Err("spec.replicas: 0 pods serve nobody; the demo needs at least one".to_owned());
    }
    if let Some(index) = spec.steps.iter().position(|step| matches!(step, Step::Pause { duration: None, .. }))
    {
        return Err(format!(
            "spec.strategy.canary.steps[{index}].pause has no duration, and in the demo nobody is there to promote: \
             give it one"
        ));
    }
    let namespace = &parsed.rollout.key.namespace;
    routes(objects, traffic, namespace)?;
    let canary = &parsed.object["spec"]["strategy"]["canary"];
    let named = templates(canary);
    if wants_analysis && named.is_empty() {
        return Err("it names no AnalysisTemplate, so nobody would notice a bad version".to_owned());
    }
    named.iter().try_for_each(|reference| template(objects, reference, namespace))
}

/// The object of this kind and name; without a namespace of its own it is in `home`.
fn find<'a>(
    objects: &'a [Value],
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    home: &str,
) -> Option<&'a Value> {
    objects.iter().find(|object| {
        let metadata = &object["metadata"];
        let is_there =
            namespace.is_none_or(|wanted| metadata["namespace"].as_str().unwrap_or(home) == wanted);
        object["kind"] == kind && metadata["name"] == name && is_there
    })
}

fn routes(objects: &[Value], traffic: &Traffic, home: &str) -> Result<(), String> {
    let Key { namespace, name } = &traffic.virtual_service;
    let service = find(objects, "VirtualService", Some(namespace), name, home);
    let service =
        service.ok_or_else(|| format!("its VirtualService {namespace}/{name} is not among the manifests"))?;
    let http = service["spec"]["http"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_there = |route: &&String| !http.iter().any(|entry| entry["name"] == route.as_str());
    match traffic.routes.iter().find(is_there) {
        Some(route) => {
            Err(format!("its VirtualService {namespace}/{name} has no http route named `{route}`"))
        }
        None if http.is_empty() => Err(format!("its VirtualService {namespace}/{name} has no http routes")),
        None => Ok(()),
    }
}

/// Every reference to a template: those beside the steps and those in them.
fn templates(canary: &Value) -> Vec<&Value> {
    let steps = canary["steps"].as_array().into_iter().flatten();
    let analyses = std::iter::once(&canary["analysis"]).chain(steps.map(|step| &step["analysis"]));
    analyses.filter_map(|analysis| analysis["templates"].as_array()).flatten().collect()
}

fn template(objects: &[Value], reference: &Value, home: &str) -> Result<(), String> {
    let name = reference["templateName"].as_str().unwrap_or_default();
    let (kind, namespace) = match reference["clusterScope"].as_bool() {
        Some(true) => ("ClusterAnalysisTemplate", None),
        Some(false) | None => ("AnalysisTemplate", Some(home)),
    };
    let found = find(objects, kind, namespace, name, home);
    let template = found.ok_or_else(|| format!("its {kind} {name} is not among the manifests"))?;
    for metric in template["spec"]["metrics"].as_array().into_iter().flatten() {
        if metric["provider"]["prometheus"].is_null() {
            let metric = metric["name"].as_str().unwrap_or_default();
            return Err(format!(
                "metric {metric} of its {kind} {name} is not one of Prometheus; the demo has nothing else to ask"
            ));
        }
    }
    Ok(())
}

/// Where the templates among these objects ask: all of it is the demo's own Prometheus.
pub(super) fn addresses(objects: &[Value]) -> BTreeSet<String> {
    let is_template = |object: &&Value| {
        ["AnalysisTemplate", "ClusterAnalysisTemplate"].iter().any(|kind| object["kind"] == *kind)
    };
    let metrics =
        objects.iter().filter(is_template).filter_map(|object| object["spec"]["metrics"].as_array());
    let addresses =
        metrics.flatten().filter_map(|metric| metric["provider"]["prometheus"]["address"].as_str());
    addresses.filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

/// How long the steps pause in all.
pub(super) fn pauses(steps: &[Step]) -> Duration {
    let pauses = steps.iter().map(|step| match step {
        Step::Pause { duration, .. } => duration.unwrap_or_default(),
        Step::SetWeight(_) | Step::Analysis => Duration::ZERO,
    });
    pauses.fold(Duration::ZERO, Duration::saturating_add)
}
