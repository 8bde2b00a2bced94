//! The actors through the world, in virtual time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{PodScript, Share, Then};
use crate::sim::{
    store::{By, DeleteOptions, Key, Resource, text},
    world::World,
};

fn origin() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    origin() + SignedDuration::from_millis(millis)
}

fn world() -> World {
    World::new(origin())
}

fn replica_set(version: &str, replicas: u8) -> Value {
    json!({"metadata": {"name": format!("shop-{version}")}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"rollouts-pod-template-hash": version}},
        "template": {"metadata": {"labels": {"app": "shop", "rollouts-pod-template-hash": version}},
            "spec": {"containers": [{"name": "shop", "image": format!("registry.example/shop:{version}")}]}}}})
}

fn create(world: &mut World, resource: Resource, object: Value) {
    let created = world.store_mut().create(resource, "default", object, By::actor());
    assert!(created.is_ok(), "{created:?}");
}

fn change(world: &mut World, resource: Resource, name: &str, pointer: &str, value: Value) {
    let changed = world.store_mut().update(resource, &Key::new("default", name), By::actor(), |live| {
        let mut object = Value::clone(live);
        *object.pointer_mut(pointer).unwrap() = value;
        Ok(object)
    });
    assert!(changed.is_ok(), "{changed:?}");
}

fn status(world: &World, resource: Resource, name: &str) -> Value {
    world.store().object(resource, "default", name).unwrap()["status"].clone()
}

fn pods(world: &World) -> Vec<String> {
    world.store().objects(Resource::Pods).map(|(key, _)| key.name.clone()).collect()
}

#[test]
fn a_replica_set_gets_its_pods_and_counts_them() {
    let mut world = world();
    create(&mut world, Resource::ReplicaSets, replica_set("v1", 3));
    world.advance(at(0));
    assert_eq!(pods(&world).len(), 3);
    let counts = json!({"replicas": 3, "fullyLabeledReplicas": 3, "observedGeneration": 1});
    assert_eq!(status(&world, Resource::ReplicaSets, "shop-v1"), counts);
    assert_eq!(world.next_due(), Some(at(2000)));
    world.advance(at(1999));
    assert_eq!(status(&world, Resource::ReplicaSets, "shop-v1"), counts);
    world.advance(at(2000));
    assert_eq!(
        status(&world, Resource::ReplicaSets, "shop-v1"),
        json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "observedGeneration": 1})
    );
    change(&mut world, Resource::ReplicaSets, "shop-v1", "/spec/replicas", json!(1));
    world.advance(at(2000));
    assert_eq!(
        status(&world, Resource::ReplicaSets, "shop-v1"),
        json!({"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "observedGeneration": 2})
    );
    assert_eq!(pods(&world).len(), 3, "two are still ending");
    world.advance(at(3000));
    assert_eq!(pods(&world).len(), 1);
    assert_eq!(world.next_due(), None);
}

#[test]
fn a_pod_counts_as_available_after_min_ready_seconds() {
    let mut world = world();
    let mut set = replica_set("v1", 1);
    set["spec"]["minReadySeconds"] = json!(5);
    create(&mut world, Resource::ReplicaSets, set);
    world.advance(at(6999));
    let counts = status(&world, Resource::ReplicaSets, "shop-v1");
    assert_eq!((&counts["readyReplicas"], &counts["availableReplicas"]), (&json!(1), &json!(null)));
    world.advance(at(7000));
    assert_eq!(status(&world, Resource::ReplicaSets, "shop-v1")["availableReplicas"], 1);
}

#[test]
fn a_deleted_pod_is_replaced() {
    let mut world = world();
    create(&mut world, Resource::ReplicaSets, replica_set("v1", 1));
    world.advance(at(5000));
    let old = pods(&world).remove(0);
    let key = Key::new("default", &old);
    world.store_mut().delete(Resource::Pods, &key, &DeleteOptions::default()).unwrap();
    world.advance(at(10_000));
    let left = pods(&world);
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], old);
}

