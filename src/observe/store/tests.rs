use serde_json::{Value, json};

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Thing(i64);

impl Slim for Thing {
    fn read(object: Value) -> Self {
        Self(object["value"].as_i64().unwrap_or(-1))
    }
}

fn thing(name: &str, version: &str, value: i64) -> Entry<Thing> {
    let object = json!({
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("u-{name}"), "resourceVersion": version,
            "ownerReferences": [{ "kind": "Rollout", "name": "cart", "uid": "u-cart", "controller": true }],
        },
        "value": value,
    });
    Entry::read(object).unwrap()
}

fn seen(store: &Store<Thing>) -> Vec<(String, i64)> {
    store.all().into_iter().map(|entry| (entry.key.name, entry.slim.0)).collect()
}

fn list(store: &Store<Thing>, entries: Vec<Entry<Thing>>) {
    store.begin_list();
    entries.into_iter().for_each(|entry| store.listed(entry));
    store.end_list();
}

#[test]
fn nothing_is_ready_before_the_first_list_is_complete() {
    let store = Store::default();
    assert_eq!(store.state(), State::Starting);
    store.begin_list();
    store.listed(thing("a", "1", 1));
    assert_eq!((store.state(), seen(&store)), (State::Starting, vec![]));
    assert_eq!(store.end_list().len(), 1);
    assert_eq!((store.state(), seen(&store)), (State::Ready, vec![("a".into(), 1)]));
}

#[test]
fn a_watch_that_lags_does_not_undo_what_was_returned_to_us() {
    let store = Store::default();
    list(&store, vec![thing("a", "9", 1)]);
    assert!(store.overlay(thing("a", "12", 2)).is_some());
    assert!(store.apply(thing("a", "11", 1)).is_none());
    assert!(store.apply(thing("a", "12", 2)).is_none());
    assert_eq!(seen(&store), [("a".into(), 2)]);
    assert!(store.apply(thing("a", "100", 3)).is_some(), "versions are numbers, not texts");
    assert!(store.overlay(thing("a", "50", 2)).is_none());
    assert_eq!(seen(&store), [("a".into(), 3)]);
}

#[test]
fn a_list_older_than_our_write_does_not_undo_it() {
    let store = Store::default();
    list(&store, vec![thing("a", "1", 1), thing("b", "1", 1)]);
    store.begin_list();
    store.overlay(thing("a", "5", 2));
    store.overlay(thing("new", "6", 1));
    store.listed(thing("a", "3", 1));
    store.end_list();
    assert_eq!(seen(&store), [("a".into(), 2), ("new".into(), 1)]);
    list(&store, vec![thing("a", "5", 2)]);
    assert_eq!(seen(&store), [("a".into(), 2)], "a later list knows better");
}

#[test]
fn what_an_owner_controls_is_found_by_its_uid() {
    let store = Store::default();
    list(&store, vec![thing("b", "1", 1), thing("a", "1", 1)]);
    let owner = Uid("u-cart".into());
    let names = |store: &Store<Thing>| {
        store.owned_by(&owner).into_iter().map(|entry| entry.key.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&store), ["a", "b"]);
    store.delete(&thing("a", "2", 1));
    assert_eq!(names(&store), ["b"]);
    store.delete(&thing("b", "2", 1));
    assert!(store.owned_by(&owner).is_empty());
}

#[test]
fn the_end_of_an_earlier_object_does_not_remove_its_namesake() {
    let store = Store::default();
    let mut again = thing("a", "8", 2);
    again.uid = Uid("another".into());
    store.apply(thing("a", "1", 1));
    store.overlay(again);
    assert!(store.delete(&thing("a", "7", 1)).is_none());
    assert_eq!(seen(&store), [("a".into(), 2)]);
}

#[test]
fn an_absent_kind_is_empty() {
    let store = Store::default();
    list(&store, vec![thing("a", "1", 1)]);
    store.set_absent();
    assert_eq!((store.state(), seen(&store)), (State::Absent, vec![]));
}
