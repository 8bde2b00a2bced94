//! What a user applies: `crds/` and `deploy/`, taken by a real API server.

use std::fs;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    client::Body,
};
use serde_json::{Value, json};

use crate::{
    Fallible,
    apply::{Applier, documents},
    stack::{SYSTEM, Stack, yaml_files},
};

/// Every CRD is accepted without a warning.
pub(crate) async fn definitions(stack: &Stack) -> Fallible {
    let mut count = 0;
    for file in yaml_files(&stack.settings.root.join("crds"))? {
        for object in documents(&fs::read_to_string(&file)?)? {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let path = format!(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager=kubectl&force=true&fieldValidation=Strict"
            );
            let request = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
            let answer = stack.admin().send(request.body(Body::from(serde_json::to_vec(&object)?))?).await?;
            let warnings: Vec<_> = answer.headers().get_all("warning").iter().collect();
            if !answer.status().is_success() || !warnings.is_empty() {
                return Err(format!("{name}: {} {warnings:?}", answer.status()).into());
            }
            count += 1;
        }
    }
    if count == 0 { Err("crds/ holds no definition".into()) } else { Ok(()) }
}

/// A Rollout of parts that serin does not act on, and of fields that nobody knows yet, comes back as it went in.
pub(crate) async fn foreign_fields(stack: &Stack) -> Fallible {
    let namespace = "lab-fields";
    stack.namespace(namespace).await?;
    let spec = json!({
        "replicas": 1,
        "selector": {"matchLabels": {"app": "foreign"}},
        "template": {"metadata": {"labels": {"app": "foreign"}}, "spec": {
            "containers": [{"name": "main", "image": "registry.lab/foreign:v1", "fieldOfTomorrow": {"deep": [1, "two"]}}],
            "anotherFieldOfTomorrow": true}},
        "strategy": {
            "blueGreen": {"activeService": "active", "previewService": "preview", "autoPromotionEnabled": false,
                "fieldOfTomorrow": "kept"},
            "canary": {"trafficRouting": {
                "nginx": {"stableIngress": "shop", "additionalIngressAnnotations": {"canary-by-header": "X-Canary"}},
                "alb": {"ingress": "shop", "servicePort": 443}, "smi": {"trafficSplitName": "shop"},
                "plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "shop"}}, "fieldOfTomorrow": {"kept": 1.5}},
                "steps": [{"setWeight": 5}, {"fieldOfTomorrow": {}}]},
        },
        "fieldOfTomorrow": [{"a": 1}, {"b": 2}],
    });
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "foreign", "labels": {"argo-rollouts.argoproj.io/controller-instance-id": "not-ours"}}, "spec": spec});
    Applier::new(stack.admin(), "kubectl").one(&object, namespace).await?;
    let back = stack.object(namespace, "argoproj.io/v1alpha1", "Rollout", "foreign").await?;
    kept("spec", &spec, back.get("spec").unwrap_or(&Value::Null))
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
