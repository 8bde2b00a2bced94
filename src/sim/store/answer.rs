//! From a request to an answer.

use serde_json::Value;

use super::{
    Answer, By, Store,
    change::with_scale,
    delete::DeleteOptions,
    discovery,
    history::Key,
    list::Query,
    patch::go_type,
    resource::Definition,
    route::{Part, Route, Target, route},
    status::{
        self, Cause, Refusal, bad_request, no_kind, no_name, other_kind, other_namespace, other_type,
        wrong_name,
    },
    text,
};
use crate::api::http::{Body, Method, Request, Response};

impl Store {
    /// Answers a request as kube-apiserver 1.34 does. `actor` is the field manager where the query names none.
    pub fn answer(&mut self, request: &Request, actor: &str) -> Answer {
        match route(&request.path) {
            Route::Objects(target) => {
                self.objects_answer(request, &target, actor).unwrap_or_else(Answer::Response)
            }
            Route::Discovery(document) if request.method == Method::Get => {
                Answer::Response(discovery::answer(&document))
            }
            Route::Discovery(_) => Answer::Response(status::method_not_allowed()),
            Route::NoPart(resource, name) => {
                Answer::Response(status::not_found(resource.definition(), &name))
            }
            Route::Unknown(built_in) => Answer::Response(status::no_such_path(built_in)),
        }
    }

    fn objects_answer(&mut self, request: &Request, target: &Target, actor: &str) -> Result<Answer, Refusal> {
        let query = Query(&request.query);
        let definition = target.resource.definition();
        let api_version = definition.api_version(target.version);
        let manager = Some(query.text("fieldManager")).filter(|named| !named.is_empty()).unwrap_or(actor);
        let by = By {
            manager: Some(manager),
            api_version: &api_version,
            part: target.part,
            dry_run: query.is_dry_run(),
            strict: query.text("fieldValidation") == "Strict",
            patches: false,
            hides: false,
        };
        query.check(request.method)?;
        let response = match (request.method, target.name.as_deref()) {
            (Method::Get, _) if query.is_set("watch") => return self.watch(target, &query),
            (Method::Get, None) => self.list(target, &query)?,
            (Method::Get, Some(name)) => self.read(target, name)?,
            (Method::Post, Some(name)) if target.part == Part::Eviction => {
                let options =
                    DeleteOptions::read(json_body(request).get("deleteOptions").unwrap_or(&Value::Null));
                self.evict(&key(target, name), &options)?;
                status::evicted()
            }
            (Method::Post, None) => self.post(target, json_body(request), by)?,
            (Method::Put, Some(name)) => self.put(target, name, json_body(request), by)?,
            (Method::Patch, Some(name)) => self.patch(target, name, &query, &request.body, by)?,
            (Method::Delete, Some(name)) if target.part == Part::Main => {
                check_options(request)?;
                self.delete_one(target, name, &delete_options(request))?
            }
            (Method::Delete, None) => {
                check_options(request)?;
                self.delete_all(target, &query, &delete_options(request))?
            }
            (Method::Post | Method::Put | Method::Patch | Method::Delete, _) => {
                return Err(status::method_not_allowed());
            }
        };
        Ok(Answer::Response(response))
    }

    fn read(&self, target: &Target, name: &str) -> Result<Response, Refusal> {
        match self.at(target.resource, &key(target, name)) {
            Some(object) => Ok(Response { status: 200, body: self.shown(object, target) }),
            None => Err(status::not_found(target.resource.definition(), name)),
        }
    }

    fn post(&mut self, target: &Target, object: &Value, by: By<'_>) -> Result<Response, Refusal> {
        check_body(target, object, None)?;
        let namespace = match (&target.namespace, target.resource.definition().namespaced) {
            (Some(namespace), _) => namespace.clone(),
            (None, false) => String::new(),
            (None, true) if target.resource.definition().custom => return Err(status::no_such_path(false)),
            (None, true) => return Err(status::method_not_allowed()),
        };
        let created = self.create(target.resource, &namespace, object.clone(), by)?;
        Ok(Response { status: 201, body: self.shown(&created, target) })
    }

