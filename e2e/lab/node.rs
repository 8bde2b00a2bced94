//! The kubelet's stand-in: one Node that is kept Ready, binds every pod to itself and runs it as a local HTTP server.
//!
//! It obeys the pod as far as serin can tell the difference: an image that is not published stays in ImagePullBackOff, a pod is
//! ready when its program is and its probe's initial delay is over, one that crashes is started again and again with a growing
//! pause, and deletion is graceful: the pod leaves the endpoints, goes on answering for a second, and is then gone.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node as NodeObject, Pod as PodObject},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use serin::clock::Clock;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Fallible,
    images::{Images, lock, version},
    pod::{Container, Pod},
    report, wait,
};

const NAME: &str = "lab-0";
const MANAGER: &str = "lab-kubelet";
/// Every pod that can run at once has one of these; Prometheus scrapes all of them from its start on.
pub(crate) const ADDRESSES: std::ops::RangeInclusive<u8> = 10..=109;
/// A third of the time after which the node would be taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a deleted pod goes on answering.
const DRAIN: Duration = Duration::from_secs(1);
const PROBE: Duration = Duration::from_millis(50);
/// From a container's end to its next start: a kubelet waits ten times as long.
const BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// The `n`th address of the pods' pool.
pub(crate) fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 1, n))
}

enum State {
    Starting,
    Running(Pod, IpAddr),
    /// Between two starts.
    Crashed(IpAddr),
    Ending,
}

struct Inner {
    client: Client,
    images: Arc<Images>,
    free: Mutex<VecDeque<IpAddr>>,
    pods: Mutex<BTreeMap<String, State>>,
    turns: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

/// The running node. Ends with this value.
pub(crate) struct Node {
    _stop: DropGuard,
}

impl Node {
    /// Makes the Node and starts to obey pods.
    ///
    /// # Errors
    /// When the API server refuses the Node.
    pub(crate) async fn start(client: Client, images: Arc<Images>) -> Fallible<Self> {
        let free = Mutex::new(ADDRESSES.map(address).collect());
        let inner = Arc::new(Inner { client, images, free, pods: Mutex::default(), turns: Mutex::default() });
        inner.heartbeat().await?;
        let stop = CancellationToken::new();
        let (beat, watch) = (inner.clone(), inner);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                wait::pause(HEARTBEAT).await;
                complain("heartbeat", beat.heartbeat().await);
            }
        }));
        tokio::spawn(stop.clone().run_until_cancelled_owned(watch.obey()));
        Ok(Self { _stop: stop.drop_guard() })
    }
}

