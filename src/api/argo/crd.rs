//! The CRDs of the Argo kinds: generated from the types, then loosened so that nothing is ever lost or refused that the
//! upstream CRDs keep and accept.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{AnalysisRun, AnalysisTemplate, Experiment, Rollout};

/// Every CRD of the group, in alphabetical order.
///
/// # Errors
/// When a type has a schema that is no JSON; a test excludes it.
pub fn all() -> Result<Vec<Value>, serde_json::Error> {
    let mut crds = [
        serde_json::to_value(AnalysisRun::crd())?,
        serde_json::to_value(AnalysisTemplate::crd())?,
        for_the_cluster(serde_json::to_value(AnalysisTemplate::crd())?),
        serde_json::to_value(Experiment::crd())?,
        serde_json::to_value(Rollout::crd())?,
    ];
    crds.iter_mut().for_each(loosen);
    Ok(crds.into())
}

/// A ClusterAnalysisTemplate is an AnalysisTemplate that every namespace may refer to.
fn for_the_cluster(mut template: Value) -> Value {
    template["metadata"]["name"] = json!("clusteranalysistemplates.argoproj.io");
    template["spec"]["scope"] = json!("Cluster");
    template["spec"]["names"] = json!({
        "kind": "ClusterAnalysisTemplate",
        "plural": "clusteranalysistemplates",
        "shortNames": ["cat"],
        "singular": "clusteranalysistemplate",
    });
    let about = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/description";
    if let Some(about) = template.pointer_mut(about) {
        *about = json!(
            "Metrics to judge a version by, and the conditions they must meet, for rollouts of every namespace."
        );
    }
    template
}

/// Kinds whose status lies on the main resource: the kubectl plugin and the roles that people have rely on it.
const WITHOUT_STATUS_SUBRESOURCE: [&str; 2] = ["AnalysisRun", "Experiment"];

fn loosen(crd: &mut Value) {
    let kind = crd.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(version) = crd.pointer_mut("/spec/versions/0").and_then(Value::as_object_mut) else { return };
    if WITHOUT_STATUS_SUBRESOURCE.contains(&kind.as_str()) {
        version.insert("subresources".into(), json!({}));
    }
    if let Some(root) = version.get_mut("schema").and_then(|schema| schema.get_mut("openAPIV3Schema")) {
        let about = root.pointer("/properties/spec/description").cloned();
        schema(root);
        if let (Some(root), Some(about)) = (root.as_object_mut(), about) {
            root.insert("description".into(), about);
        }
    }
}

/// Loosens one schema and all below it.
fn schema(node: &mut Value) {
    let Some(node) = node.as_object_mut() else { return };
    // Absent fields stay absent, and null is refused as upstream refuses it.
    node.remove("default");
    node.remove("nullable");
    if let Some(Value::String(about)) = node.get_mut("description") {
        *about = about.replace('\n', " ");
    }
    match node.get("properties") {
        Some(_) => keep_unknown_fields(node),
        None if node.get("type") == Some(&json!("object")) && !node.contains_key("additionalProperties") => {
            keep_unknown_fields(node);
        }
        None => {}
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = node.get_mut(below) {
            schema(below);
        }
    }
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        properties.iter_mut().for_each(|(_, property)| schema(property));
    }
}

fn keep_unknown_fields(node: &mut Map<String, Value>) {
    node.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
}
