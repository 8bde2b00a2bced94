//! The scheduler and the kubelet: pods are bound at once, start after a delay, stay, crash, or never get ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{condition, later, number, write_status};
use crate::sim::store::{By, Change, DeleteOptions, Key, Resource, Store, at, text};

/// The one node of the cluster.
pub(super) const NODE: &str = "node-1";
const NODE_ADDRESS: &str = "10.77.255.1";

/// How pods with a certain image behave.
#[derive(Clone, Debug, PartialEq)]
pub struct PodScript {
    /// Any part of the first container's image; the first script that fits counts.
    pub image: String,
    /// From creation to ready.
    pub ready_after: Duration,
    pub then: Then,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Stays ready.
    Forever,
    /// Crashes this long after each time it became ready, and restarts with the kubelet's back-off.
    CrashAfter(Duration),
    /// Crashes a second after each start, before it gets ready.
    CrashLoop,
    /// Runs, and never passes its readiness probe.
    Never,
    /// The image cannot be pulled; the pod stays Pending.
    ImageMissing,
}

/// The node's agent.
#[derive(Clone, Debug)]
pub struct Kubelet {
    /// Scripts by image, the first that fits counts.
    pub scripts: Vec<PodScript>,
    /// For images without a script.
    pub ready_after: Duration,
    /// From the deletion of a running pod to its end, unless its grace is shorter.
    pub ends_after: Duration,
    timers: BTreeSet<(Timestamp, Key, Step)>,
    /// The uid of each pod that was taken on, so that a namesake is told from it.
    known: BTreeMap<Key, String>,
    addresses: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Bind,
    Start,
    Crash,
    End,
}

impl Default for Kubelet {
    fn default() -> Self {
        Self {
            scripts: vec![],
            ready_after: Duration::from_secs(2),
            ends_after: Duration::from_secs(1),
            timers: BTreeSet::new(),
            known: BTreeMap::new(),
            addresses: 0,
        }
    }
}

