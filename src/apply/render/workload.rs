//! ReplicaSets, Services, AnalysisRuns and the Rollout's own fields as requests.

use serde_json::{Map, Value, json};

use super::{Kind, Stage, Step, Versions, controlled_by, create, delete, patch, step, traffic};
use crate::{
    api::{
        http::{Body, Request},
        workload::{
            DESIRED_REPLICAS as DESIRED, HASH_LABEL, MANAGED_BY, REVISION, SCALE_DOWN_DEADLINE as DEADLINE,
        },
    },
    decide::plan::{
        Action, AnnotateReplicaSet, DeadlineChange, NewReplicaSet, NewRun, Owner, Prepare, Retire, ScaleDown,
        ScaleUp, Switch,
    },
};

pub(super) fn prepare(prepare: &Prepare, owner: &Owner) -> Step {
    let namespace = &owner.key.namespace;
    let (action, request) = match prepare {
        Prepare::WriteReplicas => (Action::Replicas, write_replicas(owner)),
        Prepare::CreateReplicaSet(new) => (
            Action::CreateReplicaSet(new.name.clone()),
            create(Kind::ReplicaSet, namespace, replica_set(new, owner)),
        ),
        Prepare::Annotate(change) => (Action::Annotate(change.name.clone()), annotate(namespace, change)),
        Prepare::WriteRevision(revision) => (Action::Revision, write_revision(owner, *revision)),
        Prepare::ScaleUp(scale) => (Action::Scale(scale.replica_set.clone()), scale_up(namespace, scale)),
        Prepare::CreateRun(new) => {
            (Action::CreateRun(new.name.clone()), create(Kind::AnalysisRun, namespace, run(new, owner)))
        }
        Prepare::TerminateRun(name) => (Action::TerminateRun(name.clone()), terminate(namespace, name)),
        Prepare::SwitchService(switch) => {
            (Action::SwitchService(switch.service.clone()), switch_service(namespace, switch))
        }
    };
    step(Stage::Prepare, action, request)
}

pub(super) fn retire(retire: &Retire, owner: &Owner, versions: &Versions) -> Step {
    let namespace = &owner.key.namespace;
    let (action, request) = match retire {
        Retire::ScaleDown(scale) => (Action::Scale(scale.replica_set.clone()), scale_down(namespace, scale)),
        Retire::DeleteReplicaSet { name, uid, resource_version } => {
            let preconditions = json!({ "uid": uid.0, "resourceVersion": resource_version });
            (Action::DeleteReplicaSet(name.clone()), delete(Kind::ReplicaSet, namespace, name, preconditions))
        }
        Retire::DeleteRun { name, uid } => {
            let preconditions = json!({ "uid": uid.0 });
            (Action::DeleteRun(name.clone()), delete(Kind::AnalysisRun, namespace, name, preconditions))
        }
        Retire::Release(release) => (Action::Release, traffic::release(release, versions)),
    };
    step(Stage::Retire, action, request)
}

pub(super) fn scale_up(namespace: &str, scale: &ScaleUp) -> Request {
    let annotations = scale_annotations(scale.desired, scale.clear_deadline);
    sized(namespace, &scale.replica_set, &scale.resource_version, annotations, scale.to)
}

fn scale_down(namespace: &str, scale: &ScaleDown) -> Request {
    let annotations = scale_annotations(scale.desired, scale.clear_deadline);
    sized(namespace, &scale.replica_set, &scale.resource_version, annotations, scale.to)
}

fn sized(namespace: &str, name: &str, version: &str, annotations: Value, to: i32) -> Request {
    let body = json!({
        "metadata": { "annotations": annotations, "resourceVersion": version },
        "spec": { "replicas": to },
    });
    patch(Kind::ReplicaSet, namespace, name, Body::Merge(body))
}

fn scale_annotations(desired: i32, clear_deadline: bool) -> Value {
    if clear_deadline {
        json!({ DESIRED: desired.to_string(), DEADLINE: null })
    } else {
        json!({ DESIRED: desired.to_string() })
    }
}

