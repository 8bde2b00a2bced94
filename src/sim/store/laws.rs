//! Laws of the server that hold for every sequence of requests.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Answer, Events, Resource, Selectors, Watch};
use crate::{
    api::http::{Body, Method, Request},
    sim::world::World,
};

const KINDS: &[(&str, &str, &str)] = &[
    ("/apis/argoproj.io/v1alpha1", "rollouts", "Rollout"),
    ("/apis/argoproj.io/v1alpha1", "analysisruns", "AnalysisRun"),
    ("/apis/apps/v1", "replicasets", "ReplicaSet"),
    ("/apis/networking.istio.io/v1", "virtualservices", "VirtualService"),
    ("/api/v1", "services", "Service"),
    ("/api/v1", "pods", "Pod"),
    ("/api/v1", "configmaps", "ConfigMap"),
];

/// Values that are likely to meet each other: few keys, few leaves.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..5).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(field(), inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "metadata",
        "labels",
        "annotations",
        "finalizers",
        "managedFields",
        "ownerReferences",
        "spec",
        "status",
        "replicas",
        "selector",
        "matchLabels",
        "template",
        "containers",
        "name",
        "ports",
        "port",
        "http",
        "route",
        "weight",
        "conditions",
        "type",
        "a",
        "uid",
        "resourceVersion",
        "$patch",
        "clusterIP",
        "nodeName",
        "image",
    ])
    .prop_map(str::to_owned)
}

fn pointer() -> impl Strategy<Value = String> {
    let step = prop_oneof![field(), "-|0|1|-1|~1|".prop_map(String::from)];
    proptest::collection::vec(step, 0..4)
        .prop_map(|steps| steps.iter().map(|step| format!("/{step}")).collect())
}

fn operation() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["add", "remove", "replace", "test", "move", "copy", "other"]);
    (kind, pointer(), pointer(), value())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
}

/// An object that the server is likely to take.
fn object(kind: &'static str, name: String) -> impl Strategy<Value = Value> {
    (value(), 0_u8..3).prop_map(move |(extra, replicas)| {
        let mut object = json!({"kind": kind, "metadata": {"name": name, "labels": {"app": "x"}},
            "spec": {"replicas": replicas, "ports": [{"port": 80}], "selector": {"matchLabels": {"app": "x"}},
                "containers": [{"name": "c", "image": "x:v1"}],
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "x:v1"}]}}}});
        if kind == "Service" {
            object["spec"]["selector"] = json!({"app": "x"});
        }
        object["spec"]["extra"] = extra;
        object
    })
}

#[derive(Clone, Debug)]
struct Step {
    request: Request,
    then_millis: u16,
}

fn step() -> impl Strategy<Value = Step> {
    (prop::sample::select(KINDS.to_vec()), "[ab]", any::<u8>(), 0_u16..3000).prop_flat_map(
        |((group, plural, kind), name, choice, then_millis)| {
            let one = format!("{group}/namespaces/default/{plural}/{name}");
            let all = format!("{group}/namespaces/default/{plural}");
            let version = group.trim_start_matches("/apis/").trim_start_matches("/api/").to_owned();
            let part = ["", "/status", "/scale", "/eviction"][usize::from(choice) % 4];
            let path = format!("{one}{part}");
            let full = object(kind, name).prop_map(move |mut object| {
                object["apiVersion"] = json!(version);
                object
            });
            (full, value(), proptest::collection::vec(operation(), 0..4)).prop_map(
                move |(full, loose, operations)| {
                    let (method, path, body) = match choice / 26 {
                        0 | 1 => (Method::Post, all.clone(), Body::Json(full)),
                        2 => (Method::Put, path.clone(), Body::Json(full)),
                        3 => (Method::Patch, path.clone(), Body::Merge(loose)),
                        4 => (Method::Patch, path.clone(), Body::JsonPatch(json!(operations))),
                        5 => (Method::Patch, path.clone(), Body::StrategicMerge(loose)),
                        6 => (Method::Patch, one.clone(), Body::Apply(full)),
                        7 => (Method::Patch, path.clone(), Body::Apply(loose)),
                        8 => (Method::Delete, one.clone(), Body::Json(loose)),
                        _ => (Method::Get, all.clone(), Body::Empty),
                    };
                    let query = vec![
                        ("fieldManager".to_owned(), if choice % 2 == 0 { "x" } else { "y" }.to_owned()),
                        ("force".to_owned(), (choice % 3 == 0).to_string()),
                    ];
                    Step { request: Request { method, path, query, body }, then_millis }
                },
            )
        },
    )
}

