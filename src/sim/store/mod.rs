//! The API server in memory: objects, versions, watches. No clock, no I/O, no lock; a value.
//!
//! ```text
//! Request -> route -> answer (GET, POST, PUT, PATCH, DELETE) -> write -> history -> events_since -> watches
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value, json};

mod answer;
mod change;
mod content;
mod defaults;
mod delete;
mod discovery;
mod fields;
mod history;
mod list;
mod managers;
mod patch;
mod random;
mod resource;
mod route;
mod schema;
mod selector;
mod status;
mod structural;
mod table;
mod typed;
mod validate;
mod write;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use change::PatchKind;
pub use defaults::{base64, tag};
pub use delete::DeleteOptions;
pub use discovery::aggregated;
pub use history::{Change, Event, EventKind, Events, Key};
pub use list::Watch;
pub use resource::{Definition, Generation, Names, Resource};
pub use route::{Discovery, Part, Route, Target, route};
pub use selector::Selectors;
pub use status::{
    Refusal, bad_request, fault, internal, method_not_allowed, too_old, unsupported_media_type,
};
pub use table::table;
pub use write::By;

use history::History;
use random::Random;

use crate::api::http::Response;

/// What the server says to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Response(Response),
    /// 200, and events from here on.
    Watch(Watch),
    /// The process that asked is gone: its request was not seen, or its answer is lost. Only faults make this.
    Crash,
}

/// The objects of a cluster and their history.
#[derive(Clone, Debug)]
pub struct Store {
    now: Timestamp,
    rv: u64,
    random: Random,
    objects: BTreeMap<Resource, BTreeMap<Key, Arc<Value>>>,
    uids: BTreeMap<String, (Resource, Key)>,
    history: History,
    service_addresses: u32,
    /// Custom objects that are stored with an empty list or map in their metadata, which nobody is shown: it makes the next
    /// write one with effect, whatever it says.
    unshown: BTreeSet<(Resource, Key)>,
}

impl Store {
    /// An empty cluster with the namespaces every cluster has. `seed` decides uids and generated names.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        let mut store = Self {
            now,
            rv: 0,
            random: Random::new(seed),
            objects: BTreeMap::new(),
            uids: BTreeMap::new(),
            history: History::default(),
            service_addresses: 0,
            unshown: BTreeSet::new(),
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}});
            // Cannot be refused: the names are valid and free.
            let _ = store.create(Resource::Namespaces, "", namespace, By::actor());
        }
        store
    }

    /// The time that new objects are stamped with.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the time; never backwards.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// The version of the last write.
    pub fn version(&self) -> u64 {
        self.rv
    }

    /// The live object.
    pub fn object(&self, resource: Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&resource)?.get(&Key::new(namespace, name))
    }

    /// The live object under a key.
    pub fn at(&self, resource: Resource, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(&resource)?.get(key)
    }

    /// All objects of a resource in the order of lists.
    pub fn objects(&self, resource: Resource) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.get(&resource).into_iter().flatten()
    }

    /// The objects of a resource in one namespace.
    pub fn objects_in<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let from = Key::new(namespace, "");
        self.objects
            .get(&resource)
            .into_iter()
            .flat_map(move |all| all.range(from.clone()..))
            .take_while(move |(key, _)| key.namespace == namespace)
    }

    /// The live object with this uid.
    pub fn by_uid(&self, uid: &str) -> Option<(Resource, &Key)> {
        self.uids.get(uid).map(|(resource, key)| (*resource, key))
    }

    /// The changes of a resource after `rv`, or `None` where some are forgotten.
    pub fn changes_after(&self, resource: Resource, rv: u64) -> Option<impl Iterator<Item = &Change>> {
        self.history.after(resource, rv)
    }

    /// What a watch that stands at `rv` is to be told.
    pub fn events_since(&self, watch: &Watch, rv: u64) -> Events {
        let Some(changes) = self.history.after(watch.resource, rv) else {
            return Events::Gone { oldest: self.history.oldest(watch.resource) };
        };
        let namespace = watch.namespace.as_deref();
        let events = changes.filter_map(|change| change.seen_through(namespace, &watch.selectors)).collect();
        Events::Some { events, upto: self.rv }
    }

    /// Forgets all changes so far: watches and continued lists that stand before get 410.
    pub fn compact(&mut self) {
        self.history.compact(self.rv);
    }

    /// The current time as objects carry it: RFC 3339, whole seconds.
    pub fn stamp(&self) -> String {
        stamp(self.now)
    }
}

/// RFC 3339, whole seconds.
pub fn stamp(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// The value at a JSON pointer, as `Value::pointer` finds it, which makes two strings of each step: half of the world's
/// time went there.
pub fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return object.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(object, |inner, step| match inner {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The object as a client of another served version sees it.
pub fn in_version(object: &Arc<Value>, definition: &Definition, version: &str) -> Value {
    let mut shown = Value::clone(object);
    if definition.versions.first() != Some(&version) {
        shown["apiVersion"] = json!(definition.api_version(version));
    }
    shown
}