#[test]
fn scripts_decide_what_becomes_of_a_pod() {
    let mut world = world();
    let script = |image: &str, ready: u64, then| PodScript {
        image: image.into(),
        ready_after: Duration::from_secs(ready),
        then,
    };
    world.actors.kubelet.scripts = vec![
        script(":never", 1, Then::Never),
        script(":missing", 1, Then::ImageMissing),
        script(":crash", 1, Then::CrashAfter(Duration::from_secs(3))),
    ];
    for version in ["never", "missing", "crash"] {
        create(&mut world, Resource::ReplicaSets, replica_set(version, 1));
    }
    let pod = |world: &World, version: &str| -> Value {
        let has = |pod: &Value| text(pod, "/spec/containers/0/image").ends_with(version);
        let found = world.store().objects(Resource::Pods).find(|(_, pod)| has(pod)).unwrap();
        Value::clone(found.1)
    };
    world.advance(at(2000));
    assert_eq!(status(&world, Resource::ReplicaSets, "shop-crash")["readyReplicas"], 1);
    world.advance(at(60_000));
    assert_eq!(status(&world, Resource::ReplicaSets, "shop-never")["readyReplicas"], json!(null));
    assert_eq!(pod(&world, "never")["status"]["phase"], "Running");
    let missing = pod(&world, "missing");
    assert_eq!(missing["status"]["phase"], "Pending");
    assert_eq!(missing["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "ImagePullBackOff");
    // Ready at 1, crash 4, ready 14, crash 17, ready 37, crash 40, ready 80.
    let crashed = pod(&world, "crash");
    assert_eq!(crashed["status"]["containerStatuses"][0]["restartCount"], 3);
    assert_eq!(status(&world, Resource::ReplicaSets, "shop-crash")["readyReplicas"], json!(null));
}

#[test]
fn dependants_go_with_their_owner() {
    let mut world = world();
    create(&mut world, Resource::ReplicaSets, replica_set("v1", 2));
    world.advance(at(5000));
    let key = Key::new("default", "shop-v1");
    world.store_mut().delete(Resource::ReplicaSets, &key, &DeleteOptions::default()).unwrap();
    world.advance(at(10_000));
    assert!(pods(&world).is_empty());

    create(&mut world, Resource::ReplicaSets, replica_set("v2", 2));
    world.advance(at(15_000));
    let foreground = DeleteOptions { propagation: Some("Foreground".into()), ..DeleteOptions::default() };
    let key = Key::new("default", "shop-v2");
    world.store_mut().delete(Resource::ReplicaSets, &key, &foreground).unwrap();
    world.advance(at(15_000));
    assert!(world.store().at(Resource::ReplicaSets, &key).is_some(), "its pods are still there");
    world.advance(at(20_000));
    assert!(world.store().at(Resource::ReplicaSets, &key).is_none());

    create(&mut world, Resource::ReplicaSets, replica_set("v3", 1));
    world.advance(at(25_000));
    let orphan = DeleteOptions { propagation: Some("Orphan".into()), ..DeleteOptions::default() };
    world.store_mut().delete(Resource::ReplicaSets, &Key::new("default", "shop-v3"), &orphan).unwrap();
    world.advance(at(30_000));
    assert_eq!(pods(&world).len(), 1);
    assert_eq!(world.actors.quarrels(), 0);
}

#[test]
fn an_object_whose_owner_is_gone_is_collected() {
    let mut world = world();
    let owner =
        json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "x", "uid": "no-such-uid"}]);
    let object = json!({"metadata": {"name": "a", "ownerReferences": owner}});
    create(&mut world, Resource::ConfigMaps, object);
    world.advance(at(0));
    assert!(world.store().object(Resource::ConfigMaps, "default", "a").is_none());
}

#[test]
fn a_namespace_ends_with_everything_in_it() {
    let mut world = world();
    let namespace = json!({"metadata": {"name": "shop"}});
    world.store_mut().create(Resource::Namespaces, "", namespace, By::actor()).unwrap();
    world.store_mut().create(Resource::ReplicaSets, "shop", replica_set("v1", 2), By::actor()).unwrap();
    world.advance(at(5000));
    let key = Key::new("", "shop");
    world.store_mut().delete(Resource::Namespaces, &key, &DeleteOptions::default()).unwrap();
    world.advance(at(10_000));
    assert!(world.store().at(Resource::Namespaces, &key).is_none());
    assert!(pods(&world).is_empty());
}

#[test]
fn a_deployment_replaces_its_pods() {
    let mut world = world();
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:v1"}]}}}});
    create(&mut world, Resource::Deployments, deployment);
    world.advance(at(5000));
    assert_eq!(status(&world, Resource::Deployments, "web")["availableReplicas"], 2);
    let image = "/spec/template/spec/containers/0/image";
    change(&mut world, Resource::Deployments, "web", image, json!("web:v2"));
    world.advance(at(10_000));
    let images: Vec<String> = world
        .store()
        .objects(Resource::Pods)
        .map(|(_, pod)| text(pod, "/spec/containers/0/image").to_owned())
        .collect();
    assert_eq!(images, ["web:v2", "web:v2"]);
    let status = status(&world, Resource::Deployments, "web");
    assert_eq!((&status["observedGeneration"], &status["updatedReplicas"]), (&json!(2), &json!(2)));
}

