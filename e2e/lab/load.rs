//! The users: a steady stream of requests to the mesh's gateway, as strict as users are: nothing is retried, everything is written down.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use serin::clock::Clock;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, images::lock, mesh::GATEWAY, pod::VERSION_HEADER, report};

/// Requests a second: a few more than the 200 that every story has to have had.
pub(crate) const RATE: u64 = 205;

/// Where requests go: a host that the VirtualService serves, and the http route whose weights are of interest.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) host: String,
    pub(crate) namespace: String,
    pub(crate) virtual_service: String,
    pub(crate) route: String,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A pod answered.
    Answered { version: String, code: u16 },
    /// The mesh itself answered: nobody was there, or a connection broke. `why` is its word for it.
    Mesh { code: u16, why: String },
    /// Not even the mesh answered.
    Broken { why: String },
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When it was sent.
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
}

#[derive(Default)]
struct World {
    /// When which weights were first seen in the VirtualService, oldest first. Service and weight, in the order of the route.
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
    pub(crate) fn start(client: Client, way: Way) -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow_route(
            client,
            way.clone(),
            world.clone(),
        )));
        tokio::spawn(stop.clone().run_until_cancelled_owned(send(way.host, world.clone())));
        Self { world, _stop: stop.drop_guard() }
    }

    /// Everything sent since `since` and answered by now, in the order of sending.
    pub(crate) fn answers(&self, since: Timestamp) -> Vec<Answer> {
        let mut answers: Vec<Answer> =
            lock(&self.world).answers.iter().filter(|answer| answer.at >= since).cloned().collect();
        answers.sort_by_key(|answer| answer.at);
        answers
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
                if world.seen.last().is_none_or(|(_, last)| *last != split) {
                    world.seen.push((Clock::Wall.now(), split));
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

async fn send(host: String, world: Arc<Mutex<World>>) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
    let Ok(client) = client else { return report::line("lab: load: no HTTP client") };
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    loop {
        beat.tick().await;
        let at = Clock::Wall.now();
        let (client, world, host) = (client.clone(), world.clone(), host.clone());
        tokio::spawn(async move {
            let outcome = match ask(&client, &host).await {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Broken { why: format!("{error:?}") },
            };
            lock(&world).answers.push(Answer { at, outcome });
        });
    }
}

async fn ask(client: &reqwest::Client, host: &str) -> Fallible<Outcome> {
    let answer = client.get(GATEWAY).header(http::header::HOST, host).send().await?;
    let version =
        answer.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let code = answer.status().as_u16();
    // Read to the end, so that the connection can be used again.
    let why = answer.text().await?;
    Ok(match version {
        Some(version) => Outcome::Answered { version, code },
        None => Outcome::Mesh { code, why },
    })
}
