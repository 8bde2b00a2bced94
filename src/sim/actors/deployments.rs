//! The Deployment controller in a few rules: the new ReplicaSet comes up whole, then the old ones go.

use serde_json::{Value, json};

use super::{Dirty, controlled_by, controller, number, write_status};
use crate::sim::store::{By, Change, Key, Resource, Store, text};

const HASH: &str = "pod-template-hash";

#[derive(Clone, Debug, Default)]
pub(super) struct Deployments {
    dirty: Dirty,
}

impl Deployments {
    pub(super) fn see(&mut self, change: &Change) {
        self.dirty.insert(change.key.clone());
    }

    pub(super) fn see_replica_set(&mut self, change: &Change) {
        if let Some(("Deployment", name, _)) = controller(&change.shown) {
            self.dirty.insert(Key::new(&change.key.namespace, name));
        }
    }

    pub(super) fn run(&mut self, store: &mut Store) {
        for key in std::mem::take(&mut self.dirty) {
            sync(store, &key);
        }
    }
}

fn sync(store: &mut Store, key: &Key) {
    let Some(deployment) = store.at(Resource::Deployments, key).cloned() else { return };
    if deployment.pointer("/metadata/deletionTimestamp").is_some() {
        return;
    }
    let uid = text(&deployment, "/metadata/uid");
    let wanted = number(&deployment, "/spec/replicas");
    let hash = hash(&deployment["spec"]["template"]);
    let current = Key::new(&key.namespace, &format!("{}-{hash}", key.name));
    let old: Vec<(Key, Value)> = store
        .objects_in(Resource::ReplicaSets, &key.namespace)
        .filter(|(other, set)| {
            **other != current && controller(set).is_some_and(|(_, _, owner)| owner == uid)
        })
        .map(|(other, set)| (other.clone(), Value::clone(set)))
        .collect();
    let paused = deployment.pointer("/spec/paused") == Some(&json!(true));
    if !paused {
        if store.at(Resource::ReplicaSets, &current).is_none() {
            create(store, &current, &deployment, &hash);
        }
        scale(store, &current, wanted);
        let ready = store.at(Resource::ReplicaSets, &current);
        if ready.is_some_and(|set| number(set, "/status/availableReplicas") >= wanted) {
            for (other, _) in &old {
                scale(store, other, 0);
            }
        }
    }
    let new = store.at(Resource::ReplicaSets, &current).map(|set| Value::clone(set)).unwrap_or_default();
    let total =
        |field: &str| number(&new, field) + old.iter().map(|(_, set)| number(set, field)).sum::<i64>();
    let available = total("/status/availableReplicas");
    let mut status = json!({
        "observedGeneration": number(&deployment, "/metadata/generation"),
        "conditions": conditions(store, &deployment, available >= wanted),
    });
    for (field, count) in [
        ("replicas", total("/status/replicas")),
        ("updatedReplicas", number(&new, "/status/replicas")),
        ("readyReplicas", total("/status/readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (wanted - available).max(0)),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    write_status(store, Resource::Deployments, key, status);
}

fn create(store: &mut Store, key: &Key, deployment: &Value, hash: &str) {
    let mut template = deployment["spec"]["template"].clone();
    let mut selector = deployment["spec"]["selector"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    selector["matchLabels"][HASH] = json!(hash);
    let set = json!({
        "metadata": {"name": key.name, "labels": template["metadata"]["labels"],
            "ownerReferences": controlled_by(deployment),
            "annotations": {"deployment.kubernetes.io/revision": "1"}},
        "spec": {"replicas": 0, "minReadySeconds": number(deployment, "/spec/minReadySeconds"),
            "selector": selector, "template": template},
    });
    // Refused only where the namespace is going away or the name is somebody else's.
    let _ = store.create(Resource::ReplicaSets, &key.namespace, set, By::actor());
}

fn scale(store: &mut Store, key: &Key, replicas: i64) {
    let _ = store.update(Resource::ReplicaSets, key, By::actor(), |live| {
        let mut set = Value::clone(live);
        set["spec"]["replicas"] = json!(replicas);
        Ok(set)
    });
}

fn conditions(store: &Store, deployment: &Value, available: bool) -> Value {
    let now = store.stamp();
    let one = |kind: &str, met: bool, reason: &str| {
        let status = if met { "True" } else { "False" };
        let before = super::condition(deployment, kind).filter(|before| text(before, "/status") == status);
        let since = before.map(|before| text(before, "/lastTransitionTime").to_owned());
        let since = since.unwrap_or_else(|| now.clone());
        json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": since,
            "lastUpdateTime": since})
    };
    let reason = if available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
    json!([one("Available", available, reason), one("Progressing", true, "NewReplicaSetAvailable")])
}

/// FNV-1a over the template's JSON, in letters that cannot form words.
fn hash(template: &Value) -> String {
    let sum = template
        .to_string()
        .bytes()
        .fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let digits = sum.to_string();
    let letter = |digit: u8| letters.get(usize::from(digit) % 27).copied().unwrap_or(b'b');
    digits.bytes().map(|digit| char::from(letter(digit))).collect()
}