fn number(object: &Value, field: &str) -> i64 {
    object["metadata"][field].as_i64().unwrap_or(0)
}

fn watch_of(resource: Resource) -> Watch {
    Watch {
        resource,
        version: "v1",
        namespace: None,
        selectors: Selectors::default(),
        from: 0,
        initial: false,
        bookmarks: false,
        timeout: None,
    }
}

/// What an informer holds that follows the events from the beginning.
fn followed(world: &World, resource: Resource) -> BTreeMap<String, Value> {
    let mut held = BTreeMap::new();
    let Events::Some { events, .. } = world.events_since(&watch_of(resource), 0) else { panic!("gone") };
    let mut last = 0;
    for event in events {
        let version: u64 = event.object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(version > last, "versions of events grow");
        last = version;
        let name = event.object["metadata"]["name"].as_str().unwrap().to_owned();
        match event.kind {
            super::EventKind::Added => assert!(held.insert(name, Value::clone(&event.object)).is_none()),
            super::EventKind::Modified => {
                let before = held.insert(name, Value::clone(&event.object)).unwrap();
                assert_ne!(before, *event.object);
                let (old, new) = (number(&before, "generation"), number(&event.object, "generation"));
                assert!(new == old || new == old + 1, "generation goes from {old} to {new}");
                let spec_changed = before["spec"] != event.object["spec"];
                if resource.definition().generation != super::Generation::None && spec_changed {
                    assert_eq!(new, old + 1, "a changed spec is a new generation");
                }
                assert_eq!(before["metadata"]["uid"], event.object["metadata"]["uid"]);
            }
            super::EventKind::Deleted => assert!(held.remove(&name).is_some()),
            super::EventKind::Bookmark | super::EventKind::Error => panic!("not an event of the store"),
        }
    }
    held
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_requests_leave_a_world_that_keeps_its_laws(steps in proptest::collection::vec(step(), 1..25)) {
        let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new(origin);
        let mut now = origin;
        for step in steps {
            let version = world.store().version();
            let answer = world.handle(&step.request, "test");
            prop_assert!(world.store().version() >= version);
            let Answer::Response(response) = answer else { panic!("{answer:?}") };
            if step.request.method == Method::Get || !response.is_success() {
                prop_assert_eq!(world.store().version(), version, "nothing was to be written");
            }
            if response.is_success()
                && let Some(object) = response.body.as_object().filter(|it| it["kind"] != "Status")
                && let Some(shown) = object["metadata"]["resourceVersion"].as_str()
            {
                prop_assert!(shown.parse::<u64>().unwrap() <= world.store().version());
            }
            now += SignedDuration::from_millis(i64::from(step.then_millis));
            world.advance(now);
        }
        world.advance(now + SignedDuration::from_secs(600));
        prop_assert_eq!(world.actors.quarrels(), 0);
        for resource in Resource::all() {
            let live: BTreeMap<String, Value> = world
                .store()
                .objects(resource)
                .map(|(key, object)| (key.name.clone(), Value::clone(object)))
                .collect();
            if world.events_since(&watch_of(resource), 0).is_complete() {
                prop_assert_eq!(followed(&world, resource), live, "{:?}", resource);
            }
        }
    }

    #[test]
    fn writing_what_was_read_changes_nothing(steps in proptest::collection::vec(step(), 1..12)) {
        let mut world = World::new("2026-01-01T00:00:00Z".parse().unwrap());
        for step in steps {
            world.handle(&step.request, "test");
        }
        for (group, plural, _) in KINDS {
            for name in ["a", "b"] {
                let path = format!("{group}/namespaces/default/{plural}/{name}");
                let get = Request { method: Method::Get, path: path.clone(), query: vec![], body: Body::Empty };
                let Answer::Response(read) = world.handle(&get, "other") else { panic!("no answer") };
                if !read.is_success() {
                    continue;
                }
                let version = world.store().version();
                let put = Request { method: Method::Put, body: Body::Json(read.body.clone()), ..get };
                let Answer::Response(written) = world.handle(&put, "other") else { panic!("no answer") };
                prop_assert_eq!(&written.body, &read.body);
                prop_assert_eq!(world.store().version(), version);
            }
        }
    }
}
