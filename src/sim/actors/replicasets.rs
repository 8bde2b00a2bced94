//! The ReplicaSet controller: as many pods as asked for, and the counts that rollouts are decided on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Dirty, controlled_by, controller, emit, later, number, ready_since, write_status};
use crate::sim::store::{By, Change, DeleteOptions, Key, Resource, Store, at, text};

#[derive(Clone, Debug, Default)]
pub(super) struct ReplicaSets {
    dirty: Dirty,
    /// Pods by the uid of the ReplicaSet that controls them.
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// Pods that become available later.
    timers: BTreeSet<(Timestamp, Key)>,
}

impl ReplicaSets {
    pub(super) fn see(&mut self, change: &Change) {
        self.dirty.insert(change.key.clone());
    }

    pub(super) fn see_pod(&mut self, change: &Change) {
        let Some(("ReplicaSet", name, uid)) = controller(&change.shown) else { return };
        let owned = self.owned.entry(uid.to_owned()).or_default();
        if change.after.is_some() {
            owned.insert(change.key.clone());
        } else {
            owned.remove(&change.key);
            if owned.is_empty() {
                self.owned.remove(uid);
            }
        }
        self.dirty.insert(Key::new(&change.key.namespace, name));
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn run(&mut self, store: &mut Store) {
        while let Some((at, _)) = self.timers.first()
            && *at <= store.now()
            && let Some((_, key)) = self.timers.pop_first()
        {
            self.dirty.insert(key);
        }
        for key in std::mem::take(&mut self.dirty) {
            self.sync(store, &key);
        }
    }

    fn sync(&mut self, store: &mut Store, key: &Key) {
        let Some(set) = store.at(Resource::ReplicaSets, key).cloned() else { return };
        let uid = text(&set, "/metadata/uid");
        let pods: Vec<Key> = self.owned.get(uid).into_iter().flatten().cloned().collect();
        let active: Vec<Key> = pods.into_iter().filter(|pod| is_active(store, pod)).collect();
        let mut counted = active.len();
        if at(&set, "/metadata/deletionTimestamp").is_none() {
            let wanted = usize::try_from(number(&set, "/spec/replicas")).unwrap_or(0);
            for _ in active.len()..wanted {
                counted += usize::from(create_pod(store, key, &set));
            }
            if active.len() > wanted {
                let excess = active.len() - wanted;
                counted -= delete_pods(store, &set, &active, excess);
            }
        }
        self.count(store, key, &set, &active, counted);
    }

    /// Writes the counts. A pod that was just created or deleted changes `replicas` at once, the rest when it is
    /// seen.
    fn count(&mut self, store: &mut Store, key: &Key, set: &Value, active: &[Key], replicas: usize) {
        let labels = at(set, "/spec/template/metadata/labels").and_then(Value::as_object);
        let minimum = number(set, "/spec/minReadySeconds");
        let (mut labelled, mut ready, mut available) = (replicas - replicas.min(active.len()), 0, 0);
        for key_of_pod in active {
            let Some(pod) = store.at(Resource::Pods, key_of_pod).filter(|pod| !is_going(pod)) else {
                continue;
            };
            let has = |(name, value): (&String, &Value)| {
                at(pod, "/metadata/labels").and_then(|labels| labels.get(name)) == Some(value)
            };
            labelled += usize::from(labels.into_iter().flatten().all(has));
            let Some(since) = ready_since(pod) else { continue };
            ready += 1;
            let at = later(since, minimum);
            if at <= store.now() {
                available += 1;
            } else {
                self.timers.insert((at, key.clone()));
            }
        }
        let mut status =
            json!({"replicas": replicas, "observedGeneration": number(set, "/metadata/generation")});
        for (field, count) in
            [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
        {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        if let Some(conditions) = at(set, "/status/conditions") {
            status["conditions"] = conditions.clone();
        }
        write_status(store, Resource::ReplicaSets, key, status);
    }
}

fn is_going(pod: &Value) -> bool {
    at(pod, "/metadata/deletionTimestamp").is_some()
}

fn is_active(store: &Store, key: &Key) -> bool {
    store
        .at(Resource::Pods, key)
        .is_some_and(|pod| !is_going(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
}

fn create_pod(store: &mut Store, key: &Key, set: &Value) -> bool {
    let template = at(set, "/spec/template");
    let mut metadata =
        json!({"generateName": format!("{}-", key.name), "ownerReferences": controlled_by(set)});
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.and_then(|template| at(template, &format!("/metadata/{field}"))) {
            metadata[field] = value.clone();
        }
    }
    let spec = template.and_then(|template| template.get("spec")).cloned().unwrap_or_else(|| json!({}));
    let pod = json!({"metadata": metadata, "spec": spec});
    match store.create(Resource::Pods, &key.namespace, pod, By::actor()) {
        Ok(created) => {
            let message = format!("Created pod: {}", text(&created, "/metadata/name"));
            emit(store, set, "replicaset-controller", "SuccessfulCreate", &message);
            true
        }
        Err(refusal) => {
            let message = format!("Error creating: {}", refusal.message());
            emit(store, set, "replicaset-controller", "FailedCreate", &message);
            false
        }
    }
}

/// Deletes the least useful pods: not ready before ready, young before old.
fn delete_pods(store: &mut Store, set: &Value, active: &[Key], excess: usize) -> usize {
    let mut ranked: Vec<_> = active
        .iter()
        .filter_map(|key| {
            let pod = store.at(Resource::Pods, key)?;
            let ready = ready_since(pod);
            let created = text(pod, "/metadata/creationTimestamp").to_owned();
            let running = text(pod, "/status/phase") == "Running";
            Some(((running, ready.is_some()), std::cmp::Reverse((ready, created)), key.clone()))
        })
        .collect();
    ranked.sort();
    let mut deleted = 0;
    for (_, _, key) in ranked.into_iter().take(excess) {
        if store.delete(Resource::Pods, &key, &DeleteOptions::default()).is_ok() {
            deleted += 1;
            let message = format!("Deleted pod: {}", key.name);
            emit(store, set, "replicaset-controller", "SuccessfulDelete", &message);
        }
    }
    deleted
}
