//! What the server fills in: the defaults that clients read back.

use serde_json::{Map, Value, json};

use super::resource::Resource;

type Fill = fn(&mut Value);

/// Kinds with defaults.
const FILLED: &[(Resource, Fill)] = &[
    (Resource::Pods, pod),
    (Resource::ReplicaSets, replica_set),
    (Resource::Deployments, deployment),
    (Resource::Services, service),
    (Resource::Secrets, secret),
    (Resource::Namespaces, namespace),
    (Resource::Events, event),
];

/// Fills in the defaults of a kind, at creation and at every update. Custom kinds have none.
pub(super) fn fill(resource: Resource, object: &mut Value) {
    for (_, fill) in FILLED.iter().filter(|(kind, _)| *kind == resource) {
        fill(object);
    }
}

type Begin = fn(&Value, &str) -> Value;

/// Kinds whose status begins in the store, from the object and the time.
const BEGUN: &[(Resource, Begin)] = &[
    (Resource::Pods, |pod, _| json!({"phase": "Pending", "qosClass": quality(pod)})),
    (Resource::ReplicaSets, |_, _| json!({"replicas": 0})),
    (Resource::Deployments, |_, _| json!({})),
    (Resource::Nodes, |_, _| json!({})),
    (Resource::Services, |_, _| json!({"loadBalancer": {}})),
    (Resource::Namespaces, |_, _| json!({"phase": "Active"})),
    (Resource::CustomResourceDefinitions, established),
];

/// The status a new object of the kind begins with, in place of the one that was sent.
pub(super) fn initial_status(resource: Resource, object: &Value, now: &str) -> Option<Value> {
    let (_, begin) = BEGUN.iter().find(|(kind, _)| *kind == resource)?;
    Some(begin(object, now))
}

fn child<'a>(object: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut here = object;
    for step in path {
        here = here.as_object_mut()?.entry((*step).to_owned()).or_insert_with(|| json!({}));
    }
    here.as_object_mut()
}

fn set(object: &mut Value, path: &[&str], field: &str, value: Value) {
    if let Some(fields) = child(object, path) {
        fields.entry(field.to_owned()).or_insert(value);
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = child(object, &["spec"]) {
        pod_spec(spec);
        spec.entry("enableServiceLinks").or_insert(json!(true));
    }
}

/// What admission adds to a new object, after its owners are booked: nobody owns it.
pub(super) fn admit(resource: Resource, object: &mut Value) {
    if resource == Resource::Namespaces {
        set(object, &["spec"], "finalizers", json!(["kubernetes"]));
    }
    if resource != Resource::Pods {
        return;
    }
    let Some(spec) = child(object, &["spec"]) else { return };
    let toleration = |key: &str| {
        json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 300})
    };
    for (field, value) in [
        ("priority", json!(0)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("tolerations", json!([toleration("not-ready"), toleration("unreachable")])),
    ] {
        spec.entry(field.to_owned()).or_insert(value);
    }
}

fn template(object: &mut Value) {
    if let Some(spec) = child(object, &["spec", "template", "spec"]) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        spec.entry(field.to_owned()).or_insert(value);
    }
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            pod_container(container);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "projected"] {
            if let Some(fields) = volume.get_mut(source).and_then(Value::as_object_mut) {
                fields.entry("defaultMode").or_insert(json!(420));
            }
        }
    }
}

fn pod_container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = match tag(image) {
        "" | "latest" if !image.contains('@') => "Always",
        _ => "IfNotPresent",
    };
    for (field, value) in [
        ("imagePullPolicy", json!(policy)),
        ("resources", json!({})),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
    ] {
        container.entry(field.to_owned()).or_insert(value);
    }
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        set(port, &[], "protocol", json!("TCP"));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(fields) = container.get_mut(probe).and_then(Value::as_object_mut) else { continue };
        for (field, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            fields.entry(field.to_owned()).or_insert(json!(value));
        }
        if let Some(get) = fields.get_mut("httpGet").and_then(Value::as_object_mut) {
            get.entry("scheme").or_insert(json!("HTTP"));
            get.entry("path").or_insert(json!("/"));
        }
    }
}

/// The tag of an image; empty where there is none.
pub fn tag(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => "",
    }
}

