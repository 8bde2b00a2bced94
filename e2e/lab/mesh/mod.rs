//! The data plane: one real Envoy, and the stand-in for istiod that configures it from VirtualServices and EndpointSlices.
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
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use serin::clock::{Clock, instant};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Fallible, images::lock, process::Process, report, wait};

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
}

/// The running mesh. Ends with this value.
pub(crate) struct Mesh {
    envoy: Process,
    _stop: DropGuard,
}

impl Mesh {
    /// Starts Envoy (`programs/envoy`) and the stand-in; both write to `folder`.
    ///
    /// # Errors
    /// With the end of Envoy's log when it does not come up.
    pub(crate) async fn start(programs: &Path, folder: &Path, client: Client) -> Fallible<Self> {
        let inner =
            Arc::new(Inner { folder: folder.into(), world: Mutex::default(), changed: Notify::new() });
        inner.push()?;
        std::fs::write(folder.join("envoy.json"), serde_json::to_vec_pretty(&translate::bootstrap(folder))?)?;
        let arguments =
            ["-c", "envoy.json", "--log-level", "warning", "--base-id", "0", "--concurrency", "1"];
        let arguments = arguments.map(str::to_owned);
        let mut envoy = Process::start(folder, "envoy", &programs.join("envoy"), &arguments)?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let ready = format!("http://{TELEMETRY}/ready");
        wait::while_alive(
            "Envoy",
            Duration::from_secs(20),
            || envoy.alive(),
            async || Ok(http.get(&ready).send().await?.error_for_status().map(|_| ())?),
        )
        .await?;
        let stop = CancellationToken::new();
        let tasks: [futures::future::BoxFuture<'static, ()>; 3] = [
            Box::pin(inner.clone().follow_services(client.clone())),
            Box::pin(inner.clone().follow_slices(client)),
            Box::pin(inner.serve()),
        ];
        for task in tasks {
            tokio::spawn(stop.clone().run_until_cancelled_owned(task));
        }
        Ok(Self { envoy, _stop: stop.drop_guard() })
    }

    /// Fails when Envoy has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.envoy.alive()
    }
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
