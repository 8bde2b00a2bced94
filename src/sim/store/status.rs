//! `Status` bodies, worded as kube-apiserver words them.

use serde_json::{Map, Value, json};

use super::resource::{Definition, Resource};
use crate::api::http::Response;

/// A refusal of the server.
pub type Refusal = Response;

/// One cause in `details.causes` of a `Status`.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// Machine-readable, for instance `FieldValueInvalid`.
    pub reason: &'static str,
    pub message: String,
    pub field: String,
}

impl Cause {
    /// A value that is not accepted; `shown` is how the message quotes it.
    pub(super) fn invalid(field: &str, shown: &str, why: &str) -> Self {
        let message = format!("Invalid value: {shown}: {why}");
        Self { reason: "FieldValueInvalid", message, field: field.to_owned() }
    }

    /// True where the value is of another type than its field, null aside.
    pub(super) fn is_of_another_type(&self) -> bool {
        self.reason == "FieldValueTypeInvalid"
            && !["\"null\"", "\"number\""].iter().any(|kind| self.message.ends_with(kind))
    }

    /// A field that is missing.
    pub(super) fn required(field: &str, why: &str) -> Self {
        let message = format!("Required value: {why}");
        Self { reason: "FieldValueRequired", message, field: field.to_owned() }
    }
}

fn failure(code: u16, reason: &str, message: &str, details: Value) -> Refusal {
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    if let Some(fields) = body.as_object_mut() {
        if !reason.is_empty() {
            fields.insert("reason".into(), reason.into());
        }
        if !details.is_null() {
            fields.insert("details".into(), details);
        }
    }
    Response { status: code, body }
}

fn details(definition: &Definition, name: &str) -> Map<String, Value> {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".into(), name.into());
    }
    if !definition.group.is_empty() {
        details.insert("group".into(), definition.group.into());
    }
    details.insert("kind".into(), definition.plural.into());
    details
}

/// 404 of an object.
pub(super) fn not_found(definition: &Definition, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" not found", definition.qualified());
    failure(404, "NotFound", &message, details(definition, name).into())
}

/// 404 of a path that is not served; a built-in group answers with a Status, the rest with text.
pub(super) fn no_such_path(built_in: bool) -> Refusal {
    if built_in {
        failure(404, "NotFound", "the server could not find the requested resource", json!({}))
    } else {
        Response { status: 404, body: Value::String("404 page not found\n".into()) }
    }
}

/// 409 of a name that is taken.
pub(super) fn already_exists(definition: &Definition, name: &str, is_going: bool) -> Refusal {
    let going = if is_going { "object is being deleted: " } else { "" };
    let message = format!("{going}{} \"{name}\" already exists", definition.qualified());
    failure(409, "AlreadyExists", &message, details(definition, name).into())
}

/// 409 of a stale resourceVersion.
pub(super) fn conflict(definition: &Definition, name: &str) -> Refusal {
    conflict_because(
        definition,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

/// 409 for another reason.
pub(super) fn conflict_because(definition: &Definition, name: &str, why: &str) -> Refusal {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", definition.qualified());
    failure(409, "Conflict", &message, details(definition, name).into())
}

/// 409 of a DELETE whose precondition fails; `what` is `UID` or `ResourceVersion`.
pub(super) fn precondition(
    definition: &Definition,
    name: &str,
    what: &str,
    wanted: &str,
    live: &str,
) -> Refusal {
    let became = if what == "UID" { "deleted and then recreated" } else { "modified" };
    let message = format!(
        "Operation cannot be fulfilled on {} \"{name}\": the {what} in the precondition ({wanted}) does not match the \
         {what} in record ({live}). The object might have been {became}",
        definition.qualified_kind()
    );
    let mut about = details(definition, name);
    about.insert("kind".into(), definition.kind.into());
    failure(409, "Conflict", &message, about.into())
}

/// 409 of an update whose uid is another object's.
pub(super) fn other_uid(
    definition: &Definition,
    namespace: &str,
    name: &str,
    wanted: &str,
    live: &str,
) -> Refusal {
    let group = if definition.custom { format!("{}/", definition.group) } else { String::new() };
    let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{namespace}{name}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {live}",
        definition.plural
    );
    conflict_because(definition, name, &why)
}

/// 422 of an update without a resourceVersion where the kind wants one.
pub(super) fn version_required(definition: &Definition, name: &str) -> Refusal {
    let cause = Cause::invalid("metadata.resourceVersion", "0", "must be specified for an update");
    let mut refusal = invalid(definition, name, &[cause]);
    let message = refusal.message().replacen(&definition.qualified_kind(), &definition.qualified(), 1);
    refusal.body["message"] = message.into();
    refusal.body["details"]["kind"] = definition.plural.into();
    refusal
}

/// 422 of an object that does not validate.
pub(super) fn invalid(definition: &Definition, name: &str, causes: &[Cause]) -> Refusal {
    let mut text: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    // Said once, however often it is found.
    let mut said = std::collections::BTreeSet::new();
    text.retain(|one| said.insert(one.clone()));
    let text = match text.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", text.join(", ")),
    };
    let message = format!("{} \"{name}\" is invalid: {text}", definition.qualified_kind());
    let mut about = details(definition, name);
    about.insert("kind".into(), definition.kind.into());
    let causes: Vec<_> = causes
        .iter()
        .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
        .collect();
    about.insert("causes".into(), causes.into());
    failure(422, "Invalid", &message, about.into())
}

