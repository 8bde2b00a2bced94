//! `vectors.jsonl`: templates, hand-made and generated at random from `fields.txt`, with what Kubernetes' own code makes
//! of them. A throw-away Go program pruned and defaulted each by the Rollout CRD of Argo Rollouts v1.10.2, as the API
//! server does (apiextensions-apiserver v0.34.4), read it with `runtime.DefaultUnstructuredConverter`, printed it with
//! `encoding/json`, summed that with `hash/fnv` and `rand.SafeEncodeString` (`hash`; `error` where the conversion
//! refused it) and filled it with `SetObjectDefaults_PodTemplate` (`defaulted`): k8s.io/kubernetes v1.34.4, Go 1.26.
//! `steps.jsonl` is the same for lists of `CanaryStep` of Argo Rollouts v1.10.2. Larger runs of the same generators
//! (4,000 templates, 3,000 lists of steps) agreed too when the tables were made.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    template: Value,
    collision_count: Option<i32>,
    hash: Option<String>,
    defaulted: Option<Value>,
}

fn vectors() -> Vec<Vector> {
    include_str!("vectors.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn digest(template: &Value) -> Digest {
    template_digest(template, &Injected::none()).unwrap()
}

#[test]
fn template_hash_is_the_one_of_kubernetes() {
    let mut wrong = vec![];
    for vector in vectors() {
        let ours = template_hash(&vector.template, vector.collision_count);
        if ours.clone().ok() != vector.hash {
            wrong.push(format!("{:?} not {:?}: {}", ours, vector.hash, vector.template));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn template_hash_is_the_one_the_reference_gave_its_replica_sets() {
    for (image, hash) in [("v1.1.0", "764594489"), ("v1.2.0", "bb846f444"), ("v1.2.1", "5c9488dd59")] {
        let template = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{
            "image": format!("registry.example/shop:{image}"), "name": "shop",
            "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}]}});
        assert_eq!(template_hash(&template, None).unwrap(), hash);
    }
}

#[test]
fn digest_is_the_same_before_and_after_kubernetes_fills_in_defaults() {
    let mut wrong = vec![];
    for vector in vectors() {
        if let Some(defaulted) = vector.defaulted
            && digest(&vector.template) != digest(&defaulted)
        {
            wrong.push(format!("{}\n  {defaulted}", vector.template));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn templates_that_differ_have_digests_that_differ() {
    let mut seen = std::collections::BTreeMap::new();
    for defaulted in vectors().into_iter().filter_map(|vector| vector.defaulted) {
        if let Some(other) = seen.insert(digest(&defaulted), defaulted.clone()) {
            // Only what the digest is meant to ignore may differ.
            assert_eq!(ignorable(other), ignorable(defaulted));
        }
    }
    assert!(seen.len() > 100, "{} digests", seen.len());
}

/// Without the fields that a digest overlooks, for templates that Kubernetes has already normalised.
fn ignorable(mut template: Value) -> Value {
    if let Some(spec) = template.pointer_mut("/spec").and_then(Value::as_object_mut) {
        let deprecated = spec.remove("serviceAccount");
        if let Some(name) = deprecated.filter(|name| *name != json!("")) {
            spec.entry("serviceAccountName").or_insert(name);
        }
        spec.remove("affinity");
        if spec["containers"] == json!([]) {
            spec["containers"] = Value::Null;
        }
    }
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("rollouts-pod-template-hash");
    }
    template
}

#[test]
fn step_hash_is_the_one_of_the_reference() {
    #[derive(Deserialize)]
    struct Steps {
        steps: Value,
        hash: String,
    }
    let mut wrong = vec![];
    for line in include_str!("steps.jsonl").lines() {
        let Steps { steps, hash } = serde_json::from_str(line).unwrap();
        let ours = step_hash(Some(&steps));
        if ours != hash {
            wrong.push(format!("{ours} not {hash}: {steps}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(step_hash(None), step_hash(Some(&Value::Null)));
}

#[test]
fn filling_in_defaults_twice_changes_nothing() {
    for vector in vectors().into_iter().filter(|vector| vector.hash.is_some()) {
        let mut once = typed::Reader::Strict.read(&vector.template, "PodTemplateSpec").unwrap();
        defaults::apply(&mut once);
        let mut twice = once.clone();
        defaults::apply(&mut twice);
        assert_eq!(once, twice);
    }
}

#[test]
fn malformed_steps_have_a_hash_that_still_changes_with_the_rest() {
    let one = step_hash(Some(&json!([{"setWeight": "ten"}, {"setWeight": 20}])));
    let other = step_hash(Some(&json!([{"setWeight": "ten"}, {"setWeight": 30}])));
    assert_ne!(one, other);
    assert_eq!(step_hash(Some(&json!("steps"))), step_hash(None));
}

#[test]
fn error_names_the_field_and_both_types() {
    let template = json!({"spec": {"containers": [{"name": "a"}, {"ports": [{"containerPort": "eighty"}]}]}});
    assert_eq!(
        template_hash(&template, None).unwrap_err().to_string(),
        r#"spec.containers[1].ports[0].containerPort: expected an integer of 32 bits, found "eighty""#,
    );
    assert_eq!(
        template_hash(&json!([]), None).unwrap_err().to_string(),
        ".: expected an object, found a list"
    );
    let long = json!({"spec": {"overhead": {"cpu": "x".repeat(99)}}});
    assert_eq!(
        template_hash(&long, None).unwrap_err().to_string(),
        format!("spec.overhead.cpu: expected a quantity such as 500m or 1Gi, found \"{}...", "x".repeat(39)),
    );
}

#[test]
fn digest_overlooks_what_a_rollout_injects() {
    let users = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [
        {"name": "shop", "image": "shop:v1", "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}}}]}});
    let live = json!({
        "metadata": {
            "labels": {"app": "shop", "role": "canary", "rollouts-pod-template-hash": "764594489"},
            "annotations": {"note": "x"},
            "creationTimestamp": null,
        },
        "spec": {
            "containers": [{"name": "shop", "image": "shop:v1", "imagePullPolicy": "IfNotPresent",
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler",
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
                "labelSelector": {"matchExpressions": [
                    {"key": "rollouts-pod-template-hash", "operator": "In", "values": ["abc"]}]},
                "namespaces": ["shop"], "topologyKey": "kubernetes.io/hostname"}]}},
        },
    });
    let injected = Injected::parse(r#"{"labels":{"role":"canary"},"annotations":{"note":"x"}}"#);
    assert_eq!(template_digest(&live, &injected).unwrap(), digest(&users));
    assert_ne!(digest(&live), digest(&users));
}

#[test]
fn digest_sees_what_makes_other_pods() {
    let with = |path: &str, value: Value| {
        let mut template = json!({"metadata": {}, "spec": {"containers": [
            {"name": "a", "image": "a:1", "resources": {"requests": {"cpu": "1"}}}]}});
        let (parent, name) = path.rsplit_once('/').unwrap();
        template.pointer_mut(parent).unwrap()[name] = value;
        digest(&template)
    };
    let base = with("/metadata/labels", json!({}));
    assert_ne!(base, with("/spec/containers/0/image", json!("a:2")));
    assert_ne!(base, with("/spec/containers/0/resources/requests/cpu", json!("1.001")));
    assert_eq!(base, with("/spec/containers/0/resources/requests/cpu", json!("1000m")));
    assert_ne!(base, with("/spec/automountServiceAccountToken", json!(false)));
    assert_ne!(base, with("/spec/serviceAccount", json!("sa")));
    assert_eq!(with("/spec/serviceAccount", json!("sa")), with("/spec/serviceAccountName", json!("sa")));
    assert_eq!(base, with("/spec/affinity", json!({"podAntiAffinity": {}})));
}

#[test]
fn a_record_that_is_no_json_injects_nothing() {
    for text in ["", "null", "[]", "{\"labels\": 5}", "{\"labels\": null}"] {
        assert_eq!(Injected::parse(text), Injected::none(), "{text}");
    }
}

#[test]
fn a_number_that_does_not_fit_is_refused() {
    // The reference wraps it around in silence; no pod can come of that.
    let template = json!({"spec": {"priority": 2_147_483_648_i64}});
    assert_eq!(template_hash(&template, None).unwrap_err().path, "spec.priority");
}

/// Any JSON, with names and values that the table knows among it.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "metadata",
        "labels",
        "annotations",
        "spec",
        "containers",
        "image",
        "resources",
        "limits",
        "cpu",
        "ports",
        "volumes",
        "affinity",
        "podAntiAffinity",
        "setWeight",
        "pause",
        "plugin",
        "config",
        "creationTimestamp",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[-+]?[0-9.]{0,25}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_has_a_hash_or_an_error(value in any_json(), count in any::<Option<i32>>()) {
        let _ = template_hash(&value, count);
        let _ = template_digest(&value, &Injected::none());
        prop_assert_eq!(step_hash(Some(&value)), step_hash(Some(&value.clone())));
    }

    #[test]
    fn a_quantity_keeps_its_digest_when_printed_again(
        text in "[-+]?[0-9]{1,22}([.][0-9]{0,12})?(|m|u|n|k|M|G|T|P|Ki|Mi|Gi|Ti|e3|E-2)",
    ) {
        let template = |cpu: &str| json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": cpu}}]}});
        if let Some(read) = quantity::Quantity::from_json(&json!(text)) {
            let again = read.canonical();
            prop_assert_eq!(digest(&template(&text)), digest(&template(&again)), "{} -> {}", text, again);
        }
    }
}
