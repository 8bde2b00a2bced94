//! A small shop on the embedded world, with a kubelet that makes pods ready after a while.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    api::http::{Body, Method, Request, Response},
    decide::{
        analysis::{OutageMode, Outcome},
        observed::Settings,
    },
    domain::{Key, value::MetricValue},
    sim::{
        direct::{Direct, Metrics},
        store::{Answer, Resource},
        world::World,
    },
};

pub(super) const NAMESPACE: &str = "shop";

type Seen = (i64, i64, String, Vec<(String, i64)>);

pub(super) struct Shop {
    pub(super) world: World,
    pub(super) controller: Direct,
    /// (seconds since the start, canary weight, canary selector, replicas by ReplicaSet), at each change.
    pub(super) seen: Vec<Seen>,
    pub(super) start: Timestamp,
    /// The version whose pods are never ready.
    pub(super) crashing: Option<&'static str>,
    pods: Vec<(String, Timestamp)>,
}

pub(super) fn settings() -> Settings {
    Settings { data_plane_delay: Duration::from_secs(10), outage: OutageMode::Hold }
}

pub(super) fn number(value: f64) -> Outcome {
    Outcome::Value { value: MetricValue::Float(value), text: value.to_string() }
}

impl Shop {
    /// The story of the README, with v1.1.0 applied and not yet deployed.
    pub(super) fn open(metrics: Metrics) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new(start);
        for (path, object) in manifests("v1.1.0") {
            let answer = send(&mut world, Method::Post, &path, Body::Json(object));
            assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        }
        let controller = Direct::start(&world, Key::new(NAMESPACE, "myapp"), settings(), metrics);
        Self { world, controller, seen: vec![], start, crashing: None, pods: vec![] }
    }

    pub(super) fn apply_image(&mut self, version: &str) {
        let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": format!("registry.example/myapp:{version}")}]);
        self.patch("argoproj.io/v1alpha1", "rollouts/myapp", Body::JsonPatch(image));
    }

    pub(super) fn patch(&mut self, version: &str, object: &str, body: Body) {
        let path = format!("/apis/{version}/namespaces/{NAMESPACE}/{object}");
        let answer = send(&mut self.world, Method::Patch, &path, body);
        assert!(answer.is_success(), "{object}: {}", answer.body);
    }

    /// Lets `seconds` pass, second by second, with as many passes as there is anything to do.
    pub(super) fn run(&mut self, seconds: i64) {
        let end = self.world.now() + SignedDuration::from_secs(seconds);
        while self.world.now() < end {
            self.settle();
            let now = self.world.now();
            self.world.advance(now + SignedDuration::from_secs(1));
        }
        self.settle();
    }

    /// Passes until nothing changes any more at this moment.
    pub(super) fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 60, "the controller does not come to rest: {}", self.last_plan());
            let before = self.world.store().version();
            self.kubelet();
            let wake = self.controller.pass(&mut self.world);
            self.note();
            let is_still = self.world.store().version() == before;
            if is_still && wake.is_none_or(|at| at > self.world.now()) {
                break;
            }
        }
        assert_eq!(self.controller.violations, vec![], "invariants");
    }

    fn last_plan(&self) -> String {
        let Some((at, plan)) = self.controller.last.as_ref() else { return String::new() };
        let write = plan.memory.rollout.as_ref();
        let status = write.map(|write| crate::api::status::patch(&write.old, &write.new));
        let rest = (&plan.shed, &plan.prepare, &plan.expose, &plan.retire, &plan.wake, &plan.report);
        format!(
            "{at} {status:?} {:?} {:?} {rest:?} {:#?}",
            plan.memory.runs, plan.memory.record, self.controller.process.last
        )
    }

    /// Pods become ready two seconds after they are asked for.
    fn kubelet(&mut self) {
        let now = self.world.now();
        let sets: Vec<Value> =
            self.world.store().objects(Resource::ReplicaSets).map(|(_, set)| set.as_ref().clone()).collect();
        for set in sets {
            let name = set["metadata"]["name"].as_str().unwrap().to_owned();
            let wanted = set["spec"]["replicas"].as_i64().unwrap();
            let mine = |pod: &&(String, Timestamp)| pod.0 == name;
            let have = i64::try_from(self.pods.iter().filter(mine).count()).unwrap();
            for _ in have..wanted {
                self.pods.push((name.clone(), now));
            }
            for _ in wanted..have {
                let last = self.pods.iter().rposition(|pod| pod.0 == name).unwrap();
                self.pods.remove(last);
            }
            let is_ready =
                |pod: &&(String, Timestamp)| pod.0 == name && now.duration_since(pod.1).as_secs() >= 2;
            let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
            let is_crashing = self.crashing.is_some_and(|version| image.ends_with(version));
            let ready = self.pods.iter().filter(|_| !is_crashing).filter(is_ready).count();
            let status = json!({"status": {"replicas": wanted, "fullyLabeledReplicas": wanted,
                "readyReplicas": ready, "availableReplicas": ready}});
            self.patch("apps/v1", &format!("replicasets/{name}/status"), Body::Merge(status));
        }
    }

    fn note(&mut self) {
        let store = self.world.store();
        let service = store.object(Resource::VirtualServices, NAMESPACE, "myapp-vsvc").unwrap();
        let weight = service["spec"]["http"][0]["route"][1]["weight"].as_i64().unwrap_or(0);
        let canary = store.object(Resource::Services, NAMESPACE, "myapp-canary").unwrap();
        let selected =
            canary["spec"]["selector"]["rollouts-pod-template-hash"].as_str().unwrap_or_default().to_owned();
        let sets = store.objects(Resource::ReplicaSets);
        let sets = sets
            .map(|(key, set)| (key.name.clone(), set["spec"]["replicas"].as_i64().unwrap_or(0)))
            .collect();
        let at = self.world.now().duration_since(self.start).as_secs();
        if self.seen.last().is_none_or(|(_, w, s, r)| (w, s, r) != (&weight, &selected, &sets)) {
            self.seen.push((at, weight, selected, sets));
        }
    }

    pub(super) fn object(&self, resource: Resource, name: &str) -> Value {
        self.world
            .store()
            .object(resource, NAMESPACE, name)
            .unwrap_or_else(|| panic!("no {resource:?} {name}"))
            .as_ref()
            .clone()
    }

    pub(super) fn status(&self) -> Value {
        self.object(Resource::Rollouts, "myapp")["status"].clone()
    }

    pub(super) fn weights(&self) -> Vec<i64> {
        let mut weights: Vec<i64> = self.seen.iter().map(|(_, weight, ..)| *weight).collect();
        weights.dedup();
        weights
    }

    pub(super) fn names(&self, resource: Resource) -> Vec<String> {
        self.world.store().objects(resource).map(|(key, _)| key.name.clone()).collect()
    }

    /// The reasons of the events on the Rollout, in order.
    pub(super) fn events(&self) -> Vec<String> {
        let created =
            self.world.log().filter(|logged| logged.path.ends_with("/events") && logged.status == 201);
        created.map(|logged| logged.body["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn send(world: &mut World, method: Method, path: &str, body: Body) -> Response {
    match world.handle(&Request { method, path: path.to_owned(), query: vec![], body }, "person") {
        Answer::Response(response) => response,
        Answer::Watch(_) | Answer::Crash => panic!("{path}"),
    }
}

pub(super) fn manifests(version: &str) -> Vec<(String, Value)> {
    let core = |kind: &str| format!("/api/v1/namespaces/{NAMESPACE}/{kind}");
    let argo = |kind: &str| format!("/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/{kind}");
    let service = |name: &str| {
        (
            core("services"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "myapp"}, "ports": [{"port": 80, "targetPort": 8080}]}}),
        )
    };
    let template = |name: &str, interval: &[(&str, Value)]| {
        let mut metric = json!({"name": name, "successCondition": "result < 0.05", "provider": {"prometheus": {
            "address": "http://prometheus:9090",
            "query": "scalar(errors{hash=\"{{args.canary-hash}}\"})"}}});
        for (key, value) in interval {
            metric[*key] = value.clone();
        }
        let args = json!([{"name": "service-name"}, {"name": "canary-hash", "value": ""}]);
        (
            argo("analysistemplates"),
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": {"name": name}, "spec": {"args": args, "metrics": [metric]}}),
        )
    };
    let args = json!([{"name": "service-name", "value": "myapp-canary"},
        {"name": "canary-hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]);
    let steps = json!([{"setWeight": 10}, {"pause": {"duration": "2m"}}, {"setWeight": 20}, {"pause": {"duration": "2m"}},
        {"setWeight": 50}, {"pause": {"duration": "5m"}},
        {"analysis": {"templates": [{"templateName": "success-rate"}], "args": args}}, {"setWeight": 100}]);
    let canary = json!({"canaryService": "myapp-canary", "stableService": "myapp-stable", "steps": steps,
        "analysis": {"templates": [{"templateName": "error-rate"}], "args": args},
        "trafficRouting": {"istio": {"virtualService": {"name": "myapp-vsvc", "routes": ["primary"]}}}});
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "myapp"},
        "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "myapp"}}, "strategy": {"canary": canary},
            "template": {"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [
                {"name": "myapp", "image": format!("registry.example/myapp:{version}")}]}}}});
    let routes = json!([{"name": "primary", "route": [
        {"destination": {"host": "myapp-stable"}, "weight": 100}, {"destination": {"host": "myapp-canary"}, "weight": 0}]}]);
    vec![
        (
            "/api/v1/namespaces".to_owned(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        ),
        service("myapp-stable"),
        service("myapp-canary"),
        template("error-rate", &[("interval", json!("1m")), ("failureLimit", json!(3))]),
        template("success-rate", &[]),
        (
            format!("/apis/networking.istio.io/v1alpha3/namespaces/{NAMESPACE}/virtualservices"),
            json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService", "metadata": {"name": "myapp-vsvc"},
                "spec": {"hosts": ["myapp.example.com"], "gateways": ["web"], "http": routes}}),
        ),
        (argo("rollouts"), rollout),
    ]
}
