//! The users: a steady stream of requests, split as the live VirtualService says, over the live endpoints of its services.
//!
//! It stands where a sidecar stands and is as strict: a destination without a ready endpoint is a 503, nothing is retried.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use serin::clock::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, images::lock, pod::VERSION_HEADER, report};

/// Requests a second.
pub(crate) const RATE: u64 = 200;

/// Where Prometheus finds what the mesh counts.
pub(crate) const TELEMETRY: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 77, 0, 4), 15090);

/// Where requests go: the http route `route` of a VirtualService.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) namespace: String,
    pub(crate) virtual_service: String,
    pub(crate) route: String,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A pod answered.
    Answered { version: String, code: u16 },
    /// The service chosen by the split had no ready endpoint: a user of a mesh sees 503.
    NoEndpoint { service: String },
    /// The connection broke or was refused: the mesh would answer 503 too.
    Broken { service: String, why: String },
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
}

/// What a mesh would tell Prometheus of all loads: answers by namespace, service and code.
#[derive(Default)]
pub(crate) struct Telemetry(Mutex<BTreeMap<(String, String, u16), u64>>);

impl Telemetry {
    /// Serves the counts on [`TELEMETRY`] for as long as the lab runs.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn serve(self: Arc<Self>) -> Fallible {
        let listener = TcpListener::bind(TELEMETRY).await?;
        let router = Router::new().route("/metrics", get(telemetry)).with_state(self);
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(())
    }

    /// Counts as Istio's sidecars do: what no pod answered is a 503.
    fn count(&self, namespace: &str, service: &str, outcome: &Outcome) {
        let code = match outcome {
            Outcome::Answered { code, .. } => *code,
            Outcome::NoEndpoint { .. } | Outcome::Broken { .. } => 503,
        };
        *lock(&self.0).entry((namespace.into(), service.into(), code)).or_default() += 1;
    }
}

async fn telemetry(State(telemetry): State<Arc<Telemetry>>) -> String {
    let mut text = String::from("# TYPE istio_requests_total counter\n");
    for ((namespace, service, code), count) in &*lock(&telemetry.0) {
        let _ = writeln!(
            text,
            "istio_requests_total{{destination_service_namespace=\"{namespace}\",\
             destination_service_name=\"{service}\",response_code=\"{code}\"}} {count}"
        );
    }
    text
}

#[derive(Default)]
struct World {
    /// Service and weight, in the order of the route.
    split: Vec<(String, u64)>,
    /// Ready endpoints by slice name: its service and addresses.
    slices: BTreeMap<String, (String, Vec<SocketAddr>)>,
    /// When which weights were first seen here, oldest first.
    seen: Vec<(Timestamp, Vec<(String, u64)>)>,
    answers: Vec<Answer>,
}

/// A running load. Ends with this value.
pub(crate) struct Load {
    world: Arc<Mutex<World>>,
    _stop: DropGuard,
}

impl Load {
    /// Starts to send.
    pub(crate) fn start(client: Client, way: Way, telemetry: Arc<Telemetry>) -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow_route(
            client.clone(),
            way.clone(),
            world.clone(),
        )));
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow_endpoints(
            client,
            way.clone(),
            world.clone(),
        )));
        tokio::spawn(stop.clone().run_until_cancelled_owned(send(way, world.clone(), telemetry)));
        Self { world, _stop: stop.drop_guard() }
    }

    /// Everything sent since `since`.
    pub(crate) fn answers(&self, since: Timestamp) -> Vec<Answer> {
        lock(&self.world).answers.iter().filter(|answer| answer.at >= since).cloned().collect()
    }

    /// The weights of the route over time, oldest first.
    pub(crate) fn weights(&self) -> Vec<(Timestamp, Vec<(String, u64)>)> {
        lock(&self.world).seen.clone()
    }
}

/// How many answers each version gave.
pub(crate) fn by_version(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        if let Outcome::Answered { version, .. } = &answer.outcome {
            *counts.entry(version.clone()).or_default() += 1;
        }
    }
    counts
}

/// The requests that no pod answered.
pub(crate) fn lost(answers: &[Answer]) -> Vec<Answer> {
    answers.iter().filter(|answer| !matches!(answer.outcome, Outcome::Answered { .. })).cloned().collect()
}

