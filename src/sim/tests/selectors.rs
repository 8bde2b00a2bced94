//! GitOps engines that apply on the server's side take a Service's selector as a whole: each apply takes the hashes off.

use serde_json::json;

use super::fixture::{NAMESPACE, Shop, number};
use crate::{
    api::http::{Body, Method, Request},
    sim::store::Answer,
};

/// Both Services select the pods of every version again, as they stand in Git.
fn apply_services(shop: &mut Shop) {
    for name in ["myapp-stable", "myapp-canary"] {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services/{name}");
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "myapp"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        let query =
            vec![("fieldManager".to_owned(), "engine".to_owned()), ("force".to_owned(), "true".to_owned())];
        let request = Request { method: Method::Patch, path, query, body: Body::Apply(service) };
        let Answer::Response(answer) = shop.world.handle(&request, "engine") else { panic!() };
        assert_eq!(answer.body["spec"]["selector"], json!({"app": "myapp"}), "{}", answer.body);
    }
}

#[test]
fn a_canary_takes_its_services_back_at_once_and_goes_on() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.01)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(200);
    assert_eq!(shop.weights(), [0, 10, 20]);
    apply_services(&mut shop);
    shop.settle();
    let status = shop.status();
    for (name, hash) in [("myapp-stable", "stableRS"), ("myapp-canary", "currentPodHash")] {
        let service = shop.object(crate::sim::store::Resource::Services, name);
        assert_eq!(service["spec"]["selector"]["rollouts-pod-template-hash"], status[hash], "{name}");
    }
    shop.run(20 * 60);
    assert_eq!(shop.status()["phase"], "Healthy", "{:#}", shop.status());
    assert_eq!(shop.weights(), [0, 10, 20, 50, 100, 0]);
}

#[test]
fn a_rejected_canary_loses_its_traffic_also_where_its_service_selects_every_version() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.08)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(200);
    apply_services(&mut shop);
    shop.run(5 * 60);
    assert_eq!(shop.status()["abort"], true, "{:#}", shop.status());
    assert_eq!(shop.weights(), [0, 10, 20, 0]);
}

#[test]
fn a_superseding_version_waits_for_the_mesh_also_where_the_service_selects_every_version() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.01)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(200);
    apply_services(&mut shop);
    shop.apply_image("v1.2.1");
    shop.run(60);
    let began = shop.seen.iter().find(|(_, weight, ..)| *weight == 20).map(|(at, ..)| *at).unwrap();
    let gone = shop.seen.iter().find(|(at, weight, ..)| *at > began && *weight == 0).unwrap().0;
    let moved = shop.seen.iter().find(|(at, _, hash, _)| *at >= gone && !hash.is_empty()).unwrap();
    assert!(moved.0 - gone >= 10, "moved at {}, gone at {gone}: {:?}", moved.0, shop.seen);
}

#[test]
fn an_abort_cuts_first_also_where_the_service_selects_every_version() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.01)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(200);
    assert_eq!(shop.weights(), [0, 10, 20]);
    apply_services(&mut shop);
    shop.patch(
        "argoproj.io/v1alpha1",
        "rollouts/myapp/status",
        Body::Merge(json!({"status": {"abort": true}})),
    );
    let before = shop.world.log().len();
    shop.settle();
    let asked = shop.world.log().skip(before).find(|logged| logged.point.actor == "controller").unwrap();
    assert_eq!(asked.point.resource, "virtualservices", "{asked:?}");
    assert_eq!(shop.weights(), [0, 10, 20, 0]);
}

#[test]
fn a_refused_rollout_that_is_aborted_loses_its_traffic_also_where_the_service_selects_every_version() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.01)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(200);
    apply_services(&mut shop);
    let spec = json!({"spec": {"strategy": {"canary": {"dynamicStableScale": true}}}});
    shop.patch("argoproj.io/v1alpha1", "rollouts/myapp", Body::Merge(spec));
    shop.patch(
        "argoproj.io/v1alpha1",
        "rollouts/myapp/status",
        Body::Merge(json!({"status": {"abort": true}})),
    );
    shop.settle();
    assert_eq!(shop.weights(), [0, 10, 20, 0]);
}
