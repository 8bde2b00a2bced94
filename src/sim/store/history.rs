//! What changed, in order: the source of watches, of consistent pages, and of the actors' wake-ups.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{resource::Resource, selector::Selectors};

/// Name of an object within its resource; `namespace` is empty for cluster-scoped kinds. Ordered as lists are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// A key of borrowed parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// One write that took effect.
#[derive(Clone, Debug)]
pub struct Change {
    pub rv: u64,
    pub key: Key,
    /// Absent where the object was created.
    pub before: Option<Arc<Value>>,
    /// Absent where the object was deleted.
    pub after: Option<Arc<Value>>,
    /// The object of a watch event: `after`, or the last state with the deletion's resourceVersion.
    pub shown: Arc<Value>,
}

/// What a watch is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl EventKind {
    /// As the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

/// An event of a watch.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    /// In the stored version.
    pub object: Arc<Value>,
}

/// What a watch that stands at a version is to be told.
#[derive(Clone, Debug)]
pub enum Events {
    /// In order; afterwards the watch stands at `upto`.
    Some { events: Vec<Event>, upto: u64 },
    /// The version was compacted; `oldest` is the first one still known. The client has to list again.
    Gone { oldest: u64 },
}

impl Events {
    /// False where some are forgotten.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Some { .. })
    }
}

/// The changes of every resource, the oldest forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    changes: BTreeMap<Resource, VecDeque<Change>>,
    /// The version up to which a resource's changes are forgotten.
    forgotten: BTreeMap<Resource, u64>,
}

/// Changes kept per resource. A watch that is further behind than this gets 410, as on a busy real server.
const KEPT_CHANGES: usize = 4096;

impl History {
    /// Books a change; the oldest may be forgotten for it.
    pub(super) fn push(&mut self, resource: Resource, change: Change) {
        let changes = self.changes.entry(resource).or_default();
        changes.push_back(change);
        if changes.len() > KEPT_CHANGES
            && let Some(oldest) = changes.pop_front()
        {
            self.forgotten.insert(resource, oldest.rv);
        }
    }

    /// Forgets everything up to and including `rv`, as etcd's compaction does.
    pub(super) fn compact(&mut self, rv: u64) {
        for resource in Resource::all() {
            let floor = self.forgotten.entry(resource).or_default();
            *floor = (*floor).max(rv);
        }
        for changes in self.changes.values_mut() {
            while changes.front().is_some_and(|change| change.rv <= rv) {
                changes.pop_front();
            }
        }
    }

    /// The changes of a resource after `rv`, or `None` where some of them are forgotten.
    pub(super) fn after(&self, resource: Resource, rv: u64) -> Option<impl Iterator<Item = &Change>> {
        if rv < self.oldest(resource) {
            return None;
        }
        let changes = self.changes.get(&resource);
        let from = changes.map_or(0, |changes| changes.partition_point(|change| change.rv <= rv));
        Some(changes.into_iter().flat_map(move |changes| changes.range(from..)))
    }

    /// The oldest version from which every change of the resource is known.
    pub(super) fn oldest(&self, resource: Resource) -> u64 {
        self.forgotten.get(&resource).copied().unwrap_or(0)
    }
}

impl Change {
    /// What a watch with these selectors is told of the change.
    pub fn seen_through(&self, namespace: Option<&str>, selectors: &Selectors) -> Option<Event> {
        if namespace.is_some_and(|namespace| namespace != self.key.namespace) {
            return None;
        }
        let matches = |object: &Option<Arc<Value>>| object.as_ref().is_some_and(|it| selectors.matches(it));
        match (matches(&self.before), matches(&self.after)) {
            (false, false) => None,
            (false, true) => Some(Event { kind: EventKind::Added, object: self.shown.clone() }),
            (true, true) => Some(Event { kind: EventKind::Modified, object: self.shown.clone() }),
            (true, false) => Some(Event { kind: EventKind::Deleted, object: self.last_selected() }),
        }
    }

    /// For a watch an object that is no longer selected is deleted: its last selected state at the new version.
    fn last_selected(&self) -> Arc<Value> {
        match (&self.before, &self.after) {
            (Some(before), Some(_)) => {
                let mut object = Value::clone(before);
                if let Some(version) = object.pointer_mut("/metadata/resourceVersion") {
                    *version = json!(self.rv.to_string());
                }
                Arc::new(object)
            }
            _ => self.shown.clone(),
        }
    }
}
