//! What lives in the cluster besides its clients, as deterministic rules.
//!
//! Every actor sees every change in order, keeps a list of what it has to look at, and does it without delay of
//! its own; what takes time (a pod that starts, a mesh that propagates) is a timer in the world's time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::store::{By, Change, Key, Resource, Store, at, text};

mod deployments;
mod endpoints;
mod garbage;
mod kubelet;
mod mesh;
mod replicasets;

#[cfg(test)]
mod tests;

pub use kubelet::{Kubelet, PodScript, Then};
pub use mesh::{Mesh, Served, Share};

use deployments::Deployments;
use endpoints::Endpoints;
use garbage::Garbage;
use replicasets::ReplicaSets;

/// Every actor of the world.
#[derive(Clone, Debug)]
pub struct Actors {
    /// The store's version up to which changes were looked at.
    seen: u64,
    /// Rounds done since the time last moved.
    rounds: u32,
    round_at: Timestamp,
    quarrels: u32,
    /// Nobody acts.
    resting: bool,
    pub kubelet: Kubelet,
    pub mesh: Mesh,
    replica_sets: ReplicaSets,
    deployments: Deployments,
    endpoints: Endpoints,
    garbage: Garbage,
}

/// Rounds the actors may take at one instant. More would be a quarrel among rules that never ends; the world then
/// moves on instead of hanging.
const ROUNDS_MAX: u32 = 10_000;

impl Actors {
    /// Actors of a new cluster, and the node its pods run on.
    pub fn new(store: &mut Store) -> Self {
        let node =
            json!({"metadata": {"name": kubelet::NODE, "labels": {"kubernetes.io/hostname": kubelet::NODE}}});
        // Cannot be refused: the name is valid and the store is new.
        let _ = store.create(Resource::Nodes, "", node, By::actor());
        Self {
            seen: 0,
            rounds: 0,
            round_at: store.now(),
            quarrels: 0,
            resting: false,
            kubelet: Kubelet::default(),
            mesh: Mesh::new(store.now()),
            replica_sets: ReplicaSets::default(),
            deployments: Deployments::default(),
            endpoints: Endpoints::default(),
            garbage: Garbage::default(),
        }
    }

    /// Lets nobody act from now on: what is left is an API server without controllers.
    pub fn rest(&mut self) {
        self.resting = true;
    }

    /// When somebody next has something to do; now, where a change has not been looked at.
    pub fn next_due(&self, store: &Store) -> Option<Timestamp> {
        if self.resting {
            return None;
        }
        let quarrel = self.rounds >= ROUNDS_MAX && self.round_at == store.now();
        if store.version() > self.seen && !quarrel {
            return Some(store.now());
        }
        [self.kubelet.next_due(), self.replica_sets.next_due(), self.mesh.next_due()]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.max(store.now()))
            .filter(|due| !quarrel || *due > store.now())
    }

    /// Does what is due at the store's time: one round, which may leave more to do.
    pub fn run(&mut self, store: &mut Store) {
        if self.round_at < store.now() {
            (self.round_at, self.rounds) = (store.now(), 0);
        }
        self.rounds += 1;
        self.quarrels += u32::from(self.rounds == ROUNDS_MAX);
        self.mesh.elapse(store.now());
        self.look(store);
        self.garbage.run(store);
        self.kubelet.run(store);
        self.deployments.run(store);
        self.replica_sets.run(store);
        self.endpoints.run(store);
        self.mesh.run(store);
    }

    /// Accounts for time that passed without anything due.
    pub fn elapse(&mut self, store: &Store) {
        if self.resting {
            return;
        }
        self.mesh.elapse(store.now());
    }

    /// How often the rules did not come to rest. Anything but 0 is a defect of the world.
    pub fn quarrels(&self) -> u32 {
        self.quarrels
    }

    fn look(&mut self, store: &Store) {
        let since = self.seen;
        self.seen = store.version();
        for resource in Resource::all() {
            match store.changes_after(resource, since) {
                Some(changes) => changes.for_each(|change| self.tell(store, resource, change)),
                // So many writes between two rounds that the history forgot some: look at everything there is.
                None => {
                    for (key, object) in store.objects(resource) {
                        let (before, after) = (Some(object.clone()), Some(object.clone()));
                        let shown = object.clone();
                        let change = Change { rv: self.seen, key: key.clone(), before, after, shown };
                        self.tell(store, resource, &change);
                    }
                }
            }
        }
    }

    fn tell(&mut self, store: &Store, resource: Resource, change: &Change) {
        self.garbage.see(resource, change);
        if resource == Resource::Pods {
            self.kubelet.see(store.now(), change);
            self.replica_sets.see_pod(change);
            self.endpoints.see_pod(store, change);
            self.mesh.see_pod();
        } else if resource == Resource::ReplicaSets {
            self.replica_sets.see(change);
            self.deployments.see_replica_set(change);
        } else if resource == Resource::Deployments {
            self.deployments.see(change);
        } else if resource == Resource::Services {
            self.endpoints.see(change);
            self.mesh.see_config(store.now());
        } else if [Resource::VirtualServices, Resource::DestinationRules, Resource::EndpointSlices]
            .contains(&resource)
        {
            self.mesh.see_config(store.now());
        }
    }
}

/// Work by key, each key once.
type Dirty = std::collections::BTreeSet<Key>;

/// The controller among an object's owners: kind, name and uid.
fn controller(object: &Value) -> Option<(&str, &str, &str)> {
    let owners = at(object, "/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&json!(true)))?;
    Some((text(owner, "/kind"), text(owner, "/name"), text(owner, "/uid")))
}

/// An ownerReference that makes `owner` the controller.
fn controlled_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

/// A whole number at a pointer; 0 where there is none.
fn number(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The condition of a type.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = at(object, "/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| text(condition, "/type") == kind)
}

/// When a pod became ready, while it is.
fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| text(ready, "/status") == "True")?;
    text(ready, "/lastTransitionTime").parse().ok()
}

/// `at` later by `seconds`.
fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Writes a status; a refusal means that the object is gone, which a later change tells.
fn write_status(store: &mut Store, resource: Resource, key: &Key, status: Value) {
    let _ = store.update(resource, key, By::actor_status(), |live| {
        let mut object = Value::clone(live);
        object["status"] = status;
        Ok(object)
    });
}

/// A core/v1 Event about an object, as the built-in controllers write them.
fn emit(store: &mut Store, about: &Value, component: &str, reason: &str, message: &str) {
    let namespace = text(about, "/metadata/namespace").to_owned();
    let now = store.stamp();
    let mut involved = BTreeMap::new();
    for (field, pointer) in [
        ("kind", "/kind"),
        ("apiVersion", "/apiVersion"),
        ("name", "/metadata/name"),
        ("namespace", "/metadata/namespace"),
        ("uid", "/metadata/uid"),
        ("resourceVersion", "/metadata/resourceVersion"),
    ] {
        involved.insert(field, text(about, pointer));
    }
    let event = json!({
        "metadata": {"generateName": format!("{}.", text(about, "/metadata/name"))},
        "involvedObject": involved, "type": "Normal", "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now, "eventTime": null, "source": {"component": component},
        "reportingComponent": component, "reportingInstance": "",
    });
    // Refused only where the namespace is going away, and then nobody reads it.
    let _ = store.create(Resource::Events, &namespace, event, By::actor());
}
