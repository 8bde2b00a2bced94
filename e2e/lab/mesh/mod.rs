//! The data plane: one real Envoy, and what configures it: a real istiod, or, in one lane and where there is none, a stand-in that goes
//! by VirtualServices and EndpointSlices.
//!
//! The stand-in does as a real istiod was measured to do. A change is pushed once nothing else has changed for 100 ms; a steady churn of
//! changes to anything holds a push back, for 10 s at the most. What Envoy was told last stays in force until the next push.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Namespace, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use serin::clock::{Clock, instant};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, images::lock, process::Process, report, settings::Settings, wait};

pub(crate) mod istiod;
mod translate;

/// Where Envoy takes requests, in the namespace. A shop is told by the Host header.
pub(crate) const GATEWAY: &str = "http://10.77.0.6:8080";
/// Where Envoy tells Prometheus what it counts.
pub(crate) const TELEMETRY: &str = "10.77.0.6:15000";

/// istiod's PILOT_DEBOUNCE_AFTER and PILOT_DEBOUNCE_MAX.
const QUIET: Duration = Duration::from_millis(100);
const CEILING: Duration = Duration::from_secs(10);

/// What the API server says, by namespace and name.
#[derive(Default)]
struct World {
    services: BTreeMap<(String, String), Value>,
    /// Service and ready endpoints of each slice.
    slices: BTreeMap<(String, String), (String, Vec<SocketAddr>)>,
}

struct Inner {
    folder: PathBuf,
    world: Mutex<World>,
    changed: Notify,
    held: Mutex<Held>,
}

/// Pushes, and how long they were held back because more might change.
#[derive(Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) pushes: u64,
    pub(crate) total: Duration,
}

/// The running mesh. Ends with this value.
pub(crate) struct Mesh {
    envoy: Process,
    /// The real one, where there is one.
    istiod: Option<Process>,
    stand_in: Option<Arc<Inner>>,
    /// Ends the stand-in.
    _stop: DropGuard,
}

impl Mesh {
    /// Starts Envoy (`programs/envoy`) and what configures it: the stand-in, or the real istiod of the settings. Both write to `folder`.
    ///
    /// # Errors
    /// With the end of the log of the program that does not come up.
    pub(crate) async fn start(settings: &Settings, folder: &Path, client: Client) -> Fallible<Self> {
        let stop = CancellationToken::new();
        let (bootstrap, istiod) = match &settings.istiod {
            Some(program) => (istiod::bootstrap(), Some(real(program, folder, &client).await?)),
            None => (translate::bootstrap(folder), None),
        };
        let stand_in = if istiod.is_none() { Some(stand_in(folder, client, &stop)?) } else { None };
        std::fs::write(folder.join("envoy.json"), serde_json::to_vec_pretty(&bootstrap)?)?;
        let arguments =
            "-c envoy.json --log-level warning --base-id 0 --concurrency 1 --file-flush-interval-msec 200";
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let mut envoy = Process::start(folder, "envoy", &settings.programs.join("envoy"), &arguments)?;
        let ready = format!("http://{TELEMETRY}/ready");
        is_up("Envoy", &mut envoy, &ready).await?;
        Ok(Self { envoy, istiod, stand_in, _stop: stop.drop_guard() })
    }

    /// What configures Envoy.
    pub(crate) fn what(&self) -> &'static str {
        if self.istiod.is_some() { "a real istiod" } else { "the mesh stand-in" }
    }

    /// How long pushes were held back so far: as istiod counts it itself, or the stand-in.
    ///
    /// # Errors
    /// When istiod does not say it.
    pub(crate) async fn held(&self) -> Fallible<Held> {
        match &self.stand_in {
            Some(inner) => Ok(*lock(&inner.held)),
            None => istiod::held().await,
        }
    }

    /// Fails when Envoy or istiod has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.istiod.as_mut().map_or(Ok(()), Process::alive)?;
        self.envoy.alive()
    }
}

/// Starts what stands in for istiod, until `stop`.
fn stand_in(folder: &Path, client: Client, stop: &CancellationToken) -> Fallible<Arc<Inner>> {
    let inner = Arc::new(Inner {
        folder: folder.into(),
        world: Mutex::default(),
        changed: Notify::new(),
        held: Mutex::default(),
    });
    inner.push()?;
    let tasks: [futures::future::BoxFuture<'static, ()>; 3] = [
        Box::pin(inner.clone().follow_services(client.clone())),
        Box::pin(inner.clone().follow_slices(client)),
        Box::pin(inner.clone().serve()),
    ];
    for task in tasks {
        tokio::spawn(stop.clone().run_until_cancelled_owned(task));
    }
    Ok(inner)
}

