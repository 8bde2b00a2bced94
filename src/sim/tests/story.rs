//! The main story, the good one and the bad one.

use super::fixture::{Shop, number};
use crate::sim::store::Resource;

#[test]
fn a_good_version_takes_every_step_and_becomes_stable() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.01)));
    shop.run(30);
    assert_eq!(shop.status()["phase"], "Healthy", "{:#}", shop.status());
    shop.apply_image("v1.2.0");
    shop.run(20 * 60);
    eprintln!("{:#?}\n{:?}", shop.seen, shop.events());
    let status = shop.status();
    assert_eq!(status["phase"], "Healthy", "{status:#}");
    assert_eq!(status["stableRS"], status["currentPodHash"]);
    assert_eq!(shop.weights(), [0, 10, 20, 50, 100, 0]);
    assert_eq!(shop.names(Resource::SelfHeals), Vec::<String>::new());
}

#[test]
fn a_bad_version_loses_its_traffic_before_anything_else_happens() {
    let mut shop = Shop::open(Box::new(|_, _, _| number(0.08)));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(10 * 60);
    eprintln!("{:#?}\n{:?}", shop.seen, shop.events());
    let status = shop.status();
    assert_eq!(status["phase"], "Degraded", "{status:#}");
    assert_eq!(status["abort"], true);
    assert_eq!(shop.weights(), [0, 10, 20, 0]);
    assert_eq!(shop.names(Resource::SelfHeals).len(), 1);
}