/// Two versions behind two Services and a VirtualService, everything ready and served.
fn shop(world: &mut World) {
    for version in ["v1", "v2"] {
        create(world, Resource::ReplicaSets, replica_set(version, 2));
        let selector = json!({"app": "shop", "rollouts-pod-template-hash": version});
        let service = json!({"metadata": {"name": format!("shop-{version}")},
            "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}});
        create(world, Resource::Services, service);
    }
    let route = |version: &str, weight: u8| json!({"destination": {"host": format!("shop-{version}")}, "weight": weight});
    create(
        world,
        Resource::VirtualServices,
        json!({"metadata": {"name": "shop"}, "spec": {"hosts": ["shop.example.com"], "http": [
            {"name": "debug", "match": [{"headers": {"x-debug": {"exact": "1"}}}], "route": [route("v2", 100)]},
            {"name": "primary", "route": [route("v1", 100), route("v2", 0)]}]}}),
    );
    world.advance(at(10_000));
}

fn weights(world: &mut World, stable: i64, canary: i64) {
    change(world, Resource::VirtualServices, "shop", "/spec/http/1/route/0/weight", json!(stable));
    change(world, Resource::VirtualServices, "shop", "/spec/http/1/route/1/weight", json!(canary));
}

fn serving(world: &World) -> Vec<(String, f64, bool)> {
    let share = |share: &Share| (share.version.clone(), share.share, share.can_serve);
    world.mesh().serving(&Key::new("default", "shop")).iter().map(share).collect()
}

#[test]
fn the_mesh_follows_a_virtual_service_after_its_delay() {
    let mut world = world();
    shop(&mut world);
    assert_eq!(serving(&world), [("v1".to_owned(), 1.0, true)]);
    let key = Key::new("default", "shop");
    let before = world.mesh().served(&key)["v1"];
    weights(&mut world, 60, 20);
    world.advance(at(10_099));
    assert!(world.mesh().is_behind());
    assert_eq!(serving(&world), [("v1".to_owned(), 1.0, true)]);
    world.advance(at(10_100));
    assert_eq!(serving(&world), [("v1".to_owned(), 0.75, true), ("v2".to_owned(), 0.25, true)]);
    world.advance(at(20_100));
    let after = world.mesh().served(&key);
    // 0.1 s whole, then 10 s of three quarters, at 100 requests a second.
    assert!((after["v1"].requests - before.requests - 760.0).abs() < 1e-6, "{after:?}");
    assert!((after["v2"].requests - 250.0).abs() < 1e-6);
    assert_eq!(after["v2"].failed, 0.0);
}

#[test]
fn requests_to_a_canary_that_is_scaled_away_fail() {
    let mut world = world();
    shop(&mut world);
    weights(&mut world, 90, 10);
    world.advance(at(20_000));
    change(&mut world, Resource::ReplicaSets, "shop-v2", "/spec/replicas", json!(0));
    world.advance(at(30_000));
    assert_eq!(serving(&world), [("v1".to_owned(), 0.9, true), (String::new(), 0.1, false)]);
    let counts = world.mesh().served(&Key::new("default", "shop"));
    assert!(counts[""].failed > 0.0);
}

#[test]
fn a_steady_churn_holds_the_mesh_back_up_to_its_ceiling() {
    let mut world = world();
    shop(&mut world);
    weights(&mut world, 0, 100);
    for round in 1..=210 {
        world.advance(at(10_000 + round * 50));
        let ports = json!([{"port": 80, "targetPort": round}]);
        change(&mut world, Resource::Services, "shop-v1", "/spec/ports", ports);
        let switched = serving(&world) == [("v2".to_owned(), 1.0, true)];
        assert_eq!(switched, round >= 200, "round {round}");
    }
}

#[test]
fn proxies_keep_what_they_serve_when_the_new_route_cannot_be_taken() {
    let mut world = world();
    shop(&mut world);
    weights(&mut world, 105, -5);
    world.advance(at(20_000));
    assert_eq!(serving(&world), [("v1".to_owned(), 1.0, true)]);
    assert!(!world.mesh().is_behind());
}

#[test]
fn subsets_narrow_a_host_to_some_pods() {
    let mut world = world();
    shop(&mut world);
    let service =
        json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]}});
    create(&mut world, Resource::Services, service);
    let subset = |name: &str| json!({"name": name, "labels": {"rollouts-pod-template-hash": name}});
    let rule = json!({"metadata": {"name": "shop"}, "spec": {"host": "shop", "subsets": [subset("v1"), subset("v2")]}});
    create(&mut world, Resource::DestinationRules, rule);
    let route = |subset: &str, weight: u8| json!({"destination": {"host": "shop", "subset": subset}, "weight": weight});
    let routes = json!([route("v1", 50), route("v2", 25), route("v3", 25)]);
    change(&mut world, Resource::VirtualServices, "shop", "/spec/http/1/route", routes);
    world.advance(at(20_000));
    assert_eq!(
        serving(&world),
        [("v1".to_owned(), 0.5, true), ("v2".to_owned(), 0.25, true), (String::new(), 0.25, false)]
    );
}

#[test]
fn two_runs_of_one_story_are_the_same_to_the_byte() {
    let run = || {
        let mut world = world();
        shop(&mut world);
        weights(&mut world, 50, 50);
        world.advance(at(60_000));
        let objects =
            |resource| world.store().objects(resource).map(|(_, object)| object.to_string()).collect();
        Resource::all().map(objects).collect::<Vec<Vec<String>>>()
    };
    assert_eq!(run(), run());
}
