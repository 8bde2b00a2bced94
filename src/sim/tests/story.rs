//! The main story, the good one and the bad one.

use super::fixture::{Shop, number};
use crate::{decide::analysis::Outcome, sim::store::Resource};

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

/// A pause that is over, and a rollout that may not go on: nothing is to be looked at before something changes.
#[test]
fn a_pause_that_ends_while_nothing_can_be_measured_is_not_looked_at_without_end() {
    let mut shop = Shop::open(Box::new(|world, _, _| match world.now().as_second() % 3600 {
        0..180 => number(0.01),
        _ => Outcome::Outage { message: "connection refused".to_owned() },
    }));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop.run(15 * 60);
    let status = shop.status();
    assert_eq!(status["canary"]["weights"]["canary"]["weight"], 20, "{status:#}");
    assert_eq!(shop.weights(), [0, 10, 20]);
}
