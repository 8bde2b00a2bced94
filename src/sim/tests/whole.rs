//! The whole controller, as `serin controller` runs it, on door 2 and with a Prometheus on a real socket.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Form, routing::post};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::fixture::{NAMESPACE, manifests, settings};
use crate::{
    api::http::{Body, Method, Request, Response},
    apply::Limits,
    clock::Clock,
    control::{self, lease::LeaseConfig},
    observe::{Scope, sampler},
    sim::{
        door::Door,
        fault::Intercept,
        store::{Answer, Resource},
        world::World,
    },
    telemetry::Metrics,
};

struct Stage {
    door: Door,
    config: control::Config,
    _tasks: JoinSet<()>,
    controller: Option<tokio::task::JoinHandle<Result<(), control::Error>>>,
    shutdown: CancellationToken,
    error_rate: Arc<Mutex<f64>>,
}

impl Stage {
    async fn open() -> Self {
        let mut stage = Self::closed().await;
        stage.start();
        stage
    }

    /// Without a controller.
    async fn closed() -> Self {
        let origin = "2026-01-01T00:00:00Z".parse().unwrap();
        let door = Door::new(World::new(origin), Clock::scaled(origin, 1));
        let error_rate = Arc::new(Mutex::new(0.01));
        let mut tasks = JoinSet::new();
        let address = prometheus(&mut tasks, Arc::clone(&error_rate)).await;
        tasks.spawn(door.clone().drive(CancellationToken::new()));
        for (path, object) in manifests("v1.1.0") {
            let text = object.to_string().replace("http://prometheus:9090", &address);
            let object = serde_json::from_str(&text).unwrap();
            let request = Request { method: Method::Post, path, query: vec![], body: Body::Json(object) };
            let Answer::Response(answer) = door.request(&request, "person") else { panic!() };
            assert_eq!(answer.status, 201, "{}", answer.body);
        }
        let scope =
            Scope { namespace: None, instance_id: String::new(), istio_version: "v1alpha3".to_owned() };
        let config = control::Config {
            scope,
            settings: settings(),
            sampler: sampler::Settings::default(),
            limits: Limits { under_way: 10, rate: None },
            resync: Duration::from_secs(900),
            lease: None,
            notify: None,
            page: control::Page::new(Metrics::new("test")),
            health: None,
        };
        let shutdown = CancellationToken::new();
        Self { door, config, _tasks: tasks, controller: None, shutdown, error_rate }
    }

    fn start(&mut self) {
        self.start_with(self.door.client("controller"));
    }

    fn start_with(&mut self, client: kube::Client) {
        let run = control::run(client, self.door.clock(), self.config.clone(), self.shutdown.clone());
        self.controller = Some(tokio::spawn(run));
    }

    async fn wait(&self, seconds: u64) {
        self.door.clock().sleep(Duration::from_secs(seconds)).await;
    }

    fn upgrade(&self) {
        let image = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image",
            "value": "registry.example/myapp:v1.2.0" }]);
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/rollouts/myapp");
        let request = Request { method: Method::Patch, path, query: vec![], body: Body::JsonPatch(image) };
        let Answer::Response(answer) = self.door.request(&request, "person") else { panic!() };
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn object(&self, resource: Resource, name: &str) -> Value {
        self.door.with(|world| world.store().object(resource, NAMESPACE, name).unwrap().as_ref().clone())
    }

    fn status(&self) -> Value {
        self.object(Resource::Rollouts, "myapp")["status"].clone()
    }

    /// The writes of the controller, in order: what and the canary's weight where it is one.
    fn writes(&self) -> Vec<String> {
        self.door.with(|world| {
            let writes = world.log().filter(|logged| {
                logged.point.actor == "controller" && logged.method != Method::Get && logged.status < 300
            });
            writes.map(|logged| describe(&logged.path, &logged.body)).collect()
        })
    }
}

fn describe(path: &str, sent: &Value) -> String {
    let name = path.split("/namespaces/shop/").nth(1).unwrap_or(path);
    let mut operations = sent.as_array().into_iter().flatten();
    let weight = operations.find(|one| one["op"] == "add" && one["path"] == "/spec/http/0/route/1/weight");
    match weight {
        Some(operation) => format!("{name} {}", operation["value"]),
        None => name.to_owned(),
    }
}

