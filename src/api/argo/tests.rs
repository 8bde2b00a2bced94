use proptest::{
    prelude::{Just, any, prop, prop_oneof, proptest},
    strategy::Strategy as _,
};
use serde_json::{Value, json};

use super::*;

fn crd_of(kind: &str) -> Value {
    crd::all().unwrap().into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap()
}

/// Calls `each` with the path and the schema of every node.
fn walk(path: &str, node: &Value, each: &mut impl FnMut(&str, &Value)) {
    each(path, node);
    for below in ["items", "additionalProperties"] {
        if let Some(below) = node.get(below).filter(|below| below.is_object()) {
            walk(&format!("{path}[]"), below, each);
        }
    }
    for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, each);
    }
}

#[test]
fn no_crd_prunes_defaults_or_narrows_anything() {
    for crd in crd::all().unwrap() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        walk(kind, &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |path, node| {
            for narrowing in
                ["default", "nullable", "enum", "minimum", "maximum", "maxLength", "maxItems", "pattern"]
            {
                assert!(node.get(narrowing).is_none(), "{path} has {narrowing}");
            }
            let required = node.get("required").and_then(Value::as_array).map_or(0, Vec::len);
            let is_upstream = path == kind || path.ends_with("matchExpressions[]");
            assert!(required == 0 || is_upstream, "{path} requires {}", node["required"]);
            let is_map = node.get("additionalProperties").is_some();
            let is_object = node["type"] == json!("object") || node.get("properties").is_some();
            let keeps = node.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            assert!(!is_object || is_map || keeps, "{path} loses fields");
        });
    }
}

#[test]
fn every_field_is_explained() {
    for crd in crd::all().unwrap() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        walk(kind, &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |path, node| {
            let about = node.get("description").and_then(Value::as_str).unwrap_or_default();
            let is_item = path.ends_with("[]") || path.ends_with(".metadata") || path.ends_with(".status");
            assert!(is_item || about.len() > 3, "{path} has no description");
            assert!(!about.contains('\n'), "{path}: {about}");
        });
    }
}

#[test]
fn analysis_runs_and_experiments_have_no_status_subresource() {
    for (kind, subresources) in [
        ("AnalysisRun", json!({})),
        ("Experiment", json!({})),
        ("AnalysisTemplate", Value::Null),
        (
            "Rollout",
            json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.HPAReplicas", "labelSelectorPath": ".status.selector"}}),
        ),
    ] {
        assert_eq!(crd_of(kind)["spec"]["versions"][0]["subresources"], subresources, "{kind}");
    }
}

#[test]
fn cluster_template_is_an_analysis_template_without_namespace() {
    let (cluster, own) = (crd_of("ClusterAnalysisTemplate"), crd_of("AnalysisTemplate"));
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    assert_eq!(cluster.pointer(schema).unwrap(), own.pointer(schema).unwrap());
    assert_eq!([&cluster["spec"]["scope"], &own["spec"]["scope"]], ["Cluster", "Namespaced"]);
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ClusterAnalysisTemplate",
        "metadata": {"name": "t"}, "spec": {"metrics": []}});
    assert_eq!(parse::<AnalysisTemplate>(&object).unwrap().spec.metrics, Some(vec![]));
}

#[test]
fn selector_cannot_change() {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/selector";
    let selector = crd_of("Rollout").pointer(path).unwrap().clone();
    assert_eq!(selector["x-kubernetes-validations"][0]["rule"], "self == oldSelf");
}

fn story() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "myapp", "namespace": "shop", "generation": 3},
        "spec": {
            "replicas": 10,
            "selector": {"matchLabels": {"app": "myapp"}},
            "template": {"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": []}},
            "neverHeardOf": {"x": 1},
            "strategy": {"canary": {
                "canaryService": "myapp-canary",
                "stableService": "myapp-stable",
                "maxSurge": "25%",
                "trafficRouting": {
                    "istio": {"virtualService": {"name": "myapp-vsvc", "routes": ["primary"]}},
                    "nginx": {"stableIngress": "x"},
                },
                "steps": [
                    {"setWeight": 10}, {"pause": {"duration": "2m"}}, {"pause": {"duration": 120}}, {"pause": {}},
                    {"analysis": {"templates": [{"templateName": "success-rate"}],
                        "args": [{"name": "service-name", "value": "myapp-canary"}]}},
                    {"setHeaderRoute": {"name": "h", "match": []}}, {"setHeaderRoute": {"name": "h"}},
                ],
            }},
        },
        "status": {
            "HPAReplicas": 10, "stableRS": "764594489", "currentStepIndex": 7, "observedGeneration": "3",
            "canary": {"weights": {"canary": {"weight": 0}, "stable": {"weight": 100, "serviceName": "myapp-stable"}}},
            "conditions": [{"type": "Healthy", "status": "True", "reason": "RolloutHealthy", "message": "",
                "lastUpdateTime": "2026-11-21T11:05:06Z", "lastTransitionTime": "2026-11-21T13:05:06+02:00"}],
        },
    })
}

