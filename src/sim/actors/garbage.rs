//! The garbage collector and the end of namespaces.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::sim::store::{By, Change, DeleteOptions, Key, Resource, Store, text};

type Place = (Resource, Key);

#[derive(Clone, Debug, Default)]
pub(super) struct Garbage {
    /// Objects by the uid of each of their owners.
    owned: BTreeMap<String, BTreeSet<Place>>,
    /// Objects whose owners have to be looked at.
    suspects: BTreeSet<Place>,
    /// Owners that wait for their dependants to go, or to be let go.
    waiting: BTreeSet<Place>,
    namespaces: BTreeSet<String>,
    /// Something went since the last round.
    deletions: bool,
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let all = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    all.into_iter().flatten().map(|owner| text(owner, "/uid"))
}

impl Garbage {
    pub(super) fn see(&mut self, resource: Resource, change: &Change) {
        let place = (resource, change.key.clone());
        for uid in change.before.iter().flat_map(|before| owners(before)) {
            if let Some(owned) = self.owned.get_mut(uid) {
                owned.remove(&place);
                if owned.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
        let Some(object) = &change.after else {
            self.deletions = true;
            let uid = text(&change.shown, "/metadata/uid");
            self.suspects.extend(self.owned.get(uid).into_iter().flatten().cloned());
            return;
        };
        for uid in owners(object) {
            self.owned.entry(uid.to_owned()).or_default().insert(place.clone());
            if change.before.is_none() {
                self.suspects.insert(place.clone());
            }
        }
        if object.pointer("/metadata/deletionTimestamp").is_some() {
            if resource == Resource::Namespaces {
                self.namespaces.insert(change.key.name.clone());
                self.deletions = true;
            } else {
                self.waiting.insert(place);
            }
        }
    }

    pub(super) fn run(&mut self, store: &mut Store) {
        for (resource, key) in std::mem::take(&mut self.suspects) {
            collect(store, resource, &key);
        }
        for place in std::mem::take(&mut self.waiting) {
            self.wait(store, place);
        }
        if std::mem::take(&mut self.deletions) {
            let ending = std::mem::take(&mut self.namespaces);
            self.namespaces = ending.into_iter().filter(|name| !end_namespace(store, name)).collect();
        }
    }

    /// Foreground and orphan deletion of one owner.
    fn wait(&mut self, store: &mut Store, (resource, key): Place) {
        let Some(object) = store.at(resource, &key).cloned() else { return };
        let uid = text(&object, "/metadata/uid");
        let dependants: Vec<Place> = self.owned.get(uid).into_iter().flatten().cloned().collect();
        let has = |finalizer: &str| {
            let all = object.pointer("/metadata/finalizers").and_then(Value::as_array);
            all.is_some_and(|all| all.contains(&json!(finalizer)))
        };
        if has("orphan") {
            for (resource, key) in &dependants {
                disown(store, *resource, key, |owner| owner == uid);
            }
            let _ = store.release(resource, &key, "orphan");
        } else if has("foregroundDeletion") {
            let foreground =
                DeleteOptions { propagation: Some("Foreground".into()), ..DeleteOptions::default() };
            let going = |store: &Store, (resource, key): &Place| {
                let live = store.at(*resource, key);
                live.is_none_or(|live| live.pointer("/metadata/deletionTimestamp").is_some())
            };
            for place in &dependants {
                if !going(store, place) {
                    let _ = store.delete(place.0, &place.1, &foreground);
                }
            }
            if dependants.iter().all(|(resource, key)| store.at(*resource, key).is_none()) {
                let _ = store.release(resource, &key, "foregroundDeletion");
            } else {
                self.waiting.insert((resource, key));
            }
        }
    }
}

/// Deletes an object all of whose owners are gone; takes off the dead ones where some live.
fn collect(store: &mut Store, resource: Resource, key: &Key) {
    let Some(object) = store.at(resource, key).cloned() else { return };
    let all: Vec<&str> = owners(&object).collect();
    let dead: Vec<&str> = all.iter().copied().filter(|uid| store.by_uid(uid).is_none()).collect();
    if dead.is_empty() {
        return;
    }
    if dead.len() == all.len() {
        let uid = Some(text(&object, "/metadata/uid").to_owned());
        let _ = store.delete(resource, key, &DeleteOptions { uid, ..DeleteOptions::default() });
    } else {
        disown(store, resource, key, |uid| dead.contains(&uid));
    }
}

fn disown(store: &mut Store, resource: Resource, key: &Key, gone: impl Fn(&str) -> bool) {
    let _ = store.update(resource, key, By::actor(), |live| {
        let mut object = Value::clone(live);
        if let Some(all) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
            all.retain(|owner| !gone(text(owner, "/uid")));
        }
        Ok(object)
    });
}

/// Deletes what is in a namespace; true once it is empty and gone.
fn end_namespace(store: &mut Store, name: &str) -> bool {
    let mut left = false;
    for resource in Resource::all().filter(|resource| resource.definition().namespaced) {
        let keys: Vec<Key> = store.objects_in(resource, name).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let _ = store.delete(resource, &key, &DeleteOptions::now());
            left |= store.at(resource, &key).is_some();
        }
    }
    if !left {
        store.purge(Resource::Namespaces, &Key::new("", name));
    }
    !left
}
