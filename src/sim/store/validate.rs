//! What the server refuses before it stores anything.

use serde_json::{Map, Value};

use super::{
    at,
    resource::{Definition, Names, Resource},
    selector::Selectors,
    status::{Cause, Refusal, bad_request, invalid},
    text,
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
            Some(Value::Object(pairs)) => pairs_causes(field, pairs, &mut causes)?,
            Some(_) => {
                return Err(bad_request(&format!("{field}: Invalid value: must be a map of strings")));
            }
        }
    }
    content(resource, object, live, &mut causes);
    if causes.is_empty() { Ok(()) } else { Err(invalid(definition, name, &causes)) }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

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

fn is_word(word: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    word.len() <= 63 && word.chars().all(inner) && word.starts_with(outer) && word.ends_with(outer)
}

/// Most bytes all annotations of an object may have together.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

fn pairs_causes(field: &str, pairs: &Map<String, Value>, causes: &mut Vec<Cause>) -> Result<(), Refusal> {
    let mut bytes = 0;
    for (key, value) in pairs {
        let Some(value) = value.as_str() else {
            return Err(bad_request(&format!(
                "json: cannot unmarshal {} into Go struct field ObjectMeta.{field} of type string",
                json_type(value)
            )));
        };
        bytes += key.len() + value.len();
        let (prefix, word) = key.split_once('/').unwrap_or(("", key));
        let prefix_ok = !key.contains('/') || prefix.split('.').all(is_dns_label);
        if !is_word(word) || !prefix_ok {
            causes.push(Cause::invalid(field, &format!("{key:?}"), QUALIFIED_NAME));
        }
        if field == "metadata.labels" && !value.is_empty() && !is_word(value) {
            let why = if value.len() > 63 { "must be no more than 63 bytes" } else { LABEL_VALUE };
            causes.push(Cause::invalid(field, &format!("{value:?}"), why));
        }
    }
    if field == "metadata.annotations" && bytes > ANNOTATIONS_MAX_BYTES {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {ANNOTATIONS_MAX_BYTES} bytes"),
            field: field.to_owned(),
        });
    }
    Ok(())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Fields that keep the value they were created with: where, as messages name it, and why.
const IMMUTABLE: &[(Resource, &str, &str, &str)] = &[
    (Resource::ReplicaSets, "/spec/selector", "spec.selector", "field is immutable"),
    (Resource::Deployments, "/spec/selector", "spec.selector", "field is immutable"),
    (Resource::Rollouts, "/spec/selector", "spec.selector", ".spec.selector is immutable"),
    (Resource::SelfHeals, "/spec", "spec", "Value is immutable"),
];

type Check = fn(&Value, &mut Vec<Cause>);

/// Kinds with rules of their own.
const CHECKED: &[(Resource, Check)] = &[
    (Resource::ReplicaSets, workload),
    (Resource::Deployments, workload),
    (Resource::Services, service),
    (Resource::Pods, pod),
    (Resource::Events, event),
];

fn content(resource: Resource, object: &Value, live: Option<&Value>, causes: &mut Vec<Cause>) {
    for (_, check) in CHECKED.iter().filter(|(kind, _)| *kind == resource) {
        check(object, causes);
    }
    let Some(live) = live else { return };
    for (_, pointer, field, why) in IMMUTABLE.iter().filter(|(kind, ..)| *kind == resource) {
        let (before, after) = (at(live, pointer), at(object, pointer));
        if before.is_some() && before != after {
            let shown = match after {
                Some(Value::Object(_)) if resource.definition().custom => "\"object\"".to_owned(),
                after => after.unwrap_or(&Value::Null).to_string(),
            };
            causes.push(Cause::invalid(field, &shown, why));
        }
    }
}

fn missing(field: &str) -> Cause {
    Cause { reason: "FieldValueRequired", message: "Required value".into(), field: field.into() }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let portless = text(object, "/spec/clusterIP") == "None" || text(object, "/spec/type") == "ExternalName";
    let ports = at(object, "/spec/ports").and_then(Value::as_array);
    if !portless && ports.is_none_or(Vec::is_empty) {
        causes.push(missing("spec.ports"));
    }
}

fn event(object: &Value, causes: &mut Vec<Cause>) {
    let about = text(object, "/involvedObject/namespace");
    if !about.is_empty() && about != text(object, "/metadata/namespace") {
        let field = "involvedObject.namespace";
        causes.push(Cause::invalid(field, &format!("{about:?}"), "does not match event.namespace"));
    }
}

fn pod(object: &Value, causes: &mut Vec<Cause>) {
    let containers = at(object, "/spec/containers").and_then(Value::as_array);
    if containers.is_none_or(Vec::is_empty) {
        causes.push(missing("spec.containers"));
    }
}

fn workload(object: &Value, causes: &mut Vec<Cause>) {
    let Some(selector) = at(object, "/spec/selector").and_then(Selectors::of_object) else {
        causes.push(missing("spec.selector"));
        return;
    };
    let template = at(object, "/spec/template").unwrap_or(&Value::Null);
    if selector.is_everything() {
        let why = "empty selector is invalid for deployment";
        causes.push(Cause::invalid("spec.selector", "{}", why));
    } else if !selector.matches(template) {
        let labels = at(template, "/metadata/labels").unwrap_or(&Value::Null).to_string();
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, why));
    }
}