/// Starts the real istiod.
async fn real(program: &Path, folder: &Path, client: &Client) -> Fallible<Process> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let own =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": istiod::NAMESPACE}});
    namespaces.patch(istiod::NAMESPACE, &PatchParams::apply("lab"), &Patch::Apply(&own)).await?;
    let mut process = istiod::start(program, folder)?;
    is_up("istiod", &mut process, istiod::READY).await?;
    Ok(process)
}

async fn is_up(what: &str, process: &mut Process, ready: &str) -> Fallible {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    wait::while_alive(
        what,
        Duration::from_secs(30),
        || process.alive(),
        async || Ok(http.get(ready).send().await?.error_for_status().map(|_| ())?),
    )
    .await
}

/// The 5xx that Envoy gave itself to users of `host` since `since`, by its own word for why (its response flags), from its access log.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn lost(folder: &Path, host: &str, since: Timestamp) -> Fallible<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join(translate::ACCESS_LOG))?.lines() {
        let [at, authority, code, flags, ..] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        // An answer of a pod has no flags, whatever its code.
        let is_own = flags != "-" && code.parse::<u16>()? >= 500;
        if is_own && authority == host && at.parse::<Timestamp>()? >= since {
            *counts.entry(flags.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

impl Inner {
    /// Pushes what has changed, as late as istiod would.
    async fn serve(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            let first = instant();
            loop {
                let left = CEILING.saturating_sub(first.elapsed());
                let again = Clock::Wall.timeout(QUIET.min(left), self.changed.notified()).await;
                if again.is_none() {
                    break;
                }
            }
            {
                let mut held = lock(&self.held);
                held.pushes += 1;
                held.total += first.elapsed();
            }
            if let Err(error) = self.push() {
                report::line(&format!("lab: mesh: {error}"));
            }
        }
    }

    /// Endpoints and clusters first: a route must not name what Envoy does not know.
    fn push(&self) -> Fallible {
        let config = {
            let world = lock(&self.world);
            let ready = |namespace: &str, service: &str| {
                let slices =
                    world.slices.iter().filter(|((own, _), (of, _))| own == namespace && of == service);
                slices.flat_map(|(_, (_, addresses))| addresses.clone()).collect()
            };
            translate::config(&self.folder, world.services.iter(), ready)
        };
        let endpoints = config.endpoints.into_iter().map(|(file, one)| (file, vec![one]));
        let rest = [("cds.json".to_owned(), config.clusters), ("rds.json".to_owned(), config.routes)];
        for (file, resources) in endpoints.chain(rest) {
            let text = serde_json::to_vec_pretty(&serde_json::json!({"resources": resources}))?;
            let path = self.folder.join(&file);
            // Envoy looks when a file is moved to where it reads; one that says the same need not be read again.
            if std::fs::read(&path).is_ok_and(|present| present == text) {
                continue;
            }
            let draft = self.folder.join(format!("{file}.draft"));
            std::fs::write(&draft, text)?;
            std::fs::rename(draft, path)?;
        }
        Ok(())
    }

    async fn follow_services(self: Arc<Self>, client: Client) {
        let kind =
            ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService"));
        let events = watcher(Api::<DynamicObject>::all_with(client, &kind), watcher::Config::default())
            .default_backoff();
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                    lock(&self.world).services.insert(key(&object), object.data);
                }
                Ok(watcher::Event::Delete(object)) => {
                    lock(&self.world).services.remove(&key(&object));
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
                Err(error) => {
                    report::line(&format!("lab: mesh: VirtualServices: {error}"));
                    continue;
                }
            }
            self.changed.notify_one();
        }
    }

    async fn follow_slices(self: Arc<Self>, client: Client) {
        let events = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default()).default_backoff();
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(slice) | watcher::Event::InitApply(slice)) => {
                    let service =
                        slice.labels().get("kubernetes.io/service-name").cloned().unwrap_or_default();
                    lock(&self.world).slices.insert(key(&slice), (service, ready(&slice)));
                }
                Ok(watcher::Event::Delete(slice)) => {
                    lock(&self.world).slices.remove(&key(&slice));
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
                Err(error) => {
                    report::line(&format!("lab: mesh: endpoints: {error}"));
                    continue;
                }
            }
            self.changed.notify_one();
        }
    }
}

fn key(object: &impl ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
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
