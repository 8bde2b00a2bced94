//! PATCH: what each kind of patch makes of the live object.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    By, Store,
    history::Key,
    in_version,
    list::Query,
    managers::{METADATA, Writer, apply, is_nothing},
    patch::{PatchError, go_type, json_patch, merge, strategic_merge},
    resource::Definition,
    route::{Part, Target},
    schema::Form,
    status::{
        Cause, Refusal, about_options, apply_conflict, bad_request, internal, invalid, invalid_patch,
        negative_scale, no_name, other_kind, other_namespace, other_type, patch_does_not_apply,
        unknown_patch, unsupported_media_type, wrong_name,
    },
    structural, text, typed,
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
        let by = By { patches: true, ..by };
        let object = self.update(target.resource, &key, by, |live| {
            patched(kind, live, in_version(live, definition, target.version), patch, target)
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
        check_apply(target, query, config, key)?;
        let live = self.at(target.resource, key).cloned();
        if live.is_none() && target.part != Part::Main {
            return Err(super::status::not_found(definition, &key.name));
        }
        let undecoded = check_typed(target, config)?;
        let time = self.stamp();
        let writer = Writer {
            manager: query.text("fieldManager"),
            api_version: by.api_version,
            part: target.part,
            time: &time,
            form: Form::of(target.resource),
            status: definition.status,
        };
        let merged = apply(live.as_deref(), config, &writer, query.is_set("force"))
            .map_err(|conflicts| apply_conflict(&conflicts))?;
        if let Some(refusal) = undecoded {
            return Err(refusal);
        }
        let version = text(config, "/metadata/resourceVersion");
        if !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(internal(&format!("strconv.ParseUint: parsing {version:?}: invalid syntax")));
        }
        let hides = target.part == Part::Main && hides(definition, config, &merged);
        // The owners are already booked.
        let by = By { manager: None, patches: true, hides, ..by };
        if live.is_some() {
            let object = self.update(target.resource, key, by, |_| Ok(merged))?;
            return Ok(Response { status: 200, body: self.shown(&object, target) });
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
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        if !text(&object, "/metadata/uid").is_empty() {
            let uid = object["metadata"]["uid"].to_string();
            let cause = Cause::invalid("metadata.uid", &uid, "field is immutable");
            return Err(invalid(target.resource.definition(), &key.name, &[cause.clone(), cause]));
        }
        let created = self.create(target.resource, &key.namespace, object, By { dry_run: true, ..by })?;
        let mut created = Value::clone(&created);
        if let Some(owners) = owners {
            created["metadata"]["managedFields"] = owners;
        }
        if by.dry_run {
            return Ok(Arc::new(created));
        }
        let stored = self.commit(target.resource, key.clone(), Some(created));
        if by.hides {
            self.unshown.insert((target.resource, key.clone()));
        }
        Ok(stored)
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

/// Of a custom kind what is applied as an empty list or map of the metadata is stored as one, which nobody is ever shown.
fn hides(definition: &Definition, config: &Value, merged: &Value) -> bool {
    let is_empty = |object: &Value, field: &str| {
        let value = object.get("metadata").and_then(|metadata| metadata.get(field));
        value.is_some_and(|value| !value.is_null() && is_nothing(value))
    };
    definition.custom && METADATA.iter().any(|field| is_empty(config, field) && is_empty(merged, field))
}

/// `object` is the live one in the client's version.
fn patched(
    kind: PatchKind,
    live: &Value,
    mut object: Value,
    patch: &Value,
    target: &Target,
) -> Result<Value, Refusal> {
    if target.part == Part::Scale {
        let mut scale = scale_of(&object);
        change(kind, &mut scale, patch)?;
        return with_scale(object, &scale);
    }
    change(kind, &mut object, patch)?;
    decoded(&object, live, target)?;
    Ok(object)
}

/// A patch may not make an object of another kind, or one that the kind's type cannot hold.
fn decoded(object: &Value, live: &Value, target: &Target) -> Result<(), Refusal> {
    let definition = target.resource.definition();
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    if kind.is_empty() {
        return Err(invalid_patch(object, &format!("Object 'Kind' is missing in '{object}'")));
    }
    let expected = definition.api_version(target.version);
    if (version != expected || kind != definition.kind) && !definition.custom {
        return Err(invalid_patch(object, &other_type(definition, version, kind)));
    }
    if let Err(mismatch) = typed::check(target.resource, object, live) {
        return Err(invalid_patch(object, &mismatch.to_string()));
    }
    if text(object, "/metadata/name").is_empty() {
        return Err(no_name(target.name.as_deref().unwrap_or_default()));
    }
    if kind != definition.kind {
        let cause = Cause::invalid("kind", &format!("{kind:?}"), &format!("must be {}", definition.kind));
        return Err(other_kind(definition, kind, text(object, "/metadata/name"), &cause));
    }
    if version != expected {
        let cause = Cause::invalid("apiVersion", &format!("{version:?}"), &format!("must be {expected}"));
        return Err(invalid(definition, text(object, "/metadata/name"), &[cause]));
    }
    Ok(())
}

fn change(kind: PatchKind, object: &mut Value, patch: &Value) -> Result<(), Refusal> {
    match kind {
        PatchKind::Json => json_patch(object, patch).map_err(inapplicable)?,
        PatchKind::Merge | PatchKind::Strategic if !patch.is_object() => {
            let found = go_type(patch);
            return Err(bad_request(&match found {
                "null" => "Invalid JSON Patch".to_owned(),
                _ => format!(
                    "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
                ),
            }));
        }
        PatchKind::Merge | PatchKind::Apply => merge(object, patch),
        PatchKind::Strategic => strategic_merge(object, patch).map_err(inapplicable)?,
    }
    if object.is_object() { Ok(()) } else { Err(patch_does_not_apply()) }
}

fn inapplicable(error: PatchError) -> Refusal {
    match error {
        PatchError::Malformed(message) => bad_request(&message),
        PatchError::DoesNotApply => patch_does_not_apply(),
        PatchError::Keyless { .. } => internal(&error.to_string()),
    }
}

fn unknown_format(definition: &Definition) -> Refusal {
    if !definition.custom {
        return unknown_patch();
    }
    unsupported_media_type(&[
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ])
}

fn check_apply(target: &Target, query: &Query<'_>, config: &Value, key: &Key) -> Result<(), Refusal> {
    if query.text("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(about_options("PatchOptions", "meta.k8s.io", cause));
    }
    let definition = target.resource.definition();
    if !config.is_object() {
        let found = go_type(config);
        let why = format!("cannot unmarshal {found} into Go value of type map[string]interface {{}}");
        return Err(bad_request(&format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: {why}"
        )));
    }
    let (version, kind) = (text(config, "/apiVersion"), text(config, "/kind"));
    if version != definition.api_version(target.version) || kind != definition.kind {
        let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
        return Err(bad_request(&format!("invalid object type: {version}, Kind={kind}")));
    }
    let name = text(config, "/metadata/name");
    if !name.is_empty() && name != key.name {
        return Err(wrong_name(name, &key.name));
    }
    let namespace = text(config, "/metadata/namespace");
    if !namespace.is_empty() && namespace != key.namespace {
        return Err(other_namespace());
    }
    if config.pointer("/metadata/managedFields").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
    {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// What is applied has to be of the kind's type, down to the last field. Texts that are no times or no base64 are found only
/// after the conflicts: that refusal is the answer.
fn check_typed(target: &Target, config: &Value) -> Result<Option<Refusal>, Refusal> {
    let definition = target.resource.definition();
    let refused = |why: &str| {
        let (version, kind) = (text(config, "/apiVersion"), definition.kind);
        let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
        let (namespace, name) = (text(config, "/metadata/namespace"), text(config, "/metadata/name"));
        internal(&format!(
            "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {why}"
        ))
    };
    let (mut shaped, mut unknown) = (config.clone(), vec![]);
    if let Err(all) = typed::shape(target.resource, &mut shaped, None, &mut unknown) {
        return match all.of_a_type() {
            Some(mismatch) => Err(refused(&mismatch.to_string())),
            None => Ok(Some(refused(&all.to_string()))),
        };
    }
    structural::shape(target.resource, &mut shaped, None, &mut unknown);
    if let Some(field) = unknown.first() {
        return Err(refused(&format!(".{field}: field not declared in schema")));
    }
    match structural::check(target.resource, config, None, &[])
        .iter()
        .find(|cause| cause.is_of_another_type())
    {
        Some(cause) => Err(refused(&format!(".{}: {}", cause.field, cause.message))),
        None => Ok(None),
    }
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
    if replicas < 0 && object["kind"] != "Rollout" {
        let cause =
            Cause::invalid("spec.replicas", &replicas.to_string(), "must be greater than or equal to 0");
        return Err(negative_scale(text(&object, "/metadata/name"), cause));
    }
    object["spec"]["replicas"] = json!(replicas);
    let version = text(scale, "/metadata/resourceVersion");
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(object)
}