    fn put(&mut self, target: &Target, name: &str, object: &Value, by: By<'_>) -> Result<Response, Refusal> {
        let key = key(target, name);
        if target.part == Part::Scale {
            let updated =
                self.update(target.resource, &key, by, |live| with_scale(Value::clone(live), object))?;
            return Ok(Response { status: 200, body: self.shown(&updated, target) });
        }
        check_body(target, object, Some(name))?;
        let exists = self.at(target.resource, &key).is_some();
        if !exists && target.resource.definition().create_on_update {
            let uid = text(object, "/metadata/uid");
            if !uid.is_empty() {
                let definition = target.resource.definition();
                return Err(status::other_uid(definition, &key.namespace, name, uid, ""));
            }
            let mut object = object.clone();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
            }
            let created = self.create(target.resource, &key.namespace, object, by)?;
            return Ok(Response { status: 201, body: self.shown(&created, target) });
        }
        let updated = self.update(target.resource, &key, by, |_| Ok(object.clone()))?;
        Ok(Response { status: 200, body: self.shown(&updated, target) })
    }

    fn delete_one(
        &mut self,
        target: &Target,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Response, Refusal> {
        let definition = target.resource.definition();
        let deleted = self.delete(target.resource, &key(target, name), options)?;
        if deleted.gone && !definition.returns_deleted {
            return Ok(status::deleted(definition, name, text(&deleted.object, "/metadata/uid")));
        }
        Ok(Response { status: 200, body: self.shown(&deleted.object, target) })
    }

    fn delete_all(
        &mut self,
        target: &Target,
        query: &Query<'_>,
        options: &DeleteOptions,
    ) -> Result<Response, Refusal> {
        let selectors = Self::selectors(target, query)?;
        let listed = self.list(target, query)?;
        let selected: Vec<Key> = self
            .objects(target.resource)
            .filter(|(key, object)| {
                target.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
                    && selectors.matches(object)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in selected {
            self.delete(target.resource, &key, options)?;
        }
        Ok(listed)
    }
}

fn key(target: &Target, name: &str) -> Key {
    Key::new(target.namespace.as_deref().unwrap_or_default(), name)
}

fn json_body(request: &Request) -> &Value {
    match &request.body {
        Body::Json(value)
        | Body::Merge(value)
        | Body::JsonPatch(value)
        | Body::StrategicMerge(value)
        | Body::Apply(value) => value,
        Body::Empty => &Value::Null,
    }
}

/// Refuses options that are none.
fn check_options(request: &Request) -> Result<(), Refusal> {
    let body = json_body(request);
    let kind = text(body, "/kind");
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(status::internal(&no_kind(kind, text(body, "/apiVersion"))));
    }
    if !body.is_null() && !body.is_object() {
        let into = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
        let why = format!("json: cannot unmarshal {} into Go value of type {into}", go_type(body));
        return Err(status::internal(&format!("couldn't get version/kind; json parse error: {why}")));
    }
    let policy = text(body, "/propagationPolicy");
    let cause = if !policy.is_empty() && body.get("orphanDependents").is_some_and(|it| !it.is_null()) {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        Cause::invalid("propagationPolicy", &format!("{policy:?}"), why)
    } else if !["", "Foreground", "Background", "Orphan"].contains(&policy) {
        let message = format!(
            "Unsupported value: {policy:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
        );
        Cause { reason: "FieldValueNotSupported", message, field: "propagationPolicy".into() }
    } else {
        return Ok(());
    };
    Err(status::about_options("DeleteOptions", "meta.k8s.io", cause))
}

fn delete_options(request: &Request) -> DeleteOptions {
    let mut options = DeleteOptions::read(json_body(request));
    let query = Query(&request.query);
    if let Ok(seconds) = query.text("gracePeriodSeconds").parse() {
        options.grace_seconds = Some(seconds);
    }
    if !query.text("propagationPolicy").is_empty() {
        options.propagation = Some(query.text("propagationPolicy").to_owned());
    }
    options.dry_run |= query.is_dry_run();
    options
}

/// Kind, version, name and namespace of what was sent have to be those of the path.
fn check_body(target: &Target, object: &Value, name: Option<&str>) -> Result<(), Refusal> {
    let definition = target.resource.definition();
    if !object.is_object() {
        return Err(unrecognized(definition, object));
    }
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let expected = definition.api_version(target.version);
    if definition.custom {
        if kind.is_empty() {
            let sent = object.to_string();
            let why = format!("Object 'Kind' is missing in '{sent}' ({})", summary(&sent));
            return Err(not_recognized(definition, &why));
        }
        if version != expected {
            return Err(bad_request(&format!(
                "the API version in the data ({version}) does not match the expected API version ({expected})"
            )));
        }
    } else if !kind.is_empty() && kind != definition.kind || !version.is_empty() && version != expected {
        let why = other_type(definition, version, kind);
        return Err(bad_request(&format!(
            "{kind} in version {version:?} cannot be handled as a {}: {why}",
            definition.kind
        )));
    }
    let namespace = text(object, "/metadata/namespace");
    if !namespace.is_empty() && namespace != target.namespace.as_deref().unwrap_or_default() {
        return Err(other_namespace());
    }
    if kind != definition.kind && definition.custom {
        let cause = Cause::invalid("kind", &format!("{kind:?}"), &format!("must be {}", definition.kind));
        return Err(other_kind(definition, kind, text(object, "/metadata/name"), &cause));
    }
    match (name, text(object, "/metadata/name")) {
        (Some(name), "") => Err(no_name(name)),
        (Some(name), sent) if sent != name => Err(wrong_name(sent, name)),
        _ => Ok(()),
    }
}

fn not_recognized(definition: &Definition, why: &str) -> Refusal {
    bad_request(&format!("the object provided is unrecognized (must be of type {}): {why}", definition.kind))
}

/// 400 of a body that is no object, or none at all.
fn unrecognized(definition: &Definition, body: &Value) -> Refusal {
    let sent = if body.is_null() { String::new() } else { body.to_string() };
    let why = if body.is_null() {
        "unexpected end of JSON input".to_owned()
    } else {
        let found = go_type(body);
        let into = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
        format!("json: cannot unmarshal {found} into Go value of type {into}")
    };
    not_recognized(
        definition,
        &format!("couldn't get version/kind; json parse error: {why} ({})", summary(&sent)),
    )
}

/// The beginning of a body, as the server's messages show it.
fn summary(sent: &str) -> String {
    const SHOWN: usize = 30;
    if sent.is_empty() {
        return "<empty>".into();
    }
    let cut: String = sent.chars().take(SHOWN).collect();
    let shown = if sent.starts_with('{') {
        cut.clone()
    } else {
        cut.bytes().map(|byte| format!("{byte:02x}")).collect()
    };
    if cut.len() < sent.len() { format!("{shown} ...") } else { shown }
}
