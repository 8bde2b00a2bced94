use serde_json::{Value, json};

use super::*;

fn schema_of(definition: &CustomResourceDefinition) -> Value {
    serde_json::to_value(&definition.spec.versions[0].schema).unwrap()
}

/// Every string and list below `schema` that has no bound, except what Kubernetes itself defines.
fn unbounded(at: &str, schema: &Value, found: &mut Vec<String>) {
    let foreign = ["/conditions", "/rolloutSelector", "/metadata", "/apiVersion", "/kind"];
    if foreign.iter().any(|end| at.ends_with(end)) {
        return;
    }
    let bounded = |key: &str| schema.get(key).is_some();
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !bounded("maxLength") && !bounded("enum") && !bounded("format") => {
            found.push(at.into());
        }
        Some("array") if !bounded("maxItems") => found.push(at.into()),
        Some(_) | None => {}
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        unbounded(&format!("{at}/{name}"), property, found);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            unbounded(&format!("{at}/{key}"), inner, found);
        }
    }
}

#[test]
fn every_string_and_list_has_a_bound() {
    for definition in definitions() {
        let mut found = vec![];
        unbounded("", &schema_of(&definition)["openAPIV3Schema"], &mut found);
        assert!(found.is_empty(), "{:?}: {found:?}", definition.metadata.name);
    }
}

#[test]
fn records_and_intents_have_a_status_of_their_own_and_policies_have_none() {
    let with_status: Vec<_> = definitions()
        .iter()
        .map(|d| {
            let status = d.spec.versions[0].subresources.as_ref().and_then(|s| s.status.as_ref());
            (d.metadata.name.clone().unwrap(), status.is_some())
        })
        .collect();
    assert_eq!(
        with_status,
        [
            ("rolloutrecords.serin.dev".into(), true),
            ("selfhealpolicies.serin.dev".into(), false),
            ("selfheals.serin.dev".into(), true)
        ]
    );
}

#[test]
fn a_policy_with_only_what_is_required_is_a_dry_run_for_failed_metrics() {
    let policy: SelfHealPolicySpec = serde_json::from_value(json!({
        "git": {"url": "https://git.example/deploy.git", "branch": "main"},
        "target": {"path": "apps/cart.yaml", "kind": "Manifest"}
    }))
    .unwrap();
    assert_eq!(policy.mode, Mode::DryRun);
    assert_eq!(policy.on, [Trigger::MetricFailed]);
    assert_eq!(policy.author.name, "SelfHeal Bot");
    assert_eq!(policy.limits.per_hour, 10);
}

#[test]
fn the_definitions_say_the_defaults() {
    let schema = schema_of(&definitions()[1]);
    let spec = &schema["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(spec["mode"]["default"], "DryRun");
    assert_eq!(spec["on"]["default"], json!(["MetricFailed"]));
    assert_eq!(spec["author"]["default"]["name"], "SelfHeal Bot");
}

#[test]
fn an_intent_reads_and_prints_in_the_frozen_shape() {
    let wire = json!({
        "rolloutRef": {"name": "myapp", "uid": "u-1"},
        "bad": {"hash": "b", "images": {"app": "app:v1.2.0"}},
        "good": {"hash": "g", "images": {"app": "app:v1.1.0"}},
        "cause": "MetricFailed",
        "evidence": {
            "run": "myapp-b-2", "metric": "error-rate", "value": "0.08", "limit": "result < 0.05",
            "query": "q", "samples": 4, "weight": 20,
            "startedAt": "2026-01-01T00:00:00Z", "failedAt": "2026-01-01T00:04:00Z"
        }
    });
    let spec: SelfHealSpec = serde_json::from_value(wire.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), wire);
}

#[test]
fn the_spec_of_an_intent_is_immutable() {
    let schema = schema_of(&definitions()[2]);
    assert_eq!(schema["openAPIV3Schema"]["x-kubernetes-validations"][0]["rule"], "self.spec == oldSelf.spec");
}

#[test]
fn an_empty_status_prints_as_attempts_alone() {
    assert_eq!(serde_json::to_value(SelfHealStatus::default()).unwrap(), json!({"attempts": 0}));
}
