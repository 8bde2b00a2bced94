//! PATCH: what each kind of patch makes of the live object.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    By, Store,
    history::Key,
    in_version,
    list::Query,
    managers::{Writer, apply},
    patch::{PatchError, json_patch, merge, strategic_merge},
    resource::Definition,
    route::{Part, Target},
    status::{
        Cause, Refusal, apply_conflict, bad_request, invalid, patch_does_not_apply, unsupported_media_type,
    },
    text,
};
use crate::api::http::{Body, Response};

/// The four content types of PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Store {
    pub(super) fn patch(
        &mut self,
        target: &Target,
        name: &str,
        query: &Query<'_>,
        body: &Body,
        by: By<'_>,
    ) -> Result<Response, Refusal> {
        let definition = target.resource.definition();
        let (kind, patch) = match body {
            Body::JsonPatch(patch) => (PatchKind::Json, patch),
            Body::Merge(patch) => (PatchKind::Merge, patch),
            Body::StrategicMerge(patch) => (PatchKind::Strategic, patch),
            Body::Apply(patch) => (PatchKind::Apply, patch),
            Body::Json(_) | Body::Empty => return Err(unknown_format(definition)),
        };
        if kind == PatchKind::Strategic && definition.custom {
            return Err(unknown_format(definition));
        }
        let key = Key::new(target.namespace.as_deref().unwrap_or_default(), name);
        if kind == PatchKind::Apply {
            return self.apply(target, &key, query, patch, by);
        }
        let object = self.update(target.resource, &key, by, |live| {
            patched(kind, in_version(live, definition, target.version), patch, target.part)
        })?;
        let status = 200;
        Ok(Response { status, body: self.shown(&object, target) })
    }

    fn apply(
        &mut self,
        target: &Target,
        key: &Key,
        query: &Query<'_>,
        config: &Value,
        by: By<'_>,
    ) -> Result<Response, Refusal> {
        let definition = target.resource.definition();
        check_apply(definition, query, config, key)?;
        let live = self.at(target.resource, key).cloned();
        let time = self.stamp();
        let writer = Writer {
            manager: query.text("fieldManager"),
            api_version: by.api_version,
            part: target.part,
            time: &time,
            custom: definition.custom,
            status: definition.status,
        };
        let merged = apply(live.as_deref(), config, &writer, query.is_set("force"))
            .map_err(|conflicts| apply_conflict(&conflicts))?;
        // The owners are already booked.
        let by = By { manager: None, ..by };
        if live.is_some() {
            let object = self.update(target.resource, key, by, |_| Ok(merged))?;
            return Ok(Response { status: 200, body: self.shown(&object, target) });
        }
        if target.part != Part::Main {
            return Err(super::status::not_found(definition, &key.name));
        }
        let owners = merged.pointer("/metadata/managedFields").cloned();
        let object = self.create_applied(target, key, merged, owners, by)?;
        Ok(Response { status: 201, body: self.shown(&object, target) })
    }

    fn create_applied(
        &mut self,
        target: &Target,
        key: &Key,
        mut object: Value,
        owners: Option<Value>,
        by: By<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        object["metadata"]["name"] = json!(key.name);
        let created = self.create(target.resource, &key.namespace, object, By { dry_run: true, ..by })?;
        let mut created = Value::clone(&created);
        if let Some(owners) = owners {
            created["metadata"]["managedFields"] = owners;
        }
        if by.dry_run {
            return Ok(Arc::new(created));
        }
        Ok(self.commit(target.resource, key.clone(), Some(created)))
    }

    /// An object as the client of a request sees it.
    pub(super) fn shown(&self, object: &Arc<Value>, target: &Target) -> Value {
        match target.part {
            Part::Scale => scale_of(object),
            Part::Main | Part::Status | Part::Eviction => {
                in_version(object, target.resource.definition(), target.version)
            }
        }
    }
}

fn patched(kind: PatchKind, live: Value, patch: &Value, part: Part) -> Result<Value, Refusal> {
    if part == Part::Scale {
        let mut scale = scale_of(&live);
        change(kind, &mut scale, patch)?;
        return with_scale(live, &scale);
    }
    let mut object = live;
    change(kind, &mut object, patch)?;
    Ok(object)
}

fn change(kind: PatchKind, object: &mut Value, patch: &Value) -> Result<(), Refusal> {
    match kind {
        PatchKind::Json => json_patch(object, patch).map_err(|error| match error {
            PatchError::Malformed(message) => bad_request(&message),
            PatchError::DoesNotApply => patch_does_not_apply(),
        })?,
        PatchKind::Merge | PatchKind::Strategic if !patch.is_object() => {
            return Err(bad_request("json: cannot unmarshal into Go value of type map[string]interface {}"));
        }
        PatchKind::Merge | PatchKind::Apply => merge(object, patch),
        PatchKind::Strategic => strategic_merge(object, patch),
    }
    if object.is_object() { Ok(()) } else { Err(patch_does_not_apply()) }
}

fn unknown_format(definition: &Definition) -> Refusal {
    let mut accepted = vec!["application/json-patch+json", "application/merge-patch+json"];
    if !definition.custom {
        accepted.push("application/strategic-merge-patch+json");
    }
    accepted.push("application/apply-patch+yaml");
    unsupported_media_type(&accepted)
}

fn check_apply(definition: &Definition, query: &Query<'_>, config: &Value, key: &Key) -> Result<(), Refusal> {
    if query.text("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        let mut refusal = invalid(definition, "", &[cause]);
        refusal.body["message"] = json!(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        refusal.body["details"]["group"] = json!("meta.k8s.io");
        refusal.body["details"]["kind"] = json!("PatchOptions");
        return Err(refusal);
    }
    if config.pointer("/metadata/managedFields").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
    {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    if text(config, "/apiVersion").is_empty() || text(config, "/kind").is_empty() {
        return Err(bad_request("error decoding patch: Object 'Kind' is missing"));
    }
    let name = text(config, "/metadata/name");
    if !name.is_empty() && name != key.name {
        return Err(wrong_name(name, &key.name));
    }
    Ok(())
}

pub(super) fn wrong_name(sent: &str, path: &str) -> Refusal {
    bad_request(&format!("the name of the object ({sent}) does not match the name on the URL ({path})"))
}

/// The autoscaling view of an object. Rollouts count what their HPA is to see.
pub(super) fn scale_of(object: &Value) -> Value {
    let rollout = object["kind"] == "Rollout";
    let field = if rollout { "/status/HPAReplicas" } else { "/status/replicas" };
    let mut metadata = json!({});
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.pointer(&format!("/metadata/{name}")) {
            metadata[name] = value.clone();
        }
    }
    let selector = if rollout {
        text(object, "/status/selector").to_owned()
    } else {
        let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let pairs = labels.into_iter().flatten();
        let pairs: Vec<_> =
            pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        pairs.join(",")
    };
    let mut status = json!({"replicas": object.pointer(field).cloned().unwrap_or(json!(0))});
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    let spec = match object.pointer("/spec/replicas").and_then(Value::as_i64) {
        Some(0) | None => json!({}),
        Some(replicas) => json!({"replicas": replicas}),
    };
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// The object with the replicas of a Scale, and its resourceVersion to be checked.
pub(super) fn with_scale(mut object: Value, scale: &Value) -> Result<Value, Refusal> {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        return Err(bad_request("spec.replicas: Invalid value: must be greater than or equal to 0"));
    }
    object["spec"]["replicas"] = json!(replicas);
    let version = text(scale, "/metadata/resourceVersion");
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(object)
}