/// Only where there is still no value: an autoscaler may have written one meanwhile.
fn write_replicas(owner: &Owner) -> Request {
    let operations = json!([
        { "op": "test", "path": "/spec/replicas", "value": null },
        { "op": "add", "path": "/spec/replicas", "value": 1 },
    ]);
    patch(Kind::Rollout, &owner.key.namespace, &owner.key.name, Body::JsonPatch(operations))
}

fn write_revision(owner: &Owner, revision: i64) -> Request {
    let body = json!({ "metadata": { "annotations": { REVISION: revision.to_string() } } });
    patch(Kind::Rollout, &owner.key.namespace, &owner.key.name, Body::Merge(body))
}

fn annotate(namespace: &str, change: &AnnotateReplicaSet) -> Request {
    let mut annotations = Map::new();
    if let Some(revision) = change.revision {
        annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
    }
    if let Some(desired) = change.desired {
        annotations.insert(DESIRED.to_owned(), json!(desired.to_string()));
    }
    match change.deadline {
        Some(DeadlineChange::Set(at)) => {
            annotations.insert(DEADLINE.to_owned(), json!(at.to_string()));
        }
        Some(DeadlineChange::Remove) => {
            annotations.insert(DEADLINE.to_owned(), Value::Null);
        }
        None => {}
    }
    let body = json!({
        "metadata": { "annotations": annotations, "resourceVersion": change.resource_version },
    });
    patch(Kind::ReplicaSet, namespace, &change.name, Body::Merge(body))
}

fn switch_service(namespace: &str, switch: &Switch) -> Request {
    let mut metadata = json!({ "resourceVersion": switch.resource_version });
    if let (Some(rollout), Some(metadata)) = (&switch.adopt, metadata.as_object_mut()) {
        metadata.insert("annotations".to_owned(), json!({ MANAGED_BY: rollout }));
    }
    let body = json!({
        "metadata": metadata,
        "spec": { "selector": { HASH_LABEL: switch.to.as_str() } },
    });
    patch(Kind::Service, namespace, &switch.service, Body::Merge(body))
}

fn terminate(namespace: &str, name: &str) -> Request {
    patch(Kind::AnalysisRun, namespace, name, Body::Merge(json!({ "spec": { "terminate": true } })))
}

fn run(new: &NewRun, owner: &Owner) -> Value {
    let spec: &Value = &new.spec;
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {
            "name": new.name,
            "namespace": owner.key.namespace,
            "labels": new.labels,
            "annotations": new.annotations,
            "ownerReferences": controlled_by(owner),
        },
        "spec": spec,
    })
}

/// A ReplicaSet of 0 pods; the hash goes into its labels, its selector and its pods.
fn replica_set(new: &NewReplicaSet, owner: &Owner) -> Value {
    let hash = new.hash.as_str();
    let template = with_label(&new.template, &["metadata", "labels"], hash);
    let labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({ HASH_LABEL: hash }));
    let mut annotations = new.annotations.clone();
    annotations.insert(REVISION.to_owned(), new.revision.to_string());
    annotations.insert(DESIRED.to_owned(), new.desired.to_string());
    let mut spec = json!({
        "replicas": 0,
        "selector": with_label(&new.selector, &["matchLabels"], hash),
        "template": template,
    });
    if let (1.., Some(spec)) = (new.min_ready_seconds, spec.as_object_mut()) {
        spec.insert("minReadySeconds".to_owned(), json!(new.min_ready_seconds));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": new.name,
            "namespace": owner.key.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": controlled_by(owner),
        },
        "spec": spec,
    })
}

/// `value` with the hash label in the map at `path`. What is no object on the way becomes one.
fn with_label(value: &Value, path: &[&str], hash: &str) -> Value {
    let mut fields = value.as_object().cloned().unwrap_or_default();
    match path.split_first() {
        None => {
            fields.insert(HASH_LABEL.to_owned(), json!(hash));
        }
        Some((first, rest)) => {
            let inner = with_label(fields.get(*first).unwrap_or(&Value::Null), rest, hash);
            fields.insert((*first).to_owned(), inner);
        }
    }
    Value::Object(fields)
}