async fn follow_route(client: Client, way: Way, world: Arc<Mutex<World>>) {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService"));
    let api: Api<DynamicObject> = Api::namespaced_with(client, &way.namespace, &kind);
    let only = watcher::Config::default().fields(&format!("metadata.name={}", way.virtual_service));
    let events = watcher(api, only).default_backoff().touched_objects();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(object) => {
                let split = split(&object.data, &way.route);
                let mut world = lock(&world);
                if world.split != split {
                    world.seen.push((Clock::Wall.now(), split.clone()));
                    world.split = split;
                }
            }
            Err(error) => report::line(&format!("lab: load: VirtualService: {error}")),
        }
    }
}

/// The services and weights of a route. As in the mesh, a single destination needs no weight.
fn split(object: &Value, route: &str) -> Vec<(String, u64)> {
    let routes = object.pointer("/spec/http").and_then(Value::as_array).into_iter().flatten();
    let named = routes.filter(|entry| entry.get("name").and_then(Value::as_str) == Some(route));
    let destinations: Vec<&Value> =
        named.filter_map(|entry| entry.get("route").and_then(Value::as_array)).flatten().collect();
    let alone = if destinations.len() == 1 { 100 } else { 0 };
    let one = |entry: &&Value| {
        let host = entry.pointer("/destination/host")?.as_str()?;
        let service = host.split('.').next()?.to_owned();
        Some((service, entry.get("weight").and_then(Value::as_u64).unwrap_or(alone)))
    };
    destinations.iter().filter_map(one).collect()
}

async fn follow_endpoints(client: Client, way: Way, world: Arc<Mutex<World>>) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &way.namespace);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(slice) | watcher::Event::InitApply(slice)) => {
                let service = slice.labels().get("kubernetes.io/service-name").cloned().unwrap_or_default();
                let ready = ready(&slice);
                lock(&world).slices.insert(slice.name_any(), (service, ready));
            }
            Ok(watcher::Event::Delete(slice)) => {
                lock(&world).slices.remove(&slice.name_any());
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => report::line(&format!("lab: load: endpoints: {error}")),
        }
    }
}

fn ready(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let port =
        slice.ports.iter().flatten().find_map(|port| port.port).and_then(|port| u16::try_from(port).ok());
    let endpoints = slice.endpoints.iter().flatten();
    let serving = endpoints.filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let addresses =
        serving.flat_map(|endpoint| &endpoint.addresses).filter_map(|address| address.parse().ok());
    port.map(|port| addresses.map(|address| SocketAddr::new(address, port)).collect()).unwrap_or_default()
}

async fn send(way: Way, world: Arc<Mutex<World>>, telemetry: Arc<Telemetry>) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
    let Ok(client) = client else { return report::line("lab: load: no HTTP client") };
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    for turn in 0_u64.. {
        beat.tick().await;
        let at = Clock::Wall.now();
        let Some((service, target)) = choose(&lock(&world), turn) else { continue };
        let (client, world, telemetry) = (client.clone(), world.clone(), telemetry.clone());
        let namespace = way.namespace.clone();
        tokio::spawn(async move {
            let outcome = match target {
                Some(target) => ask(&client, &service, target).await,
                None => Outcome::NoEndpoint { service: service.clone() },
            };
            telemetry.count(&namespace, &service, &outcome);
            lock(&world).answers.push(Answer { at, outcome });
        });
    }
}

async fn ask(client: &reqwest::Client, service: &str, target: SocketAddr) -> Outcome {
    match client.get(format!("http://{target}/")).send().await {
        Ok(answer) => {
            let version = answer.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok());
            let version = version.unwrap_or_default().to_owned();
            let code = answer.status().as_u16();
            // Read to the end, so that the connection can be used again.
            let _ = answer.bytes().await;
            Outcome::Answered { version, code }
        }
        Err(error) => Outcome::Broken { service: service.into(), why: format!("{target}: {error:?}") },
    }
}

/// Service and endpoint of a turn; no endpoint where none is ready; nothing while there is no route.
fn choose(world: &World, turn: u64) -> Option<(String, Option<SocketAddr>)> {
    let total: u64 = world.split.iter().map(|(_, weight)| weight).sum();
    // 61 and 100 have no common factor: each hundred turns meet every hundredth once, well mixed.
    let point = (turn * 61 % 100) * total / 100;
    let mut below = 0;
    let (service, _) = world.split.iter().find(|(_, weight)| {
        below += weight;
        point < below
    })?;
    let ready: Vec<SocketAddr> = world
        .slices
        .values()
        .filter(|(of, _)| of == service)
        .flat_map(|(_, addresses)| addresses.clone())
        .collect();
    let index = usize::try_from(turn).ok()?.checked_rem(ready.len());
    Some((service.clone(), index.and_then(|index| ready.get(index).copied())))
}
