//! People and other tools: what they write into the world, as they would write it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    script::{Event, Nonsense, Which},
    shop,
    stage::{member, send},
};
use crate::{
    api::http::{Body, Method},
    sim::{
        store::{By, Key, Resource},
        world::World,
    },
};

const HASH: &str = "rollouts-pod-template-hash";
/// When a person has seen a revert and thought about it.
const SEEN_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Somebody who writes.
pub(super) struct Hand<'a> {
    world: &'a mut World,
}

impl<'a> Hand<'a> {
    pub(super) fn new(world: &'a mut World) -> Self {
        Self { world }
    }

    pub(super) fn does(&mut self, event: &Event) {
        match event {
            Event::Image(version) => {
                let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image",
                    "value": shop::image(version)}]);
                self.rollout("", Body::JsonPatch(image));
            }
            Event::Steps(steps) => {
                self.rollout("", merge(&["spec", "strategy", "canary", "steps"], shop::steps(steps)));
            }
            Event::Replicas(count) => self.rollout("", merge(&["spec", "replicas"], json!(count))),
            Event::Freeze(on) => self.rollout("", merge(&["spec", "paused"], json!(on))),
            Event::Promote => self.promote(),
            Event::PromoteFull => self.rollout("/status", merge(&["status", "promoteFull"], json!(true))),
            Event::Abort => self.rollout("/status", merge(&["status", "abort"], json!(true))),
            Event::Retry => self.rollout("/status", merge(&["status", "abort"], json!(false))),
            Event::HandsOff(on) => {
                let value = if *on { json!("true") } else { Value::Null };
                self.route(merge(&["metadata", "annotations", "serin.dev/hands-off"], value));
            }
            Event::Weights(canary) => {
                let weight = |at: usize, to: i64| json!({"op": "add", "path": format!("/spec/http/0/route/{at}/weight"), "value": to});
                self.route(Body::JsonPatch(json!([weight(0, 100 - canary), weight(1, *canary)])));
            }
            Event::ScaleSet(which, count) => {
                if let Some(name) = self.set(*which) {
                    self.apps(Method::Patch, &name, merge(&["spec", "replicas"], json!(count)));
                }
            }
            Event::DeleteSet(which) => {
                if let Some(name) = self.set(*which) {
                    self.apps(Method::Delete, &name, Body::Empty);
                }
            }
            Event::Select(is_canary, which) => self.select(*is_canary, *which),
            _ => self.does_more(event),
        }
    }

    fn does_more(&mut self, event: &Event) {
        match event {
            Event::Prune => {
                let Some(route) = self.object(Resource::VirtualServices, shop::ROUTE) else { return };
                let annotations = route.pointer("/metadata/annotations").and_then(Value::as_object);
                let gone = annotations.into_iter().flatten().map(|(key, _)| (key.clone(), Value::Null));
                let gone: serde_json::Map<String, Value> = gone.collect();
                self.route(merge(&["metadata", "annotations"], Value::Object(gone)));
            }
            Event::DeleteRun => self.on_run(Method::Delete, Body::Empty),
            Event::TerminateRun => self.on_run(Method::Patch, merge(&["spec", "terminate"], json!(true))),
            Event::Collide => self.collide(),
            Event::ForgetRevert => self.forget_revert(),
            Event::Odd(what) => self.odd(*what),
            _ => {}
        }
    }

    fn rollout(&mut self, part: &str, body: Body) {
        let path = format!(
            "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts/{}{part}",
            shop::NAMESPACE,
            shop::ROLLOUT
        );
        send(self.world, Method::Patch, path, body, "person");
    }

    fn route(&mut self, body: Body) {
        let path = format!(
            "/apis/networking.istio.io/v1alpha3/namespaces/{}/virtualservices/{}",
            shop::NAMESPACE,
            shop::ROUTE
        );
        send(self.world, Method::Patch, path, body, "other");
    }

    fn apps(&mut self, method: Method, name: &str, body: Body) {
        let path = format!("/apis/apps/v1/namespaces/{}/replicasets/{name}", shop::NAMESPACE);
        send(self.world, method, path, body, "other");
    }

    fn object(&self, kind: Resource, name: &str) -> Option<Value> {
        self.world.store().object(kind, shop::NAMESPACE, name).map(|object| object.as_ref().clone())
    }

    fn status(&self, field: &str) -> String {
        let rollout = self.object(Resource::Rollouts, shop::ROLLOUT).unwrap_or_default();
        rollout.pointer(&format!("/status/{field}")).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn promote(&mut self) {
        let rollout = self.object(Resource::Rollouts, shop::ROLLOUT).unwrap_or_default();
        let is_paused = rollout.pointer("/status/pauseConditions").is_some_and(|pauses| !pauses.is_null());
        let index = rollout.pointer("/status/currentStepIndex").and_then(Value::as_i64).unwrap_or(0);
        let patch = if is_paused {
            json!({"status": {"pauseConditions": null}})
        } else {
            json!({"status": {"pauseConditions": null, "currentStepIndex": index + 1}})
        };
        self.rollout("/status", Body::Merge(patch));
    }

    /// Name of a ReplicaSet.
    fn set(&self, which: Which) -> Option<String> {
        let hash = |object: &Value| object.pointer(&format!("/metadata/labels/{HASH}")).cloned();
        let (stable, current) = (self.status("stableRS"), self.status("currentPodHash"));
        let sets = self.world.store().objects(Resource::ReplicaSets);
        let fits = |object: &Value| {
            let hash = hash(object);
            let hash = hash.as_ref().and_then(Value::as_str).unwrap_or_default();
            match which {
                Which::Stable => hash == stable,
                Which::Canary => hash == current && current != stable,
                Which::Old => hash != current && hash != stable && !hash.is_empty(),
            }
        };
        sets.filter(|(_, object)| fits(object)).map(|(key, _)| key.name.clone()).next()
    }

    fn select(&mut self, is_canary: bool, which: Option<Which>) {
        let hash = match which {
            None => Value::Null,
            Some(which) => {
                let Some(name) = self.set(which) else { return };
                let set = self.object(Resource::ReplicaSets, &name).unwrap_or_default();
                set.pointer(&format!("/metadata/labels/{HASH}")).cloned().unwrap_or_default()
            }
        };
        let name = if is_canary { shop::CANARY } else { shop::STABLE };
        let path = format!("/api/v1/namespaces/{}/services/{name}", shop::NAMESPACE);
        send(self.world, Method::Patch, path, merge(&["spec", "selector", HASH], hash), "other");
    }

    fn on_run(&mut self, method: Method, body: Body) {
        let runs = self.world.store().objects(Resource::AnalysisRuns);
        let is_going = |object: &Value| {
            let phase = object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
            phase.is_empty() || phase == "Running" || phase == "Pending"
        };
        let Some(name) = runs.filter(|(_, run)| is_going(run)).map(|(key, _)| key.name.clone()).next() else {
            return;
        };
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{}/analysisruns/{name}", shop::NAMESPACE);
        send(self.world, method, path, body, "other");
    }

    /// Takes the name of the ReplicaSet that the next change of the template would make.
    fn collide(&mut self) {
        let Some(mut template) = self
            .object(Resource::Rollouts, shop::ROLLOUT)
            .and_then(|rollout| rollout.pointer("/spec/template").cloned())
        else {
            return;
        };
        // The next version by number.
        let image = template.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
        let version: u32 = image.rsplit('v').next().and_then(|number| number.parse().ok()).unwrap_or(1);
        template["spec"]["containers"][0]["image"] = json!(shop::image(&format!("v{}", version + 1)));
        let Ok(hash) = crate::api::hash::template_hash(&template, None) else { return };
        template["metadata"]["labels"] = json!({"app": "other"});
        let object = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("{}-{hash}", shop::ROLLOUT), "labels": {"app": "other"}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "other"}}, "template": template}});
        let path = format!("/apis/apps/v1/namespaces/{}/replicasets", shop::NAMESPACE);
        send(self.world, Method::Post, path, Body::Json(object), "other");
    }

    /// Deletes reverts that have been there for longer than any restart takes: they must not come again.
    fn forget_revert(&mut self) {
        let now = self.world.now();
        let is_old = |revert: &Value| {
            let made = revert.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
            let made = made.and_then(|made| made.parse::<Timestamp>().ok());
            made.is_some_and(|made| now.duration_since(made) > SEEN_AFTER)
        };
        let reverts = self.world.store().objects(Resource::SelfHeals).filter(|(_, revert)| is_old(revert));
        let names: Vec<String> = reverts.map(|(key, _)| key.name.clone()).collect();
        for name in names {
            let path = format!("/apis/serin.dev/v1alpha1/namespaces/{}/selfheals/{name}", shop::NAMESPACE);
            send(self.world, Method::Delete, path, Body::Empty, "person");
        }
    }

    fn odd(&mut self, what: Nonsense) {
        let weights = |stable: Value, canary: Value| {
            let at = |index: usize, value: Value| json!({"op": "add", "path": format!("/spec/http/0/route/{index}/weight"), "value": value});
            Body::JsonPatch(json!([at(0, stable), at(1, canary)]))
        };
        match what {
            Nonsense::RouteGone => {
                self.route(merge(&["spec", "http"], json!([{"name": "other"}, {"route": []}])))
            }
            Nonsense::WeightsNegative => self.route(weights(json!(-5), json!(105))),
            Nonsense::WeightsHuge => self.route(weights(json!(i64::MAX), json!(i64::MAX))),
            Nonsense::WeightsAbsent => {
                let gone = |index: usize| json!({"op": "remove", "path": format!("/spec/http/0/route/{index}/weight")});
                self.route(Body::JsonPatch(json!([gone(0), gone(1)])));
            }
            Nonsense::StatusOdd => {
                let status = json!({"status": {"currentStepIndex": -7, "conditions": [{"type": 3}, "x"],
                    "pauseConditions": [{"reason": "Odd"}, {"startTime": 5}], "canary": {"weights": "x"}}});
                self.past_validation(Resource::Rollouts, shop::ROLLOUT, &status);
            }
            Nonsense::SetAnnotationsOdd => {
                if let Some(name) = self.set(Which::Stable) {
                    let annotations = json!({"metadata": {"annotations": {"rollout.argoproj.io/revision": "x",
                        "rollout.argoproj.io/desired-replicas": "-1", "scale-down-deadline": "never"}}});
                    self.apps(Method::Patch, &name, Body::Merge(annotations));
                }
            }
            Nonsense::RunStatusOdd => {
                let runs = self.world.store().objects(Resource::AnalysisRuns);
                let names: Vec<String> = runs.map(|(key, _)| key.name.clone()).collect();
                let status = json!({"status": {"metricResults": [{"name": "errors", "count": -1,
                    "measurements": [{"phase": 1}, {"startedAt": "x", "value": {}}]}], "startedAt": "x"}});
                for name in names {
                    self.past_validation(Resource::AnalysisRuns, &name, &status);
                }
            }
        }
    }

    /// What a CRD without validation would let through.
    fn past_validation(&mut self, kind: Resource, name: &str, patch: &Value) {
        let key = Key::new(shop::NAMESPACE, name);
        // Refused where the object is gone.
        let _ = self.world.store_mut().update(kind, &key, By::actor_status(), |live| {
            let mut object = Value::clone(live);
            json_patch::merge(&mut object, patch);
            Ok(object)
        });
    }

    /// Takes back what nobody but a person can take back.
    pub(super) fn tidies(&mut self) {
        self.does(&Event::Freeze(false));
        self.does(&Event::HandsOff(false));
        self.replaces_pods();
        let weights = self.object(Resource::VirtualServices, shop::ROUTE).unwrap_or_default();
        let sides = weights.pointer("/spec/http/0/route").and_then(Value::as_array).map_or(0, Vec::len);
        if sides != 2 {
            self.route(merge(&["spec", "http"], shop::route()));
        }
    }

    /// Pods that never get ready are deleted: new ones start as their version does by now.
    fn replaces_pods(&mut self) {
        let ready = |pod: &Value| pod.pointer("/status/containerStatuses/0/ready") == Some(&json!(true));
        let pods = self.world.store().objects(Resource::Pods).filter(|(_, pod)| !ready(pod));
        let names: Vec<String> = pods.map(|(key, _)| key.name.clone()).collect();
        for name in names {
            let path = format!("/api/v1/namespaces/{}/pods/{name}", shop::NAMESPACE);
            send(self.world, Method::Delete, path, Body::Empty, "person");
        }
    }

    /// What somebody does who wants the rollout to go on.
    pub(super) fn helps(&mut self) {
        let rollout = self.object(Resource::Rollouts, shop::ROLLOUT).unwrap_or_default();
        let at = |pointer: &str| rollout.pointer(pointer).cloned().unwrap_or_default();
        if self.set(Which::Stable).is_none() {
            return self.does(&Event::PromoteFull);
        }
        if at("/status/abort") == json!(true) {
            return self.does(&Event::Retry);
        }
        if at("/status/pauseConditions").as_array().is_some_and(|pauses| !pauses.is_empty()) {
            self.does(&Event::Promote);
        }
    }
}

fn merge(path: &[&str], value: Value) -> Body {
    Body::Merge(member(path, value))
}