async fn prometheus(tasks: &mut JoinSet<()>, error_rate: Arc<Mutex<f64>>) -> String {
    let answer = move |Form(_): Form<Vec<(String, String)>>| {
        let value = *error_rate.lock().unwrap();
        let result = json!([1.0, value.to_string()]);
        let body = json!({ "status": "success", "data": { "resultType": "scalar", "result": result } });
        async move { axum::Json(body) }
    };
    let app = Router::new().route("/api/v1/query", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test(start_paused = true)]
async fn a_good_version_becomes_stable() {
    let stage = Stage::open().await;
    stage.wait(60).await;
    assert_eq!(stage.status()["phase"], "Healthy", "{:#}\n{:#?}", stage.status(), stage.writes());
    stage.upgrade();
    stage.wait(20 * 60).await;
    let status = stage.status();
    assert_eq!(status["phase"], "Healthy", "{status:#}\n{:#?}", stage.writes());
    assert_eq!(status["stableRS"], status["currentPodHash"]);
    stage.shutdown.cancel();
    let ended = stage.controller.unwrap().await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_loses_its_traffic_in_the_first_request_after_the_sample() {
    let stage = Stage::open().await;
    stage.wait(60).await;
    *stage.error_rate.lock().unwrap() = 0.08;
    stage.upgrade();
    stage.wait(15 * 60).await;
    let (status, writes) = (stage.status(), stage.writes());
    assert_eq!(status["abort"], true, "{status:#}\n{writes:#?}");
    let shed = writes.iter().rposition(|write| write == "virtualservices/myapp-vsvc 0").unwrap();
    let booked = writes.iter().rposition(|write| write.starts_with("analysisruns/myapp-")).unwrap();
    assert!(shed < booked, "{writes:#?}");
    let route = stage.object(Resource::VirtualServices, "myapp-vsvc");
    assert_eq!(route["spec"]["http"][0]["route"][0]["weight"], 100);
    assert!(stage.door.with(|world| world.store().objects(Resource::SelfHeals).count()) == 1);
}

#[tokio::test(start_paused = true)]
async fn the_sample_that_decided_is_not_asked_for_again_when_nothing_could_be_written() {
    let stage = Stage::open().await;
    stage.wait(60).await;
    *stage.error_rate.lock().unwrap() = 0.08;
    stage.upgrade();
    let error_rate = Arc::clone(&stage.error_rate);
    let mut refused = [false, false];
    stage.door.with(|world| {
        world.intercept(Box::new(move |request, _| {
            let is_shed = matches!(&request.body, Body::JsonPatch(patch)
                if describe(&request.path, patch) == "virtualservices/myapp-vsvc 0");
            let is_run = request.path.contains("/analysisruns/") && request.method == Method::Patch;
            let first = match (is_shed, is_run) {
                (true, _) => &mut refused[0],
                (_, true) if refused[0] => &mut refused[1],
                _ => return Intercept::Pass,
            };
            if std::mem::replace(first, true) {
                return Intercept::Pass;
            }
            // From here on every answer would be a good one.
            *error_rate.lock().unwrap() = 0.01;
            Intercept::Answer(Response { status: 500, body: json!({}) })
        }));
    });
    stage.wait(10 * 60).await;
    assert_eq!(stage.status()["abort"], true, "{:#}\n{:#?}", stage.status(), stage.writes());
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_dropped_and_started_again_goes_on() {
    let mut stage = Stage::open().await;
    stage.wait(60).await;
    stage.upgrade();
    for _ in 0..40 {
        stage.wait(30).await;
        let controller = stage.controller.take().unwrap();
        controller.abort();
        assert!(controller.await.unwrap_err().is_cancelled());
        stage.start();
    }
    stage.wait(60).await;
    let status = stage.status();
    assert_eq!(status["phase"], "Healthy", "{status:#}\n{:#?}", stage.writes());
    assert_eq!(status["stableRS"], status["currentPodHash"]);
}

#[tokio::test(start_paused = true)]
async fn without_the_kinds_of_serin_dev_rollouts_are_served_in_full() {
    let mut stage = Stage::closed().await;
    let inner = stage.door.client("controller");
    let without = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let inner = inner.clone();
        async move {
            if !request.uri().path().starts_with("/apis/serin.dev/") {
                return inner.send(request).await;
            }
            let body = json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
                "message": "the server could not find the requested resource" });
            let body = kube::client::Body::from(body.to_string().into_bytes());
            Ok(http::Response::builder().status(404).body(body).unwrap())
        }
    });
    stage.start_with(kube::Client::new(without, "default"));
    stage.wait(60).await;
    assert_eq!(stage.status()["phase"], "Healthy", "{:#}", stage.status());
    *stage.error_rate.lock().unwrap() = 0.08;
    stage.upgrade();
    stage.wait(15 * 60).await;
    assert_eq!(stage.status()["abort"], true, "{:#}", stage.status());
    let route = stage.object(Resource::VirtualServices, "myapp-vsvc");
    assert_eq!(route["spec"]["http"][0]["route"][0]["weight"], 100);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_does_not_hold_the_lease_does_nothing_and_one_that_ends_gives_it_back() {
    let mut stage = Stage::closed().await;
    let lease = |who: &str| Some(LeaseConfig::controller(NAMESPACE, "", who.to_owned()));
    stage.config.lease = lease("first");
    stage.start();
    stage.wait(60).await;
    assert_eq!(stage.status()["phase"], "Healthy", "{:#}", stage.status());
    let first = stage.controller.take().unwrap();
    stage.config.lease = lease("second");
    let stop_first = std::mem::replace(&mut stage.shutdown, CancellationToken::new());
    stage.start_with(stage.door.client("second"));
    stage.wait(60).await;
    let acted = |stage: &Stage| {
        stage.door.with(|world| {
            let by_second = world.log().filter(|logged| logged.point.actor == "second");
            by_second.filter(|logged| !logged.path.contains("/leases")).count()
        })
    };
    assert_eq!(acted(&stage), 0);
    stop_first.cancel();
    assert!(first.await.unwrap().is_ok());
    stage.wait(30).await;
    assert!(acted(&stage) > 0);
}