impl Kubelet {
    pub(super) fn see(&mut self, now: Timestamp, change: &Change) {
        let key = &change.key;
        let Some(pod) = &change.after else {
            self.known.remove(key);
            self.timers.retain(|(_, other, _)| other != key);
            return;
        };
        let uid = text(pod, "/metadata/uid");
        if self.known.get(key).is_none_or(|known| known != uid) {
            self.timers.retain(|(_, other, _)| other != key);
            self.known.insert(key.clone(), uid.to_owned());
            self.timers.insert((now, key.clone(), Step::Bind));
        }
        let going = at(pod, "/metadata/deletionTimestamp").is_some();
        if going && !self.timers.iter().any(|(_, other, step)| other == key && *step == Step::End) {
            self.timers.retain(|(_, other, _)| other != key);
            let grace = SignedDuration::from_secs(number(pod, "/metadata/deletionGracePeriodSeconds"));
            let ends = SignedDuration::try_from(self.ends_after).unwrap_or(grace).min(grace);
            self.timers.insert((now.saturating_add(ends).unwrap_or(now), key.clone(), Step::End));
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, ..)| *at)
    }

    pub(super) fn run(&mut self, store: &mut Store) {
        while let Some((at, ..)) = self.timers.first()
            && *at <= store.now()
            && let Some((_, key, step)) = self.timers.pop_first()
        {
            let Some(pod) = store.at(Resource::Pods, &key).cloned() else { continue };
            match step {
                Step::Bind => self.bind(store, &key, &pod),
                Step::Start => self.start(store, &key, &pod),
                Step::Crash => self.crash(store, &key, &pod),
                Step::End => {
                    // Whatever refuses it now (a finalizer) ends it later by its own removal.
                    let _ = store.delete(Resource::Pods, &key, &DeleteOptions::now());
                }
            }
        }
    }

    fn script(&self, pod: &Value) -> (Duration, Then) {
        let image = text(pod, "/spec/containers/0/image");
        match self.scripts.iter().find(|script| image.contains(&script.image)) {
            Some(script) => (script.ready_after, script.then),
            None => (self.ready_after, Then::Forever),
        }
    }

    fn bind(&mut self, store: &mut Store, key: &Key, pod: &Value) {
        if text(pod, "/spec/nodeName").is_empty() {
            let bound = store.update(Resource::Pods, key, By::actor(), |live| {
                let mut pod = Value::clone(live);
                pod["spec"]["nodeName"] = json!(NODE);
                Ok(pod)
            });
            if bound.is_err() {
                return;
            }
        }
        let (ready_after, then) = self.script(pod);
        let waiting = if then == Then::ImageMissing { "ImagePullBackOff" } else { "ContainerCreating" };
        let mut status = json!({
            "phase": "Pending", "qosClass": pod["status"]["qosClass"], "hostIP": NODE_ADDRESS,
            "hostIPs": [{"ip": NODE_ADDRESS}], "startTime": store.stamp(),
            "containerStatuses": containers(pod, |_| json!({"waiting": {"reason": waiting}}), false, 0),
        });
        status["conditions"] = conditions(store, pod, false);
        write_status(store, Resource::Pods, key, status);
        if then != Then::ImageMissing {
            self.after(store.now(), ready_after, key, Step::Start);
        }
    }

    fn start(&mut self, store: &mut Store, key: &Key, pod: &Value) {
        let (_, then) = self.script(pod);
        let ready = !matches!(then, Then::Never | Then::CrashLoop);
        let address = match text(pod, "/status/podIP") {
            "" => {
                self.addresses += 1;
                format!("10.77.{}.{}", self.addresses / 250 % 250, self.addresses % 250 + 1)
            }
            address => address.to_owned(),
        };
        let now = store.stamp();
        let running = |_: &Value| json!({"running": {"startedAt": now}});
        let mut status = pod["status"].clone();
        status["phase"] = json!("Running");
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{"ip": address}]);
        status["containerStatuses"] = containers(pod, running, ready, restarts(pod));
        status["conditions"] = conditions(store, pod, ready);
        write_status(store, Resource::Pods, key, status);
        match then {
            Then::CrashAfter(after) => self.after(store.now(), after, key, Step::Crash),
            Then::CrashLoop => self.after(store.now(), Duration::from_secs(1), key, Step::Crash),
            Then::Forever | Then::Never | Then::ImageMissing => {}
        }
    }

    /// From now on pods of this image behave as `script` has it, and those that run crash now.
    pub(in crate::sim) fn break_pods(&mut self, store: &Store, script: PodScript) {
        let is_meant = |pod: &Value| text(pod, "/spec/containers/0/image").contains(&script.image);
        let pods = store.objects(Resource::Pods).filter(|(_, pod)| is_meant(pod));
        for (key, pod) in pods.filter(|(_, pod)| at(pod, "/metadata/deletionTimestamp").is_none()) {
            if at(pod, "/status/containerStatuses/0/state/running").is_some() {
                self.timers.retain(|(_, other, _)| other != key);
                self.timers.insert((store.now(), key.clone(), Step::Crash));
            }
        }
        self.scripts.insert(0, script);
    }

    fn crash(&mut self, store: &mut Store, key: &Key, pod: &Value) {
        let count = restarts(pod) + 1;
        let waiting = |container: &Value| {
            let name = text(container, "/name");
            json!({"waiting": {"reason": "CrashLoopBackOff",
                "message": format!("back-off restarting failed container={name} pod={}", key.name)}})
        };
        let mut status = pod["status"].clone();
        let mut all = containers(pod, waiting, false, count);
        for container in all.as_array_mut().into_iter().flatten() {
            container["lastState"] =
                json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": store.stamp()}});
        }
        status["containerStatuses"] = all;
        status["conditions"] = conditions(store, pod, false);
        write_status(store, Resource::Pods, key, status);
        // The kubelet's back-off: 10 s, doubling, at most 5 minutes.
        let seconds = 10_i64.checked_shl(u32::try_from(count - 1).unwrap_or(0)).unwrap_or(300).clamp(10, 300);
        self.timers.insert((later(store.now(), seconds), key.clone(), Step::Start));
    }

    fn after(&mut self, now: Timestamp, wait: Duration, key: &Key, step: Step) {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        self.timers.insert((now.saturating_add(wait).unwrap_or(Timestamp::MAX), key.clone(), step));
    }
}

fn restarts(pod: &Value) -> i64 {
    number(pod, "/status/containerStatuses/0/restartCount")
}

fn containers(pod: &Value, state: impl Fn(&Value) -> Value, ready: bool, restarts: i64) -> Value {
    let all = at(pod, "/spec/containers").and_then(Value::as_array);
    let one = |container: &Value| {
        let running = state(container).get("running").is_some();
        json!({
            "name": container["name"], "image": container["image"], "imageID": "", "ready": ready,
            "started": running, "restartCount": restarts, "state": state(container), "lastState": {},
        })
    };
    all.into_iter().flatten().map(one).collect()
}

/// The kubelet's conditions; a time of transition stays while the status stays.
fn conditions(store: &Store, pod: &Value, ready: bool) -> Value {
    let now = store.stamp();
    let one = |kind: &str, met: bool| {
        let status = if met { "True" } else { "False" };
        let since = condition(pod, kind)
            .filter(|before| text(before, "/status") == status)
            .map(|before| text(before, "/lastTransitionTime").to_owned());
        let mut one =
            json!({"type": kind, "status": status, "lastTransitionTime": since.unwrap_or(now.clone())});
        if !met {
            one["reason"] = json!("ContainersNotReady");
            one["message"] = json!(format!("containers with unready status: [{}]", names(pod)));
        }
        one
    };
    json!([
        one("PodReadyToStartContainers", true),
        one("Initialized", true),
        one("Ready", ready),
        one("ContainersReady", ready),
        one("PodScheduled", true),
    ])
}

fn names(pod: &Value) -> String {
    let all = at(pod, "/spec/containers").and_then(Value::as_array);
    let names: Vec<&str> = all.into_iter().flatten().map(|container| text(container, "/name")).collect();
    names.join(" ")
}
