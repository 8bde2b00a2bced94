//! What the lane's watches have brought, reduced to what it reads. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use kube::{api::DynamicObject, runtime::watcher::Event};
use serde_json::Value;

use super::rollout::Rollout;
use crate::api::serin::{RolloutRecordStatus, SelfHeal};

/// Namespace and name of a Rollout.
pub(super) type Key = (String, String);

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rollout,
    RolloutRecord,
    SelfHeal,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Rollout, Self::RolloutRecord, Self::SelfHeal];
}

/// Objects by key, replaced as a whole when a list ends.
#[derive(Debug)]
struct Mirror<T> {
    objects: BTreeMap<Key, T>,
    /// Keys seen since the current list began.
    listed: Option<BTreeSet<Key>>,
    is_ready: bool,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: None, is_ready: false }
    }
}

impl<T> Mirror<T> {
    /// Takes an event in; `read` makes an entry of an object, or says what is wrong with it. Returns what changed,
    /// the entry that went included.
    fn take(
        &mut self,
        event: Event<DynamicObject>,
        read: impl Fn(Value) -> Option<T>,
    ) -> Vec<(Key, Option<T>)> {
        let mut gone = vec![];
        match event {
            Event::Init => self.listed = Some(BTreeSet::new()),
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key_of(&object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key.clone());
                }
                let before = match read(whole(&object)) {
                    Some(entry) => self.objects.insert(key.clone(), entry),
                    None => self.objects.remove(&key),
                };
                gone.push((key, before));
            }
            Event::Delete(object) => {
                let key = key_of(&object);
                let before = self.objects.remove(&key);
                gone.push((key, before));
            }
            Event::InitDone => {
                self.is_ready = true;
                if let Some(listed) = self.listed.take() {
                    let missing: Vec<Key> =
                        self.objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                    gone.extend(missing.into_iter().map(|key| {
                        let before = self.objects.remove(&key);
                        (key, before)
                    }));
                }
            }
        }
        gone
    }
}

/// Everything the lane knows.
#[derive(Debug, Default)]
pub(super) struct Stores {
    rollouts: Mirror<Rollout>,
    records: Mirror<RolloutRecordStatus>,
    heals: Mirror<SelfHeal>,
}

impl Stores {
    /// Takes an event of `kind` in; returns the Rollouts that it concerns.
    pub(super) fn take(&mut self, kind: Kind, event: Event<DynamicObject>) -> BTreeSet<Key> {
        match kind {
            Kind::Rollout => {
                let changed = self.rollouts.take(event, |object| Some(Rollout::read(&object)));
                changed.into_iter().map(|(key, _)| key).collect()
            }
            Kind::RolloutRecord => {
                let changed = self.records.take(event, |object| {
                    serde_json::from_value::<RolloutRecordStatus>(
                        object.get("status").cloned().unwrap_or_default(),
                    )
                    .ok()
                });
                changed.into_iter().map(|(key, _)| key).collect()
            }
            Kind::SelfHeal => {
                let changed = self.heals.take(event, |object| serde_json::from_value(object).ok());
                let mut keys = BTreeSet::new();
                for ((namespace, name), before) in changed {
                    let now = self.heals.objects.get(&(namespace.clone(), name));
                    let both = [before.as_ref(), now].into_iter().flatten();
                    keys.extend(both.map(|heal| (namespace.clone(), heal.spec.rollout_ref.name.clone())));
                }
                keys
            }
        }
    }

    /// True once every kind was listed.
    pub(super) fn is_ready(&self) -> bool {
        self.rollouts.is_ready && self.records.is_ready && self.heals.is_ready
    }

    /// Every Rollout.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.rollouts.objects.keys()
    }

    pub(super) fn rollout(&self, key: &Key) -> Option<&Rollout> {
        self.rollouts.objects.get(key)
    }

    pub(super) fn record(&self, key: &Key) -> Option<&RolloutRecordStatus> {
        self.records.objects.get(key)
    }

    /// The SelfHeals of this very Rollout, not of an earlier one of its name.
    pub(super) fn self_heals(&self, key: &Key, uid: &str) -> Vec<&SelfHeal> {
        let of_namespace = self.heals.objects.iter().filter(|((namespace, _), _)| *namespace == key.0);
        let heals = of_namespace.map(|(_, heal)| heal);
        heals.filter(|heal| heal.spec.rollout_ref.name == key.1 && heal.spec.rollout_ref.uid == uid).collect()
    }

    /// Slack's id of the channel of `recipient`, as any ledger knows it.
    pub(super) fn channel_of(&self, recipient: &str) -> Option<String> {
        let notes = self.records.objects.values().filter_map(|status| status.notify.as_ref());
        super::ledger::channel_of(notes.flat_map(|note| &note.ledger), recipient)
    }
}

fn key_of(object: &DynamicObject) -> Key {
    (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default())
}

fn whole(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, rest: Value) -> DynamicObject {
        let mut whole =
            json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"namespace": "shop", "name": name}});
        whole.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn heal(name: &str, rollout: &str, uid: &str) -> DynamicObject {
        let version = json!({"hash": "h", "images": {}});
        object(
            name,
            json!({"spec": {"rolloutRef": {"name": rollout, "uid": uid}, "bad": version, "good": version,
            "cause": "MetricFailed"}}),
        )
    }

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    #[test]
    fn a_list_replaces_what_was_known_before() {
        let mut stores = Stores::default();
        for event in [Event::Init, Event::InitApply(object("a", json!({}))), Event::InitDone] {
            stores.take(Kind::Rollout, event);
        }
        stores.take(Kind::Rollout, Event::Init);
        stores.take(Kind::Rollout, Event::InitApply(object("b", json!({}))));
        assert!(stores.rollout(&key("a")).is_some(), "until the list ends");
        assert_eq!(stores.take(Kind::Rollout, Event::InitDone), BTreeSet::from([key("a")]));
        assert_eq!(stores.keys().collect::<Vec<_>>(), [&key("b")]);
        assert!(!stores.is_ready(), "the other kinds were not listed");
    }

    #[test]
    fn a_self_heal_concerns_its_rollout_and_counts_only_for_its_uid() {
        let mut stores = Stores::default();
        let concerned = stores.take(Kind::SelfHeal, Event::Apply(heal("cart-h", "cart", "u1")));
        assert_eq!(concerned, BTreeSet::from([key("cart")]));
        assert_eq!(stores.self_heals(&key("cart"), "u1").len(), 1);
        assert_eq!(stores.self_heals(&key("cart"), "u2").len(), 0);
        let gone = stores.take(Kind::SelfHeal, Event::Delete(heal("cart-h", "cart", "u1")));
        assert_eq!(gone, BTreeSet::from([key("cart")]));
    }

    #[test]
    fn an_object_that_makes_no_sense_degrades_only_itself() {
        let mut stores = Stores::default();
        stores.take(Kind::SelfHeal, Event::Apply(heal("good", "cart", "u1")));
        stores.take(Kind::SelfHeal, Event::Apply(object("bad", json!({"spec": {"bad": 7}}))));
        stores.take(
            Kind::RolloutRecord,
            Event::Apply(object("cart", json!({"status": {"notify": {"ledger": 7}}}))),
        );
        assert_eq!(stores.self_heals(&key("cart"), "u1").len(), 1);
        assert!(stores.record(&key("cart")).is_none());
    }
}
