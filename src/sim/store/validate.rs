//! What the server refuses before it stores anything: names, labels, owners, and what each kind adds.

use serde_json::{Map, Value};

use super::{
    at, content,
    resource::{Definition, Names, Resource},
    status::{Cause, Refusal, bad_request, invalid},
    structural, text,
};

/// Checks an object that is about to be stored.
///
/// # Errors
/// 400 for metadata that does not decode, 422 with the causes otherwise.
pub(super) fn object(resource: Resource, object: &Value, live: Option<&Value>) -> Result<(), Refusal> {
    let definition = resource.definition();
    let mut causes = vec![];
    let name = text(object, "/metadata/name");
    if live.is_none() {
        causes.extend(name_cause(definition, name));
    }
    for (field, pointer) in
        [("metadata.labels", "/metadata/labels"), ("metadata.annotations", "/metadata/annotations")]
    {
        match at(object, pointer) {
            None | Some(Value::Null) => {}
            Some(Value::Object(pairs)) => pairs_causes(field, pairs, &mut causes),
            Some(_) => {
                return Err(bad_request(&format!("{field}: Invalid value: must be a map of strings")));
            }
        }
    }
    owner_causes(object, &mut causes);
    finalizer_causes(definition, object, &mut causes);
    if let Some(live) = live {
        let mut changed = vec![];
        identity_causes(object, live, &mut changed);
        if definition.custom {
            // The server looks at the metadata of custom kinds twice.
            causes.extend(changed.clone());
        }
        causes.extend(changed);
    }
    let of_metadata = causes.len();
    content::check(resource, object, live, &mut causes);
    if resource == Resource::Events && live.is_none() && causes.len() > of_metadata {
        // The metadata of a new one is looked at only where all else is right.
        causes.drain(..of_metadata);
    }
    let more = structural::check(resource, object, live, &causes);
    causes.extend(more);
    if causes.is_empty() { Ok(()) } else { Err(invalid(definition, name, &causes)) }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
pub(super) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn name_cause(definition: &Definition, name: &str) -> Option<Cause> {
    if name.is_empty() {
        return Some(Cause::required("metadata.name", "name or generateName is required"));
    }
    let (limit, valid, why) = match definition.names {
        Names::Subdomain => (253, name.split('.').all(is_dns_label), SUBDOMAIN),
        Names::Label => (63, is_dns_label(name), LABEL),
        Names::Label1035 => {
            (63, is_dns_label(name) && !name.starts_with(|c: char| c.is_ascii_digit()), LABEL_1035)
        }
    };
    let shown = format!("{name:?}");
    if name.len() > limit {
        return Some(Cause::invalid(
            "metadata.name",
            &shown,
            &format!("must be no more than {limit} characters"),
        ));
    }
    (!valid).then(|| Cause::invalid("metadata.name", &shown, why))
}

fn is_dns_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// True for what a label's value or the last part of its key may be, whatever its length.
pub(super) fn is_word(word: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    word.chars().all(inner) && word.starts_with(outer) && word.ends_with(outer)
}

/// Why a key of labels, annotations or finalizers is not valid.
fn key_faults(key: &str) -> Vec<String> {
    let (prefix, word) = key.split_once('/').unwrap_or(("", key));
    let mut faults = vec![];
    if word.contains('/') {
        let optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
        return vec![format!("a qualified name {QUALIFIED_NAME} {optional}")];
    }
    if key.starts_with('/') {
        faults.push("prefix part must be non-empty".to_owned());
    } else if key.contains('/') && !prefix.split('.').all(is_dns_label) {
        faults.push(format!("prefix part {SUBDOMAIN}"));
    }
    if word.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if word.len() > 63 {
        faults.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_word(word) {
        faults.push(format!("name part {QUALIFIED_NAME}"));
    }
    faults
}

/// Most bytes all annotations of an object may have together.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

fn pairs_causes(field: &str, pairs: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let mut bytes = 0;
    for (key, value) in pairs {
        let value = value.as_str().unwrap_or_default();
        bytes += key.len() + value.len();
        let shown = format!("{key:?}");
        causes.extend(key_faults(key).iter().map(|fault| Cause::invalid(field, &shown, fault)));
        if field == "metadata.labels" {
            let shown = format!("{value:?}");
            if value.len() > 63 {
                causes.push(Cause::invalid(field, &shown, "must be no more than 63 characters"));
            }
            if !value.is_empty() && !is_word(value) {
                causes.push(Cause::invalid(field, &shown, LABEL_VALUE));
            }
        }
    }
    if field == "metadata.annotations" && bytes > ANNOTATIONS_MAX_BYTES {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {ANNOTATIONS_MAX_BYTES} bytes"),
            field: field.to_owned(),
        });
    }
}

fn owner_causes(object: &Value, causes: &mut Vec<Cause>) {
    let field = "metadata.ownerReferences";
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owners = owners.map(Vec::as_slice).unwrap_or_default();
    for owner in owners {
        for (part, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, &format!("/{part}")).is_empty() {
                causes.push(Cause::invalid(&format!("{field}.{part}"), "\"\"", why));
            }
        }
    }
    let mut controllers = owners.iter().filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    if let (Some(first), Some(second)) = (controllers.next(), controllers.next()) {
        let called = |owner: &Value| format!("{}/{}", text(owner, "/kind"), text(owner, "/name"));
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            called(first),
            called(second)
        );
        let shown: Vec<String> = owners.iter().map(owner_printed).collect();
        causes.push(Cause::invalid(field, &format!("[{}]", shown.join(",")), &why));
    }
}

/// An owner in the order of the server's own type.
fn owner_printed(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let fields =
        fields.iter().filter_map(|field| owner.get(*field).map(|value| format!("{field:?}:{value}")));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizer_causes(definition: &Definition, object: &Value, causes: &mut Vec<Cause>) {
    let all = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    for (at, name) in all.into_iter().flatten().filter_map(Value::as_str).enumerate() {
        let shown = format!("{name:?}");
        causes.extend(
            key_faults(name).iter().map(|fault| Cause::invalid("metadata.finalizers", &shown, fault)),
        );
        // Leases and Events are looked at by fewer eyes.
        let is_core = !definition.custom && !["Lease", "Event"].contains(&definition.kind);
        if is_core && !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(&format!("metadata.finalizers[{at}]"), &shown, why));
        }
    }
}

/// What no update may change.
fn identity_causes(object: &Value, live: &Value, causes: &mut Vec<Cause>) {
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        let all = |of: &Value| -> Vec<String> {
            let all = of.pointer("/metadata/finalizers").and_then(Value::as_array);
            all.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let before = all(live);
        let new: Vec<String> =
            all(object).iter().filter(|one| !before.contains(one)).map(|one| format!("{one:?}")).collect();
        if !new.is_empty() {
            let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
            causes.push(Cause {
                reason: "FieldValueForbidden",
                message: format!("Forbidden: {why} []string{{{}}}", new.join(", ")),
                field: "metadata.finalizers".into(),
            });
        }
    }
    for field in ["uid", "deletionTimestamp"] {
        let pointer = format!("/metadata/{field}");
        let after = object.pointer(&pointer);
        if after != live.pointer(&pointer) {
            let shown = after.unwrap_or(&Value::Null).to_string();
            causes.push(Cause::invalid(&format!("metadata.{field}"), &shown, "field is immutable"));
        }
    }
}
