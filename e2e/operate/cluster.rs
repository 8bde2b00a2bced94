//! A cluster for serin to work on: the embedded world behind a socket, in real time, with shops that go wrong in one
//! way each.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use serin::{
    api::http::{Body, Method, Request, Response},
    clock::Clock,
    sim::{
        door::Door,
        fault::Intercept,
        store::{Answer, Resource},
        world::World,
    },
};
use tokio_util::sync::CancellationToken;

use crate::prometheus::within;

pub(crate) const SHOP: &str = "shop";
pub(crate) const SYSTEM: &str = "serin-system";
pub(crate) const CONTROLLER_LEASE: &str = "argo-rollouts-controller-lock";
pub(crate) const GITOPS_LEASE: &str = "serin-gitops";

/// Requests that serin is refused, with an admission webhook's or the authorizer's words.
#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) method: Method,
    /// The path's end.
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    pub(crate) message: &'static str,
}

impl Refusal {
    fn answer(&self) -> Response {
        let reason = if self.status == 403 { "Forbidden" } else { "InternalError" };
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status,
            "reason": reason, "message": self.message});
        Response { status: self.status, body }
    }
}

/// The embedded world on a socket.
pub(crate) struct Cluster {
    door: Door,
    /// What the API server refuses serin.
    refuses: Arc<Mutex<Option<Refusal>>>,
    pub(crate) kubeconfig: PathBuf,
    stop: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    /// Opens it, with a kubeconfig in `folder`.
    pub(crate) async fn open(folder: &Path) -> Self {
        let door = Door::new(World::new(Timestamp::from_second(serin_now()).unwrap()), Clock::Wall);
        let stop = CancellationToken::new();
        tokio::spawn(door.clone().drive(stop.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(door.clone().serve(listener, stop.clone()));
        let kubeconfig = folder.join("kubeconfig");
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "world",
            "clusters": [{"name": "world", "cluster": {"server": address}}],
            "users": [{"name": "serin", "user": {}}],
            "contexts": [{"name": "world", "context": {"cluster": "world", "user": "serin", "namespace": SYSTEM}}]});
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let refuses = Arc::<Mutex<Option<Refusal>>>::default();
        let asked = Arc::clone(&refuses);
        door.with(|world| {
            world.intercept(Box::new(move |request, actor| {
                let refusal = asked.lock().unwrap().clone().filter(|_| actor != PERSON);
                match refusal.filter(|one| one.method == request.method && request.path.ends_with(one.path)) {
                    Some(refusal) => Intercept::Answer(refusal.answer()),
                    None => Intercept::Pass,
                }
            }));
        });
        let this = Self { door, refuses, kubeconfig, stop };
        for namespace in [SHOP, SYSTEM] {
            this.create(
                "/api/v1/namespaces",
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            );
        }
        this
    }