#[test]
fn rollout_is_read_as_it_is_written() {
    let rollout: Rollout = parse(&story()).unwrap();
    let canary = rollout.spec.strategy.as_ref().unwrap().canary.as_ref().unwrap();
    let steps = canary.steps.as_deref().unwrap();
    assert_eq!(rollout.spec.replicas, Some(10));
    assert_eq!(canary.max_surge, Some(IntOrString::Text("25%".into())));
    assert_eq!(steps[0].set_weight, Some(10));
    assert_eq!(steps[1].pause.as_ref().unwrap().duration, Some(IntOrString::Text("2m".into())));
    assert_eq!(steps[2].pause.as_ref().unwrap().duration, Some(IntOrString::Int(120)));
    assert_eq!(steps[3].pause, Some(Pause { duration: None }));
    assert_eq!(steps[5].set_header_route.as_ref().unwrap().r#match, Some(vec![]));
    assert_eq!(steps[6].set_header_route.as_ref().unwrap().r#match, None);
    let routing = canary.traffic_routing.as_ref().unwrap();
    assert_eq!(routing.nginx, Some(json!({"stableIngress": "x"})));
    assert_eq!(routing.alb, None);
    let status = rollout.status.unwrap();
    assert_eq!(status.hpa_replicas, Some(10));
    assert_eq!(status.stable_rs.as_deref(), Some("764594489"));
    let condition = &status.conditions.unwrap()[0];
    assert_eq!(condition.last_update_time, condition.last_transition_time);
}

#[test]
fn what_is_read_is_printed_without_what_is_absent() {
    let rollout: Rollout = parse(&story()).unwrap();
    let mut expected = story();
    expected["spec"].as_object_mut().unwrap().remove("neverHeardOf");
    expected["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-21T11:05:06Z");
    assert_eq!(serde_json::to_value(rollout).unwrap(), expected);
}

#[test]
fn error_names_the_field() {
    for (path, value, message) in [
        (
            "/spec/strategy/canary/steps/0/setWeight",
            json!("ten"),
            r#"spec.strategy.canary.steps[0].setWeight: invalid type: string "ten", expected an integer"#,
        ),
        (
            "/spec/strategy/canary/steps/1/pause/duration",
            json!(1.5),
            "spec.strategy.canary.steps[1].pause.duration: invalid type: floating point `1.5`, expected an integer or a string",
        ),
        (
            "/spec/strategy/canary/steps",
            json!({"setWeight": 1}),
            "spec.strategy.canary.steps: invalid type: object, expected a list",
        ),
        (
            "/status/conditions/0/lastUpdateTime",
            json!("yesterday"),
            r#"status.conditions[0].lastUpdateTime: invalid value: string "yesterday", expected a time such as 2006-01-02T15:04:05Z"#,
        ),
        (
            "/status/currentStepIndex",
            json!([]),
            "status.currentStepIndex: invalid type: list, expected an integer",
        ),
    ] {
        let mut rollout = story();
        *rollout.pointer_mut(path).unwrap() = value;
        assert_eq!(parse::<Rollout>(&rollout).unwrap_err().to_string(), message);
    }
    assert_eq!(parse::<RolloutSpec>(&json!(5)).unwrap_err().path, ".");
}

#[test]
fn absent_and_null_are_the_same() {
    let nothing: RolloutSpec = parse(&json!({})).unwrap();
    let nulls: RolloutSpec = parse(
        &json!({"replicas": null, "selector": null, "template": null, "strategy": null, "restartAt": null}),
    )
    .unwrap();
    assert_eq!(nothing, nulls);
    assert_eq!(nothing, RolloutSpec::default());
}

#[test]
fn analysis_run_of_the_reference_is_read() {
    let run: AnalysisRun = parse(&json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": "r"},
        "spec": {"metrics": [{"name": "error-rate", "interval": "1m", "failureLimit": "3", "count": 5,
            "provider": {"prometheus": {"address": "http://p:9090", "query": "q",
                "authentication": {"sigv4": {}, "oauth2": {}}}, "job": {"spec": {}}}}]},
        "status": {"phase": "Failed", "runSummary": {}, "dryRunSummary": {}, "metricResults": [{"name": "error-rate",
            "phase": "Failed", "failed": 4, "count": 4, "measurements": [{"phase": "Failed", "value": "0.08",
            "startedAt": "2026-11-21T11:05:06Z", "finishedAt": "2026-11-21T11:05:07.9Z"}]}]},
    }))
    .unwrap();
    let metric = &run.spec.metrics.unwrap()[0];
    assert_eq!(metric.failure_limit, Some(IntOrString::Text("3".into())));
    assert!(metric.provider.as_ref().unwrap().job.is_some());
    let result = &run.status.unwrap().metric_results.unwrap()[0];
    let finished = result.measurements.as_ref().unwrap()[0].finished_at.unwrap();
    assert_eq!(finished.to_string(), "2026-11-21T11:05:07Z");
}

proptest! {
    #[test]
    fn any_value_in_any_field_is_read_or_refused(
        at in prop::sample::select(vec![
            "/spec", "/spec/replicas", "/spec/selector", "/spec/template", "/spec/strategy", "/spec/strategy/canary",
            "/spec/strategy/canary/steps", "/spec/strategy/canary/steps/0", "/spec/strategy/canary/maxSurge",
            "/spec/strategy/canary/trafficRouting/istio", "/status", "/status/canary", "/status/conditions",
            "/status/conditions/0/lastUpdateTime", "/metadata",
        ]),
        value in prop_oneof![
            Just(Value::Null), Just(json!([])), Just(json!({})), Just(json!([null])), any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from), any::<f64>().prop_map(Value::from), any::<String>().prop_map(Value::from),
        ],
    ) {
        let mut rollout = story();
        *rollout.pointer_mut(at).unwrap() = value;
        let _ = parse::<Rollout>(&rollout);
    }
}
