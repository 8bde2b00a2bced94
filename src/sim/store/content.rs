//! What the server refuses in the content of built-in kinds, in its words.

use serde_json::Value;

use super::{resource::Resource, selector::Selectors, status::Cause, text};

type Check = fn(&Value, Option<&Value>, &mut Vec<Cause>);

/// Kinds with rules of their own.
const CHECKED: &[(Resource, Check)] = &[
    (Resource::ReplicaSets, workload),
    (Resource::Deployments, workload),
    (Resource::ReplicaSets, replica_set_status),
    (Resource::Services, service),
    (Resource::Pods, |pod, _, causes| pod_spec(pod.get("spec").unwrap_or(&Value::Null), "spec", causes)),
    (Resource::Events, event),
    (Resource::ConfigMaps, config_map),
    (Resource::Secrets, secret),
    (Resource::Leases, lease),
];

/// Adds what of the object is refused, next to the live one where there is one.
pub(super) fn check(resource: Resource, object: &Value, live: Option<&Value>, causes: &mut Vec<Cause>) {
    for (_, check) in CHECKED.iter().filter(|(kind, _)| *kind == resource) {
        check(object, live, causes);
    }
}

fn missing(field: &str) -> Cause {
    Cause { reason: "FieldValueRequired", message: "Required value".into(), field: field.into() }
}

fn forbidden(field: &str, why: &str) -> Cause {
    Cause { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
}

fn not_negative(object: &Value, pointer: &str, causes: &mut Vec<Cause>) {
    if let Some(count) = object.pointer(pointer).and_then(Value::as_i64).filter(|count| *count < 0) {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        causes.push(Cause::invalid(&field, &count.to_string(), "must be greater than or equal to 0"));
    }
}

fn workload(object: &Value, live: Option<&Value>, causes: &mut Vec<Cause>) {
    not_negative(object, "/spec/replicas", causes);
    not_negative(object, "/spec/minReadySeconds", causes);
    let template = object.pointer("/spec/template").unwrap_or(&Value::Null);
    let selector = object.pointer("/spec/selector").and_then(Selectors::of_object);
    match &selector {
        None => causes.push(missing("spec.selector")),
        Some(selector) if selector.is_everything() => {
            causes.push(Cause::invalid("spec.selector", "{}", "empty selector is invalid for deployment"));
        }
        Some(_) => {}
    }
    if selector.is_none_or(|selector| !selector.is_everything() && !selector.matches(template)) {
        let labels = template.pointer("/metadata/labels").unwrap_or(&Value::Null).to_string();
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, why));
    }
    pod_spec(template.get("spec").unwrap_or(&Value::Null), "spec.template.spec", causes);
    let pick = |of: &Value| of.pointer("/spec/selector").cloned();
    if let Some(before) = live.and_then(pick)
        && let after = pick(object)
        && after.as_ref() != Some(&before)
    {
        let shown = after.unwrap_or_default().to_string();
        causes.push(Cause::invalid("spec.selector", &shown, "field is immutable"));
    }
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec.get("containers").and_then(Value::as_array);
    if containers.is_none_or(Vec::is_empty) {
        causes.push(missing(&format!("{path}.containers")));
    }
    for (at, container) in containers.into_iter().flatten().enumerate() {
        for field in ["name", "image"] {
            if text(container, &format!("/{field}")).is_empty() {
                causes.push(missing(&format!("{path}.containers[{at}].{field}")));
            }
        }
    }
}

fn replica_set_status(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let count =
        |field: &str| object.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0);
    const COUNTS: [&str; 4] = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    for field in COUNTS {
        not_negative(object, &format!("/status/{field}"), causes);
    }
    let above = |field: &str, most: &str, causes: &mut Vec<Cause>| {
        if count(field) > count(most) {
            let why =
                format!("cannot be greater than {}{most}", if most == "replicas" { "status." } else { "" });
            causes.push(Cause::invalid(&format!("status.{field}"), &count(field).to_string(), &why));
        }
    };
    COUNTS.iter().skip(1).for_each(|field| above(field, "replicas", causes));
    above("availableReplicas", "readyReplicas", causes);
}

