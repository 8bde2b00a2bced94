//! One kind's objects as last seen, by watch or in the answer to a request of ours, whichever is newer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::object::{Entry, Slim};
use crate::domain::{Key, Uid};

/// Objects of one kind. Locked for moments only, never across an await.
pub struct Store<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    objects: BTreeMap<Key, Entry<T>>,
    by_owner: BTreeMap<Uid, BTreeSet<Key>>,
    /// Objects of a list that is being read, page by page.
    listing: Option<BTreeMap<Key, Entry<T>>>,
    /// Objects laid over since the list that is being read began: it may be older than they are.
    laid_over: BTreeSet<Key>,
    state: State,
    /// Why the last list or watch failed, if it did.
    trouble: Option<String>,
}

/// How far a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not listed yet.
    Starting,
    /// Listed once; from then on kept up to date.
    Ready,
    /// The server does not know the kind, or does not let us read it.
    Absent,
}

/// What a change of the store was about: the object before and after it.
pub type Changed<T> = (Option<Entry<T>>, Option<Entry<T>>);

impl<T: Slim> Default for Store<T> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                objects: BTreeMap::new(),
                by_owner: BTreeMap::new(),
                listing: None,
                laid_over: BTreeSet::new(),
                state: State::Starting,
                trouble: None,
            }),
        }
    }
}

impl<T: Slim> Store<T> {
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// Why nothing of the kind is there yet, if so.
    pub(super) fn unfilled(&self, kind: &str) -> Option<String> {
        let inner = self.lock();
        (inner.state == State::Starting).then(|| match &inner.trouble {
            Some(trouble) => format!("{kind} cannot be listed: {trouble}"),
            None => format!("{kind} is not listed yet"),
        })
    }

    /// Why the last list or watch failed; `None`: it works.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    pub fn find(&self, key: &Key) -> Option<Entry<T>> {
        self.lock().objects.get(key).cloned()
    }

    /// Objects that the owner with this uid controls, by name.
    pub fn owned_by(&self, owner: &Uid) -> Vec<Entry<T>> {
        let inner = self.lock();
        let keys = inner.by_owner.get(owner).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key)).cloned().collect()
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> Vec<Entry<T>> {
        self.lock().objects.values().cloned().collect()
    }

    /// Objects of one namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Entry<T>> {
        let inner = self.lock();
        let from = inner.objects.range(Key::new(namespace, "")..);
        from.take_while(|(key, _)| key.namespace == namespace).map(|(_, entry)| entry.clone()).collect()
    }

    /// Lays an object that a request of ours returned over what the watch has shown so far. `None` where the watch
    /// is further already.
    pub fn overlay(&self, entry: Entry<T>) -> Option<Changed<T>> {
        let mut inner = self.lock();
        let changed = inner.apply(entry.clone())?;
        inner.laid_over.insert(entry.key);
        Some(changed)
    }

    /// A watch event. `None` where it shows nothing new.
    pub(super) fn apply(&self, entry: Entry<T>) -> Option<Changed<T>> {
        self.lock().apply(entry)
    }

    /// A watch event about an object that is gone. `None` where another one of that name has come meanwhile.
    pub(super) fn delete(&self, entry: &Entry<T>) -> Option<Changed<T>> {
        let mut inner = self.lock();
        let known = inner.objects.get(&entry.key)?;
        (known.uid == entry.uid).then(|| (inner.remove(&entry.key), None))
    }

    pub(super) fn begin_list(&self) {
        let mut inner = self.lock();
        inner.listing = Some(BTreeMap::new());
        inner.laid_over.clear();
    }

    pub(super) fn listed(&self, entry: Entry<T>) {
        if let Some(listing) = &mut self.lock().listing {
            listing.insert(entry.key.clone(), entry);
        }
    }

    /// The list is complete: what it does not hold is gone, unless it was laid over while the list was read.
    pub(super) fn end_list(&self) -> Vec<Changed<T>> {
        let mut inner = self.lock();
        inner.state = State::Ready;
        let listing = inner.listing.take().unwrap_or_default();
        let laid_over = std::mem::take(&mut inner.laid_over);
        let gone: Vec<Key> = inner
            .objects
            .keys()
            .filter(|key| !listing.contains_key(*key) && !laid_over.contains(*key))
            .cloned()
            .collect();
        let mut changed: Vec<Changed<T>> = gone.iter().map(|key| (inner.remove(key), None)).collect();
        for entry in listing.into_values() {
            changed.extend(inner.apply(entry));
        }
        changed
    }

    /// The kind counts as listed.
    pub(super) fn set_ready(&self) {
        self.lock().state = State::Ready;
    }

    /// The kind cannot be read: nothing of it is known.
    pub(super) fn set_absent(&self) {
        let mut inner = self.lock();
        inner.objects.clear();
        inner.by_owner.clear();
        inner.state = State::Absent;
    }

    /// A poisoned lock is as good as any: no code that holds it can leave half a change behind.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Slim> Inner<T> {
    fn apply(&mut self, entry: Entry<T>) -> Option<Changed<T>> {
        if self.objects.get(&entry.key).is_some_and(|known| !is_news(known, &entry)) {
            return None;
        }
        let before = self.remove(&entry.key);
        if let Some(owner) = &entry.owner {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(entry.key.clone());
        }
        self.objects.insert(entry.key.clone(), entry.clone());
        Some((before, Some(entry)))
    }

    fn remove(&mut self, key: &Key) -> Option<Entry<T>> {
        let before = self.objects.remove(key)?;
        if let Some(owner) = &before.owner
            && let Some(owned) = self.by_owner.get_mut(&owner.uid)
        {
            owned.remove(key);
            if owned.is_empty() {
                self.by_owner.remove(&owner.uid);
            }
        }
        Some(before)
    }
}

/// Versions of one object are ordered numbers. Where one is no number, what came last counts.
fn is_news<T>(known: &Entry<T>, entry: &Entry<T>) -> bool {
    match (known.resource_version.parse::<u64>(), entry.resource_version.parse::<u64>()) {
        (Ok(known), Ok(new)) => new > known,
        _ => known.resource_version != entry.resource_version,
    }
}

#[cfg(test)]
mod tests;