    /// From now on the API server refuses serin this, or nothing any more.
    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        *self.refuses.lock().unwrap() = refusal;
    }

    /// Makes an object, as a person.
    pub(crate) fn create(&self, collection: &str, object: &Value) {
        let answer = self.send(Method::Post, collection, Body::Json(object.clone()));
        assert_eq!(answer.status, 201, "{collection}: {}", answer.body);
    }

    fn send(&self, method: Method, path: &str, body: Body) -> Response {
        let request = Request { method, path: path.to_owned(), query: vec![], body };
        match self.door.request(&request, PERSON) {
            Answer::Response(answer) => answer,
            Answer::Watch(_) | Answer::Crash => panic!("{path}"),
        }
    }

    /// A shop named `name` on its first version: Services, VirtualService, AnalysisTemplate on the Prometheus at `metrics`,
    /// Rollout with these steps and annotations.
    pub(crate) fn shop(&self, name: &str, metrics: &str, annotations: &Value) {
        let core = format!("/api/v1/namespaces/{SHOP}/services");
        for side in ["stable", "canary"] {
            self.create(
                &core,
                &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("{name}-{side}")},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}}),
            );
        }
        let route = |side: &str, weight: u8| json!({"destination": {"host": format!("{name}-{side}")}, "weight": weight});
        self.create(
            &format!("/apis/networking.istio.io/v1alpha3/namespaces/{SHOP}/virtualservices"),
            &json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService", "metadata": {"name": name},
                "spec": {"hosts": [format!("{name}.example.com")],
                    "http": [{"name": "primary", "route": [route("stable", 100), route("canary", 0)]}]}}),
        );
        let argo = format!("/apis/argoproj.io/v1alpha1/namespaces/{SHOP}");
        self.create(
            &format!("{argo}/analysistemplates"),
            &json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name},
                "spec": {"metrics": [{"name": "errors", "interval": "1s", "failureLimit": 0, "initialDelay": "2s",
                    "successCondition": "result < 0.05",
                    "provider": {"prometheus": {"address": metrics, "query": format!("scalar(errors{{app=\"{name}\"}})")}}}]}}),
        );
        self.create(&format!("{argo}/rollouts"), &rollout(name, annotations));
    }

    /// A new version of a shop, once its first one is healthy and somebody may bring the next.
    pub(crate) async fn upgrade(&self, name: &str) {
        self.until(name, "is healthy", |rollout| rollout["status"]["phase"] == "Healthy").await;
        let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image",
            "value": format!("registry.example/{name}:v2")}]);
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{SHOP}/rollouts/{name}");
        let answer = self.send(Method::Patch, &path, Body::JsonPatch(image));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Waits until the Rollout looks like this.
    pub(crate) async fn until(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
        within(Duration::from_secs(60), &format!("{name} {what}"), async || {
            let rollout = self.object(Resource::Rollouts, SHOP, name);
            if is_so(&rollout) { Ok(()) } else { Err(format!("{:#}", rollout["status"])) }
        })
        .await;
    }

    /// The canary's live weight.
    pub(crate) fn weight(&self, name: &str) -> i64 {
        let service = self.object(Resource::VirtualServices, SHOP, name);
        service["spec"]["http"][0]["route"][1]["weight"].as_i64().unwrap_or(0)
    }

    /// Waits until the canary has this weight.
    pub(crate) async fn carries(&self, name: &str, weight: i64) {
        within(Duration::from_secs(60), &format!("{name} carries {weight} %"), async || {
            let live = self.weight(name);
            if live == weight { Ok(()) } else { Err(format!("it carries {live} %")) }
        })
        .await;
    }

    /// Sets the canary's weight by hand.
    pub(crate) fn set_weight(&self, name: &str, weight: i64) {
        let to = |index: u8, weight: i64| json!({"op": "add", "path": format!("/spec/http/0/route/{index}/weight"), "value": weight});
        let path = format!("/apis/networking.istio.io/v1alpha3/namespaces/{SHOP}/virtualservices/{name}");
        let answer =
            self.send(Method::Patch, &path, Body::JsonPatch(json!([to(0, 100 - weight), to(1, weight)])));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Gives both Leases to somebody who will not give them back.
    pub(crate) fn hold_leases(&self) {
        for name in [CONTROLLER_LEASE, GITOPS_LEASE] {
            let path = format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{name}");
            let taken = json!({"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": 3600}});
            let answer = self.send(Method::Patch, &path, Body::Merge(taken));
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }

    /// Who holds a Lease; empty where it was given back.
    pub(crate) fn holder(&self, lease: &str) -> String {
        let lease = self.object(Resource::Leases, SYSTEM, lease);
        lease["spec"]["holderIdentity"].as_str().unwrap_or("there is no such Lease").to_owned()
    }

    fn object(&self, resource: Resource, namespace: &str, name: &str) -> Value {
        self.door.with(|world| {
            world
                .store()
                .object(resource, namespace, name)
                .map(|object| object.as_ref().clone())
                .unwrap_or_default()
        })
    }
}

/// Who acts here and is not serin.
const PERSON: &str = "person";

fn serin_now() -> i64 {
    Clock::Wall.now().as_second()
}

fn rollout(name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "annotations": annotations, "labels": {"app": name}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "strategy": {"canary": {"stableService": format!("{name}-stable"), "canaryService": format!("{name}-canary"),
                "trafficRouting": {"istio": {"virtualService": {"name": name, "routes": ["primary"]}}},
                "analysis": {"templates": [{"templateName": name}], "startingStep": 1},
                "steps": [{"setWeight": 20}, {"pause": {}}]}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": "app", "image": format!("registry.example/{name}:v1")}]}}}})
}
