//! What the judge makes of cases that only real parts can give.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Case, Names, Traffic, Wrong, leaderless, order};
use crate::{
    domain::Key,
    sim::play::timeline::{Asked, Entry, Kind},
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn case(entries: Vec<Entry>) -> Case {
    Case {
        names: Names {
            rollout: Key::new("shop", "myapp"),
            virtual_service: Key::new("shop", "myapp-vsvc"),
            stable_service: "stable".to_owned(),
            canary_service: "canary".to_owned(),
            old_image: "a:1".to_owned(),
            new_image: "a:2".to_owned(),
            fixed_image: "a:3".to_owned(),
            controllers: vec!["one".to_owned(), "two".to_owned()],
            bot: "bot".to_owned(),
        },
        objects: vec![],
        entries,
        commits: vec![],
        messages: vec![],
        traffic: Traffic::default(),
        data_plane_delay: SignedDuration::ZERO,
        shortened: 30,
        under_way: 0,
        stuck: None,
    }
}

fn entry(seconds: i64, canary_weight: i64, mut kind: Kind) -> Entry {
    if let Kind::Request(asked) = &mut kind {
        asked.at = at(seconds);
    }
    Entry { at: at(seconds), canary_weight: Some(canary_weight), kind }
}

fn patch(actor: &str, resource: &str, body: Value) -> Kind {
    Kind::Request(Asked {
        at: at(0),
        actor: actor.to_owned(),
        verb: "patch".to_owned(),
        resource: resource.to_owned(),
        name: "myapp".to_owned(),
        status: 200,
        body,
    })
}

fn bad() -> Kind {
    Kind::Answer { metric: "error-rate".to_owned(), value: Some(0.08), is_good: false }
}

fn booked() -> Kind {
    patch("one", "analysisruns", json!({"status": {"phase": "Failed"}}))
}

fn shed_first(entries: Vec<Entry>, under_way: usize) -> Vec<String> {
    let mut wrong = Wrong::default();
    order::shed_first(&Case { under_way, ..case(entries) }, &mut wrong);
    wrong.0
}

#[test]
fn a_write_that_was_under_way_when_the_sample_arrived_is_not_held_against_the_shed() {
    let story = vec![
        entry(0, 20, patch("one", "virtualservices", Value::Null)),
        entry(1, 20, bad()),
        entry(2, 20, patch("one", "replicasets", Value::Null)),
        entry(3, 0, patch("one", "virtualservices", Value::Null)),
        entry(4, 0, booked()),
    ];
    assert_eq!(shed_first(story.clone(), 1), Vec::<String>::new());
    assert!(shed_first(story, 0)[0].contains("first did `one patch replicasets"));
}

#[test]
fn a_raise_after_the_failing_sample_was_never_under_way() {
    let story = vec![
        entry(0, 20, patch("one", "virtualservices", Value::Null)),
        entry(1, 20, bad()),
        entry(2, 50, patch("one", "virtualservices", Value::Null)),
        entry(3, 0, patch("one", "virtualservices", Value::Null)),
        entry(4, 0, booked()),
    ];
    assert!(shed_first(story, 5)[0].contains("canary at Some(50)"));
}

#[test]
fn nobody_leads_from_a_kill_until_the_heir_takes_the_lease() {
    let killed = entry(5, 20, Kind::Died { actor: "one".to_owned() });
    let entries = vec![
        entry(1, 20, patch("two", "leases", Value::Null)),
        killed,
        entry(6, 20, patch("one", "rollouts/status", Value::Null)),
        entry(7, 20, patch("two", "leases", Value::Null)),
        entry(9, 0, patch("two", "virtualservices", Value::Null)),
    ];
    assert_eq!(leaderless(&case(entries)), Some((at(5), at(7))));
    assert_eq!(leaderless(&case(vec![])), None);
}

#[test]
fn outages_are_shorter_where_the_manifests_are_and_patience_is_not_endlessly_so() {
    let case = case(vec![]);
    assert_eq!(case.short(SignedDuration::from_mins(25)), SignedDuration::from_secs(50));
    assert_eq!(case.at_most(SignedDuration::from_mins(3)), SignedDuration::from_secs(10));
    let long = Case { shortened: 1, ..case };
    assert_eq!(long.at_most(SignedDuration::from_mins(3)), SignedDuration::from_mins(3));
}