/// 422 of a JSON patch that does not apply: the server gives no detail.
pub(super) fn patch_does_not_apply() -> Refusal {
    failure(422, "Invalid", "the server rejected our request due to an error in our request", json!({}))
}

/// 400 with the server's text.
pub fn bad_request(message: &str) -> Refusal {
    failure(400, "BadRequest", message, Value::Null)
}

/// 400 of an object that does not decode.
pub(super) fn cannot_be_handled(definition: &Definition, api_version: &str, why: &str) -> Refusal {
    let stored = definition.versions.first().copied().unwrap_or_default();
    let version =
        if api_version.is_empty() { stored } else { api_version.rsplit('/').next().unwrap_or_default() };
    let kind = definition.kind;
    bad_request(&format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// 400 of an object with fields that nobody knows, where that is asked for.
pub(super) fn strict(definition: &Definition, api_version: &str, unknown: &[String]) -> Refusal {
    cannot_be_handled(definition, api_version, &unknown_fields(unknown))
}

/// As [`strict`], of a patch.
pub(super) fn strict_patch(unknown: &[String]) -> Refusal {
    let why = unknown_fields(unknown);
    about_options("", "", Cause::invalid("patch", "{}", &why))
}

fn unknown_fields(unknown: &[String]) -> String {
    let all: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    format!("strict decoding error: {}", all.join(", "))
}

/// 422 of a patch that makes of its object what does not decode.
pub(super) fn invalid_patch(patched: &Value, why: &str) -> Refusal {
    about_options("", "", Cause::invalid("patch", &json!(patched.to_string()).to_string(), why))
}

/// 422 of the options of a request; `kind` is for instance `PatchOptions`.
pub(super) fn about_options(kind: &str, group: &str, cause: Cause) -> Refusal {
    let of = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let message = format!("{of} \"\" is invalid: {}: {}", cause.field, cause.message);
    let mut about =
        json!({"causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]});
    for (field, value) in [("group", group), ("kind", kind)] {
        if !value.is_empty() {
            about[field] = value.into();
        }
    }
    failure(422, "Invalid", &message, about)
}

/// 400 of a name that is not the one in the path.
pub(super) fn wrong_name(sent: &str, path: &str) -> Refusal {
    bad_request(&format!("the name of the object ({sent}) does not match the name on the URL ({path})"))
}

/// 400 of an object without a name.
pub(super) fn no_name(path: &str) -> Refusal {
    bad_request(&format!(
        "the name of the object ({path} based on URL) was undeterminable: name must be provided"
    ))
}

/// 400 of an object of another namespace.
pub(super) fn other_namespace() -> Refusal {
    bad_request("the namespace of the provided object does not match the namespace sent on the request")
}

/// What the server says of a kind that it does not know.
pub(super) fn no_kind(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\"")
}

/// What the server says of an object that it can decode, or not, but that is of another type than the path's.
pub(super) fn other_type(definition: &Definition, version: &str, kind: &str) -> String {
    let package = if definition.group.is_empty() {
        "core"
    } else {
        definition.group.split('.').next().unwrap_or_default()
    };
    let short = version.rsplit('/').next().unwrap_or_default();
    let is_known = Resource::of_kind(version, kind).is_some_and(|other| !other.definition().custom);
    match is_known || (version, kind) == ("v1", "Status") {
        true => {
            format!("converting ({short}.{kind}) to ({package}.{}): unknown conversion", definition.kind)
        }
        false => no_kind(kind, short),
    }
}

/// 422 of an object of another kind than the path's.
pub(super) fn other_kind(definition: &Definition, kind: &str, name: &str, cause: &Cause) -> Refusal {
    let mut refusal = invalid(definition, name, std::slice::from_ref(cause));
    let message = refusal.message().replacen(definition.kind, kind, 1);
    refusal.body["message"] = message.into();
    refusal.body["details"]["kind"] = kind.into();
    refusal
}

/// 422 of a scale below zero.
pub(super) fn negative_scale(name: &str, cause: Cause) -> Refusal {
    let mut refusal = about_options("Scale", "autoscaling", cause);
    let message = refusal.message().replacen("\"\"", &format!("{name:?}"), 1);
    refusal.body["message"] = message.into();
    refusal.body["details"]["name"] = name.into();
    refusal
}

/// 403 of a creation in a namespace that is going away.
pub(super) fn namespace_terminating(definition: &Definition, name: &str, namespace: &str) -> Refusal {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let message = format!("{} \"{name}\" is forbidden: {why}", definition.qualified());
    let mut about = details(definition, name);
    let cause = json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    about.insert("causes".into(), json!([cause]));
    failure(403, "Forbidden", &message, about.into())
}

/// 405.
pub fn method_not_allowed() -> Refusal {
    failure(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        json!({}),
    )
}

/// 410 of a version that was compacted.
pub(super) fn expired(message: &str) -> Refusal {
    failure(410, "Expired", message, Value::Null)
}

/// 410 of a watch that starts before the oldest known version.
pub fn too_old(wanted: u64, oldest: u64) -> Refusal {
    expired(&format!("too old resource version: {wanted} ({oldest})"))
}

/// 504 of a version that the server has not reached.
pub(super) fn too_large(wanted: u64, current: u64) -> Refusal {
    let about = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    failure(504, "Timeout", &message, about)
}

/// 415 with the formats that are accepted.
pub fn unsupported_media_type(accepted: &[&str]) -> Refusal {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    failure(415, "UnsupportedMediaType", &message, Value::Null)
}

/// 415 of a patch of a built-in kind.
pub(super) fn unknown_patch() -> Refusal {
    failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", json!({}))
}

/// 500 without a reason, as the server answers errors that it has no type for.
pub fn internal(message: &str) -> Refusal {
    failure(500, "", message, Value::Null)
}

/// 409 of a server-side apply: for each manager, the fields it owns.
pub(super) fn apply_conflict(conflicts: &[(String, String)]) -> Refusal {
    let message = match conflicts {
        [(who, field)] => format!("Apply failed with 1 conflict: conflict with {who}: {field}"),
        many => {
            let mut text = format!("Apply failed with {} conflicts: ", many.len());
            let mut last: Option<&str> = None;
            for (who, field) in many {
                if last != Some(who) {
                    let line = if last.is_some() { "\n" } else { "" };
                    text.push_str(&format!("{line}conflicts with {who}:"));
                    last = Some(who);
                }
                text.push_str(&format!("\n- {field}"));
            }
            text
        }
    };
    let causes: Vec<_> = conflicts
        .iter()
        .map(|(who, field)| {
            let message = format!("conflict with {who}");
            json!({"reason": "FieldManagerConflict", "message": message, "field": field})
        })
        .collect();
    failure(409, "Conflict", &message, json!({"causes": causes}))
}

/// A fault of the server or the network, as faults are made of.
pub fn fault(code: u16) -> Refusal {
    match code {
        409 => failure(409, "Conflict", "the object has been modified (planted fault)", json!({})),
        429 => failure(
            429,
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
            json!({"retryAfterSeconds": 1}),
        ),
        504 => failure(
            504,
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request",
            json!({}),
        ),
        403 => failure(403, "Forbidden", "forbidden (planted fault)", json!({})),
        _ => failure(
            code,
            "InternalError",
            "Internal error occurred: planted fault",
            json!({"causes": [{"message": "planted fault"}]}),
        ),
    }
}

/// 200 of a deletion that is done.
pub(super) fn deleted(definition: &Definition, name: &str, uid: &str) -> Response {
    let mut about = details(definition, name);
    about.insert("uid".into(), uid.into());
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about});
    Response { status: 200, body }
}

/// 201 of an accepted eviction.
pub(super) fn evicted() -> Response {
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Response { status: 201, body }
}
