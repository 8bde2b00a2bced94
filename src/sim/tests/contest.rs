//! Another hand on the weights while nothing may be raised.

use serde_json::json;

use super::fixture::{Shop, number};
use crate::{api::http::Body, decide::analysis::Outcome};

const ISTIO: &str = "networking.istio.io/v1";

/// What was said of the other hand.
fn told(shop: &Shop) -> Vec<String> {
    let created = shop.world.log().filter(|logged| logged.path.ends_with("/events") && logged.status == 201);
    let contested = created.filter(|logged| logged.body["reason"] == "TrafficContested");
    contested.map(|logged| logged.body["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn who_lowered_the_weight_in_an_outage_is_named_when_it_is_put_back() {
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut shop = Shop::open(Box::new(move |_, _, now| {
        if (200..500).contains(&now.duration_since(start).as_secs()) {
            Outcome::Outage { message: "connection refused".to_owned() }
        } else {
            number(0.01)
        }
    }));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(250);
    assert_eq!(shop.weights(), [0, 10, 20]);
    let weights = json!([
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 95},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 5},
    ]);
    shop.patch(ISTIO, "virtualservices/myapp-vsvc", Body::JsonPatch(weights));
    shop.run(20 * 60);
    assert_eq!(told(&shop), ["`person` lowered the canary's weight to 5 %: put back to 20 %"]);
    assert_eq!(shop.weights(), [0, 10, 20, 5, 20, 50, 100, 0]);
}

#[test]
fn whoever_edits_routes_after_a_shed_of_ours_has_lowered_nothing() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.01)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(200);
    assert_eq!(shop.weights(), [0, 10, 20]);
    shop.crashing = Some("v1.2.0");
    shop.run(10);
    assert_eq!(shop.weights(), [0, 10, 20, 0]);
    let timeout = json!([{"op": "add", "path": "/spec/http/0/timeout", "value": "9s"}]);
    shop.patch(ISTIO, "virtualservices/myapp-vsvc", Body::JsonPatch(timeout));
    shop.run(10);
    shop.crashing = None;
    shop.run(20 * 60);
    assert_eq!(told(&shop), Vec::<String>::new());
    assert_eq!(shop.weights(), [0, 10, 20, 0, 20, 50, 100, 0]);
}