fn quality(pod: &Value) -> &'static str {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let resources = || containers.into_iter().flatten().filter_map(|container| container.get("resources"));
    let some = |resources: &Value, field: &str| {
        resources.get(field).and_then(Value::as_object).is_some_and(|fields| !fields.is_empty())
    };
    let full = |resources: &Value| {
        ["cpu", "memory"].iter().all(|kind| {
            let limit = resources.pointer(&format!("/limits/{kind}"));
            let request = resources.pointer(&format!("/requests/{kind}"));
            limit.is_some() && (request.is_none() || request == limit)
        })
    };
    if resources().all(|resources| !some(resources, "requests") && !some(resources, "limits")) {
        "BestEffort"
    } else if resources().all(full) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn replica_set(object: &mut Value) {
    set(object, &["spec"], "replicas", json!(1));
    template(object);
}

fn deployment(object: &mut Value) {
    template(object);
    for (field, value) in
        [("replicas", json!(1)), ("revisionHistoryLimit", json!(10)), ("progressDeadlineSeconds", json!(600))]
    {
        set(object, &["spec"], field, value);
    }
    set(object, &["spec", "strategy"], "type", json!("RollingUpdate"));
    if object.pointer("/spec/strategy/type").and_then(Value::as_str) == Some("RollingUpdate") {
        for field in ["maxSurge", "maxUnavailable"] {
            set(object, &["spec", "strategy", "rollingUpdate"], field, json!("25%"));
        }
    }
}

fn service(object: &mut Value) {
    for (field, value) in [("type", json!("ClusterIP")), ("sessionAffinity", json!("None"))] {
        set(object, &["spec"], field, value);
    }
    if object.pointer("/spec/type").and_then(Value::as_str) != Some("ExternalName") {
        set(object, &["spec"], "internalTrafficPolicy", json!("Cluster"));
    }
    if object.pointer("/spec/sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
        set(object, &["spec", "sessionAffinityConfig", "clientIP"], "timeoutSeconds", json!(10800));
    }
    if object.pointer("/spec/sessionAffinity").and_then(Value::as_str) == Some("None")
        && let Some(spec) = child(object, &["spec"])
    {
        spec.remove("sessionAffinityConfig");
    }
    let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        set(port, &[], "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        if port.get("targetPort").is_none_or(|target| *target == json!(0) || *target == json!("")) {
            port["targetPort"] = number;
        }
    }
}

fn secret(object: &mut Value) {
    set(object, &[], "type", json!("Opaque"));
    let Some(plain) = object.as_object_mut().and_then(|fields| fields.remove("stringData")) else { return };
    let Some(data) = child(object, &["data"]) else { return };
    for (key, value) in plain.as_object().into_iter().flatten() {
        data.insert(key.clone(), base64(value.as_str().unwrap_or_default().as_bytes()).into());
    }
}

/// Standard base64 with padding, as Secrets have it.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Fields that are printed even when nobody set them.
fn event(object: &mut Value) {
    for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        set(object, &[], field, Value::Null);
    }
    for field in ["reportingComponent", "reportingInstance"] {
        set(object, &[], field, json!(""));
    }
    set(object, &[], "source", json!({}));
}

fn namespace(object: &mut Value) {
    let name = object.pointer("/metadata/name").cloned().unwrap_or(Value::Null);
    set(object, &["metadata", "labels"], "kubernetes.io/metadata.name", name);
}

fn established(definition: &Value, now: &str) -> Value {
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let stored: Vec<_> = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage") == Some(&json!(true)))
        .filter_map(|version| version.get("name").cloned())
        .collect();
    json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": definition.pointer("/spec/names").cloned().unwrap_or_default(),
        "storedVersions": stored,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_set_comes_back_as_the_reference_trace_shows() {
        let mut object = json!({"metadata": {"name": "x"}, "spec": {"replicas": 0, "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "shop", "image": "registry.example/shop:v1.1.0",
                "ports": [{"name": "http", "containerPort": 8080}]}]}}}});
        fill(Resource::ReplicaSets, &mut object);
        assert_eq!(
            object["spec"]["template"]["spec"],
            json!({"containers": [{"name": "shop", "image": "registry.example/shop:v1.1.0",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}], "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent"}],
                "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "securityContext": {}, "schedulerName": "default-scheduler"})
        );
    }

    #[test]
    fn image_tags_are_told_from_ports_and_digests() {
        for (image, expected) in [
            ("shop:v1", "v1"),
            ("registry:5000/shop", ""),
            ("registry:5000/shop:v1@sha256:ab", "v1"),
            ("shop@sha256:ab", ""),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
    }

    #[test]
    fn plain_secrets_are_encoded() {
        for (plain, encoded) in
            [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
