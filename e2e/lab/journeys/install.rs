//! What a user applies: `crds/` and `deploy/`, taken by a real API server.

use std::{fs, path::Path};

use http_body_util::BodyExt as _;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    client::Body,
};
use serde_json::Value;

use crate::{
    Fallible,
    apply::{Applier, documents},
    stack::{SOON, SYSTEM, Stack, yaml_files},
    wait,
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Creates serin's definitions as `kubectl apply` does on the client's side. Answers with the server's warnings.
///
/// # Errors
/// When the server refuses one.
pub(crate) async fn create_definitions(client: &Client, root: &Path) -> Fallible<Vec<String>> {
    let mut warnings = vec![];
    for object in definitions_in(root)? {
        let query = "fieldManager=kubectl-client-side-apply&fieldValidation=Strict";
        let request =
            http::Request::post(format!("{DEFINITIONS}?{query}")).header("content-type", "application/json");
        warnings.extend(sent(client, request, &as_applied(&object)?).await?);
    }
    Ok(warnings)
}

/// Every definition is accepted without a warning: the first time and again, applied on the client's side and on the server's.
pub(crate) async fn definitions(stack: &Stack) -> Fallible {
    let mut warnings = stack.said.clone();
    let all = definitions_in(&stack.settings.root)?;
    for object in &all {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let again = http::Request::patch(format!(
            "{DEFINITIONS}/{name}?fieldManager=kubectl-client-side-apply&fieldValidation=Strict"
        ))
        .header("content-type", "application/merge-patch+json");
        warnings.extend(sent(&stack.admin(), again, &as_applied(object)?).await?);
        let server = http::Request::patch(format!(
            "{DEFINITIONS}/{name}?fieldManager=kubectl&force=true&fieldValidation=Strict"
        ))
        .header("content-type", "application/apply-patch+yaml");
        warnings.extend(sent(&stack.admin(), server, object).await?);
        let live: Value =
            stack.admin().request(http::Request::get(format!("{DEFINITIONS}/{name}")).body(vec![])?).await?;
        let conditions = live.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let holds = |kind: &str| conditions.clone().any(|one| one["type"] == kind && one["status"] == "True");
        if !holds("Established") || !holds("NamesAccepted") || holds("NonStructuralSchema") {
            return Err(format!("{name}: {}", live["status"]).into());
        }
    }
    match (all.len(), warnings.len()) {
        (8, 0) => Ok(()),
        (8, _) => Err(warnings.join("\n").into()),
        (count, _) => Err(format!("crds/ holds {count} definitions, not 8").into()),
    }
}

fn definitions_in(root: &Path) -> Fallible<Vec<Value>> {
    let mut all = vec![];
    for file in yaml_files(&root.join("crds"))? {
        all.extend(documents(&fs::read_to_string(&file)?)?);
    }
    Ok(all)
}

/// With the annotation in which kubectl keeps what was applied last. It is what limits an object's size.
fn as_applied(object: &Value) -> Fallible<Value> {
    let mut applied = object.clone();
    applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
        serde_json::to_string(object)?.into();
    Ok(applied)
}

/// Sends a request and answers with the warnings in the headers of the server's answer.
async fn sent(client: &Client, request: http::request::Builder, body: &Value) -> Fallible<Vec<String>> {
    let answer = client.send(request.body(Body::from(serde_json::to_vec(body)?))?).await?;
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if !answer.status().is_success() {
        let status = answer.status();
        let said = answer.into_body().collect().await?.to_bytes();
        return Err(format!("{name}: {status}: {}", String::from_utf8_lossy(&said)).into());
    }
    let warnings = answer.headers().get_all("warning").iter();
    Ok(warnings.map(|warning| format!("{name}: {warning:?}")).collect())
}

/// Objects of parts that serin does not act on, and of fields that nobody knows yet, come back as they went in, also after serin has
/// looked at them and written their status.
pub(crate) async fn left_alone(stack: &Stack) -> Fallible {
    let namespace = "lab-fields";
    stack.namespace(namespace).await?;
    let mut kubectl = Applier::new(stack.admin(), "kubectl");
    let all = documents(include_str!("../story/foreign.yaml"))?;
    for object in &all {
        kubectl.one(object, namespace).await?;
        unchanged(stack, namespace, object).await?;
    }
    for object in all.iter().filter(|object| has_status(object)) {
        let (version, kind, name) = identity(object);
        wait::until(&format!("serin to look at {kind} {name}"), SOON, async || {
            let live = stack.object(namespace, version, kind, name).await?;
            let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
            let refused = conditions
                .into_iter()
                .flatten()
                .any(|one| one["type"] == "InvalidSpec" && one["status"] == "True");
            let ended = live.pointer("/status/phase") == Some(&"Error".into());
            if refused || ended { Ok(()) } else { Err(live["status"].to_string().into()) }
        })
        .await?;
    }
    for object in &all {
        unchanged(stack, namespace, object).await?;
    }
    Ok(())
}

/// The kinds whose status serin writes.
fn has_status(object: &Value) -> bool {
    ["Rollout", "AnalysisRun"].contains(&identity(object).1)
}

fn identity(object: &Value) -> (&str, &str, &str) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/apiVersion"), text("/kind"), text("/metadata/name"))
}

async fn unchanged(stack: &Stack, namespace: &str, object: &Value) -> Fallible {
    let (version, kind, name) = identity(object);
    let live = if kind.starts_with("Cluster") {
        stack.cluster_object(version, kind, name).await?
    } else {
        stack.object(namespace, version, kind, name).await?
    };
    kept(&format!("{kind} {name}: "), object, &live)
}

/// Everything in `sent` is in `back`. The server may add defaults.
fn kept(place: &str, sent: &Value, back: &Value) -> Fallible {
    match (sent, back) {
        (Value::Object(sent), Value::Object(back)) => sent.iter().try_for_each(|(key, value)| {
            let place = format!("{place}.{key}");
            kept(&place, value, back.get(key).ok_or_else(|| format!("{place} is gone"))?)
        }),
        (Value::Array(sent), Value::Array(back)) if sent.len() == back.len() => {
            sent.iter().zip(back).try_for_each(|(sent, back)| kept(&format!("{place}[]"), sent, back))
        }
        (sent, back) if sent == back => Ok(()),
        (sent, back) => Err(format!("{place} was {sent} and is {back}").into()),
    }
}

/// The Deployments of `deploy/` are valid to the letter, and their pods pass the namespace's restricted pod security.
pub(crate) async fn deployments(stack: &Stack) -> Fallible {
    let deployments: Api<Deployment> = Api::namespaced(stack.admin(), SYSTEM);
    let pods: Api<Pod> = Api::namespaced(stack.admin(), SYSTEM);
    let strict = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("kubectl").force()
    };
    let mut count = 0;
    for file in yaml_files(&stack.settings.root.join("deploy"))? {
        for object in documents(&fs::read_to_string(&file)?)? {
            if object.get("kind") != Some(&"Deployment".into()) {
                continue;
            }
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            deployments
                .patch(name, &strict, &Patch::Apply(&object))
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            let mut pod = object.pointer("/spec/template").cloned().unwrap_or_default();
            pod["metadata"]["name"] = name.into();
            let create = PostParams { dry_run: true, ..PostParams::default() };
            let pod: Pod = serde_json::from_value(pod)?;
            pods.create(&create, &pod).await.map_err(|error| format!("a pod of {name}: {error}"))?;
            count += 1;
        }
    }
    if count == 2 {
        Ok(())
    } else {
        Err(format!("{count} Deployments in deploy/, not one for each of the two roles").into())
    }
}