fn service(object: &Value, live: Option<&Value>, causes: &mut Vec<Cause>) {
    let kind = text(object, "/spec/type");
    let portless = text(object, "/spec/clusterIP") == "None" || kind == "ExternalName";
    let ports =
        object.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !portless && ports.is_empty() {
        causes.push(missing("spec.ports"));
    }
    for (at, port) in ports.iter().enumerate() {
        service_port(port, at, ports, causes);
    }
    let affinity = text(object, "/spec/sessionAffinity");
    if !["ClientIP", "None"].contains(&affinity) {
        causes.push(unsupported("spec.sessionAffinity", affinity, &["ClientIP", "None"]));
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kinds.contains(&kind) {
        causes.push(unsupported("spec.type", kind, &kinds));
    }
    let before = live.map(|live| text(live, "/spec/clusterIP")).filter(|address| !address.is_empty());
    let after = text(object, "/spec/clusterIP");
    if before.is_some_and(|before| before != after && !after.is_empty()) && kind != "ExternalName" {
        let shown = serde_json::json!([after]).to_string();
        causes.push(Cause::invalid("spec.clusterIPs[0]", &shown, "may not change once set"));
    }
}

fn unsupported(field: &str, value: &str, supported: &[&str]) -> Cause {
    let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
    let message = format!("Unsupported value: {value:?}: supported values: {}", supported.join(", "));
    Cause { reason: "FieldValueNotSupported", message, field: field.into() }
}

fn service_port(port: &Value, at: usize, all: &[Value], causes: &mut Vec<Cause>) {
    let name = text(port, "/name");
    if all.len() > 1 && name.is_empty() {
        causes.push(missing(&format!("spec.ports[{at}].name")));
    } else if !name.is_empty() && all.iter().take(at).any(|other| text(other, "/name") == name) {
        let message = format!("Duplicate value: {name:?}");
        causes.push(Cause {
            reason: "FieldValueDuplicate",
            message,
            field: format!("spec.ports[{at}].name"),
        });
    }
    for field in ["port", "targetPort"] {
        if let Some(number) =
            port.get(field).and_then(Value::as_i64).filter(|number| !(1..=65535).contains(number))
        {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(&format!("spec.ports[{at}].{field}"), &number.to_string(), why));
        }
    }
}

fn event(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let about = text(object, "/involvedObject/namespace");
    if about != text(object, "/metadata/namespace") {
        let field = "involvedObject.namespace";
        causes.push(Cause::invalid(field, &format!("{about:?}"), "does not match event.namespace"));
    }
}

const DATA_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn data_keys(object: &Value, field: &str, causes: &mut Vec<Cause>) {
    for key in object.get(field).and_then(Value::as_object).into_iter().flat_map(|data| data.keys()) {
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || !key.chars().all(valid) {
            causes.push(Cause::invalid(&format!("{field}[{key}]"), &format!("{key:?}"), DATA_KEY));
        }
    }
}

/// What is marked immutable keeps its data and its mark.
fn immutable(object: &Value, live: Option<&Value>, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(live) = live.filter(|live| live.get("immutable") == Some(&Value::Bool(true))) else { return };
    let why = "field is immutable when `immutable` is set";
    if object.get("immutable") != Some(&Value::Bool(true)) {
        causes.push(forbidden("immutable", why));
    }
    for field in fields.iter().filter(|field| object.get(**field) != live.get(**field)) {
        causes.push(forbidden(field, why));
    }
}

fn config_map(object: &Value, live: Option<&Value>, causes: &mut Vec<Cause>) {
    immutable(object, live, &["data", "binaryData"], causes);
    data_keys(object, "data", causes);
    data_keys(object, "binaryData", causes);
}

fn secret(object: &Value, live: Option<&Value>, causes: &mut Vec<Cause>) {
    if let Some(live) = live
        && live.get("type") != object.get("type")
    {
        let shown = object.get("type").unwrap_or(&Value::Null).to_string();
        causes.push(Cause::invalid("type", &shown, "field is immutable"));
    }
    immutable(object, live, &["data"], causes);
    data_keys(object, "data", causes);
}

fn lease(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let number = |field: &str| object.pointer(&format!("/spec/{field}")).and_then(Value::as_i64);
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            &seconds.to_string(),
            "must be greater than 0",
        ));
    }
    if let Some(count) = number("leaseTransitions").filter(|count| *count < 0) {
        causes.push(Cause::invalid(
            "spec.leaseTransitions",
            &count.to_string(),
            "must be greater than or equal to 0",
        ));
    }
}