impl Inner {
    async fn heartbeat(&self) -> Fallible {
        let now = Clock::Wall.now();
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}});
        nodes.patch(NAME, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&node)).await?;
        let status = json!({"status": {
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "500"},
            "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "500"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "lab",
                "lastHeartbeatTime": seconds(now), "lastTransitionTime": seconds(now)}],
        }});
        nodes.patch_status(NAME, &PatchParams::default(), &Patch::Merge(&status)).await?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME},
            "spec": {"holderIdentity": NAME, "leaseDurationSeconds": 40, "renewTime": format!("{now:.6}")}});
        leases.patch(NAME, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&lease)).await?;
        Ok(())
    }

    async fn obey(self: Arc<Self>) {
        let pods: Api<PodObject> = Api::all(self.client.clone());
        let events = watcher(pods, watcher::Config::default()).default_backoff();
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => self.changed(pod),
                Ok(watcher::Event::Delete(pod)) => self.gone(&pod),
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => report::line(&format!("lab: kubelet: watch: {error}")),
            }
        }
    }

    fn changed(self: &Arc<Self>, pod: PodObject) {
        let (inner, uid) = (self.clone(), pod.uid().unwrap_or_default());
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(NAME);
        if pod.metadata.deletion_timestamp.is_some() {
            let before = lock(&self.pods).insert(uid, State::Ending);
            if bound && !matches!(before, Some(State::Ending)) {
                tokio::spawn(async move { complain("end", inner.end(&pod, before).await) });
            }
        } else if !bound {
            tokio::spawn(async move { complain("bind", inner.bind(&pod).await) });
        } else if !lock(&self.pods).contains_key(&uid) {
            lock(&self.pods).insert(uid, State::Starting);
            tokio::spawn(async move { complain("begin", inner.begin(&pod).await) });
        }
    }

    fn gone(&self, pod: &PodObject) {
        let state = lock(&self.pods).remove(&pod.uid().unwrap_or_default());
        if let Some(State::Running(_, address) | State::Crashed(address)) = state {
            lock(&self.free).push_back(address);
        }
    }

    /// The scheduler's part: there is one node, so it is the best one.
    async fn bind(&self, pod: &PodObject) -> Fallible {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NAME}});
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/binding",
            pod.namespace().unwrap_or_default(),
            pod.name_any()
        );
        let request = http::Request::post(path).header("content-type", "application/json");
        match self.client.request::<Value>(request.body(serde_json::to_vec(&binding)?)?).await {
            // Bound or deleted by the time we ask: another event tells.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    async fn begin(&self, pod: &PodObject) -> Fallible {
        let container =
            pod.spec.as_ref().and_then(|spec| spec.containers.first()).ok_or("a pod without containers")?;
        let image = container.image.clone().unwrap_or_default();
        let Some(behaviour) = self.images.pull(&image) else {
            return self.report(pod, &not_pulled(&container.name, &image)).await;
        };
        let address = lock(&self.free).pop_front().ok_or("no address is left for another pod")?;
        let uid = pod.uid().unwrap_or_default();
        if behaviour.crashes {
            if let Some(state @ State::Starting) = lock(&self.pods).get_mut(&uid) {
                *state = State::Crashed(address);
            } else {
                lock(&self.free).push_back(address);
                return Ok(());
            }
            return self.crash_loop(pod, &uid, &container.name, &image, address).await;
        }
        let ports = container.ports.iter().flatten();
        let port = ports.map(|port| port.container_port).next().unwrap_or(8080);
        let turn = lock(&self.turns).entry(image.clone()).or_default().clone();
        let (labels, images) = (labels(pod, &image), self.images.clone());
        let known = Container { version: version(&image).into(), image: image.clone(), images, labels, turn };
        // The port is open before anybody is told of it.
        let running = Pod::start(address, u16::try_from(port)?, known).await?;
        if !matches!(lock(&self.pods).get(&uid), Some(State::Starting)) {
            lock(&self.free).push_back(address);
            return Ok(());
        }
        lock(&self.pods).insert(uid.clone(), State::Running(running, address));
        self.report(pod, &status(&container.name, &image, address, false)).await?;
        let delay =
            container.readiness_probe.as_ref().and_then(|probe| probe.initial_delay_seconds).unwrap_or(0);
        wait::pause(Duration::from_secs(u64::try_from(delay)?)).await;
        self.watch_over(pod, &uid, &container.name, &image, address).await
    }

    /// Says when a running container gets ready, and goes on with it once it crashes. Ends with the pod.
    async fn watch_over(&self, pod: &PodObject, uid: &str, name: &str, image: &str, at: IpAddr) -> Fallible {
        let mut is_told = false;
        while !self.images.pull(image).is_some_and(|now| now.crashes) {
            let is_ready = match lock(&self.pods).get(uid) {
                Some(State::Running(running, _)) => running.ready(),
                _ => return Ok(()),
            };
            if is_ready && !is_told {
                self.report(pod, &status(name, image, at, true)).await?;
                is_told = true;
            }
            wait::pause(PROBE).await;
        }
        match lock(&self.pods).get_mut(uid) {
            // Its port is closed as the program ends.
            Some(state @ State::Running(..)) => *state = State::Crashed(at),
            _ => return Ok(()),
        }
        self.crash_loop(pod, uid, name, image, at).await
    }

    /// Says of a container again and again that it has ended, as long as the pod is there.
    async fn crash_loop(&self, pod: &PodObject, uid: &str, name: &str, image: &str, at: IpAddr) -> Fallible {
        let mut wait = BACK_OFF;
        for restarts in 1.. {
            if !matches!(lock(&self.pods).get(uid), Some(State::Crashed(_))) {
                break;
            }
            self.report(pod, &crashed(name, image, at, restarts)).await?;
            wait::pause(wait).await;
            wait = (wait * 2).min(LONGEST_BACK_OFF);
        }
        Ok(())
    }

    async fn end(&self, pod: &PodObject, before: Option<State>) -> Fallible {
        if let Some(State::Crashed(address)) = before {
            lock(&self.free).push_back(address);
        } else if let Some(State::Running(running, address)) = before {
            running.drain();
            let asked = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            wait::pause(DRAIN.min(Duration::from_secs(u64::try_from(asked)?))).await;
            running.stop().await;
            lock(&self.free).push_back(address);
        }
        let pods: Api<PodObject> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let now = DeleteParams::default()
            .grace_period(0)
            .preconditions(Preconditions { uid: pod.uid(), resource_version: None });
        ignore_gone(pods.delete(&pod.name_any(), &now).await.map(|_| ()))
    }

    async fn report(&self, pod: &PodObject, status: &Value) -> Fallible {
        let pods: Api<PodObject> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let patched =
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
        ignore_gone(patched.map(|_| ()))
    }
}

