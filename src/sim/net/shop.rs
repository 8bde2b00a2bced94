//! The objects that a schedule begins with.

use serde_json::{Value, json};

use super::script::{Setup, StepOf};

pub(super) const NAMESPACE: &str = "shop";
pub(super) const ROLLOUT: &str = "myapp";
pub(super) const ROUTE: &str = "myapp-vsvc";
pub(super) const CANARY: &str = "myapp-canary";
pub(super) const STABLE: &str = "myapp-stable";

pub(super) fn image(version: &str) -> String {
    format!("registry.example/myapp:{version}")
}

fn core(kind: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{kind}")
}

fn argo(kind: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/{kind}")
}

pub(super) fn steps(steps: &[StepOf]) -> Value {
    let args = args();
    let one = |step: &StepOf| match step {
        StepOf::Weight(weight) => json!({"setWeight": weight}),
        StepOf::Pause(Some(seconds)) => json!({"pause": {"duration": seconds}}),
        StepOf::Pause(None) => json!({"pause": {}}),
        StepOf::Analysis => json!({"analysis": {"templates": [{"templateName": "once"}], "args": args}}),
    };
    steps.iter().map(one).collect()
}

fn args() -> Value {
    json!([{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}])
}

pub(super) fn route() -> Value {
    json!([{"name": "primary", "route": [
        {"destination": {"host": STABLE}, "weight": 100}, {"destination": {"host": CANARY}, "weight": 0}]}])
}

/// Path of the collection and the object, in the order of their making.
pub(super) fn manifests(setup: &Setup) -> Vec<(String, Value)> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let route = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": ROUTE}, "spec": {"hosts": ["myapp.example.com"], "http": route()}});
    // Nobody names it. What a subset leads to is judged all the same.
    let rule = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "DestinationRule",
        "metadata": {"name": ROLLOUT}, "spec": {"host": ROLLOUT, "subsets": [
            {"name": "stable", "labels": {"app": ROLLOUT}}, {"name": "canary", "labels": {"app": ROLLOUT}}]}});
    let mesh = |kind: &str| format!("/apis/networking.istio.io/v1alpha3/namespaces/{NAMESPACE}/{kind}");
    vec![
        ("/api/v1/namespaces".to_owned(), namespace),
        (core("services"), service(STABLE)),
        (core("services"), service(CANARY)),
        (
            argo("analysistemplates"),
            template("always", json!({"interval": "10s", "failureLimit": setup.failure_limit})),
        ),
        (argo("analysistemplates"), template("once", json!({}))),
        (mesh("destinationrules"), rule),
        (mesh("virtualservices"), route),
        (argo("rollouts"), rollout(setup)),
    ]
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": ROLLOUT}, "ports": [{"port": 80, "targetPort": 8080}]}})
}

fn template(name: &str, more: Value) -> Value {
    let mut metric = json!({"name": "errors", "successCondition": "result < 0.05", "provider": {"prometheus": {
        "address": "http://prometheus:9090", "query": "errors{hash=\"{{args.hash}}\"}"}}});
    if let (Some(metric), Value::Object(more)) = (metric.as_object_mut(), more) {
        metric.extend(more);
    }
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name},
        "spec": {"args": [{"name": "hash"}], "metrics": [metric]}})
}

fn rollout(setup: &Setup) -> Value {
    let mut canary = json!({
        "canaryService": CANARY, "stableService": STABLE, "steps": steps(&setup.steps),
        "scaleDownDelaySeconds": setup.scale_down_delay,
        "trafficRouting": {"istio": {"virtualService": {"name": ROUTE, "routes": ["primary"]}}},
    });
    if let Some(delay) = setup.abort_delay {
        canary["abortScaleDownDelaySeconds"] = json!(delay);
    }
    if let Some(start) = setup.background {
        canary["analysis"] =
            json!({"startingStep": start, "templates": [{"templateName": "always"}], "args": args()});
    }
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": ROLLOUT},
        "spec": {"replicas": setup.replicas, "selector": {"matchLabels": {"app": ROLLOUT}},
            "revisionHistoryLimit": setup.history, "progressDeadlineSeconds": setup.deadline,
            "progressDeadlineAbort": setup.deadline_abort, "strategy": {"canary": canary},
            "template": {"metadata": {"labels": {"app": ROLLOUT}},
                "spec": {"containers": [{"name": "myapp", "image": image("v1")}]}}}})
}