/// Everything that Prometheus would know of a pod from Kubernetes; Debian's has no discovery for it, so the pod says it itself.
fn labels(pod: &PodObject, image: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = pod
        .labels()
        .iter()
        .map(|(name, value)| (name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"), value.clone()))
        .collect();
    all.insert("namespace".into(), pod.namespace().unwrap_or_default());
    all.insert("pod".into(), pod.name_any());
    all.insert("version".into(), version(image).into());
    all
}

fn status(container: &str, image: &str, address: IpAddr, ready: bool) -> Value {
    let now = seconds(Clock::Wall.now());
    let condition = |kind: &str, holds: bool| {
        let holds = if holds { "True" } else { "False" };
        json!({"type": kind, "status": holds, "lastTransitionTime": now})
    };
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "10.77.0.1", "startTime": now,
        "conditions": [condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", ready), condition("Ready", ready)],
        "containerStatuses": [{"name": container, "image": image, "imageID": format!("lab/{image}"), "ready": ready,
            "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}}],
    }})
}

fn crashed(container: &str, image: &str, address: IpAddr, restarts: u32) -> Value {
    let now = seconds(Clock::Wall.now());
    let mut status = status(container, image, address, false);
    status["status"]["containerStatuses"] = json!([{"name": container, "image": image,
        "imageID": format!("lab/{image}"), "ready": false, "started": false, "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": now}}}]);
    status
}

fn not_pulled(container: &str, image: &str) -> Value {
    let now = seconds(Clock::Wall.now());
    let condition =
        |kind: &str, holds: &str| json!({"type": kind, "status": holds, "lastTransitionTime": now});
    json!({"status": {
        "phase": "Pending", "hostIP": "10.77.0.1", "startTime": now,
        "conditions": [condition("PodScheduled", "True"), condition("Initialized", "True"),
            condition("ContainersReady", "False"), condition("Ready", "False")],
        "containerStatuses": [{"name": container, "image": image, "imageID": "", "ready": false, "started": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff",
                "message": format!("Back-off pulling image \"{image}\"")}}}],
    }})
}

/// The API server's times have whole seconds.
fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn ignore_gone(outcome: kube::Result<()>) -> Fallible {
    match outcome {
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        other => Ok(other?),
    }
}

fn complain(what: &str, outcome: Fallible) {
    if let Err(error) = outcome {
        report::line(&format!("lab: kubelet: {what}: {error}"));
    }
}
