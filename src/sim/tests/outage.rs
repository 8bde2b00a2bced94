//! Nobody answers queries for a while.

use super::fixture::{Shop, number};
use crate::{decide::analysis::Outcome, sim::store::Resource};

/// The story of the README with Prometheus away between two times, in seconds.
fn shop(from: i64, to: i64) -> Shop {
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut shop = Shop::open(Box::new(move |_, _, now| {
        let second = now.duration_since(start).as_secs();
        if (from..to).contains(&second) {
            Outcome::Outage { message: "connection refused".to_owned() }
        } else {
            number(0.01)
        }
    }));
    shop.run(30);
    shop.apply_image("v1.2.0");
    shop
}

#[test]
fn a_pause_that_ends_in_an_outage_is_not_looked_at_in_a_circle() {
    let mut shop = shop(200, 700);
    // The fixture looks once a second, and then as long as a pass wants to be made again at once.
    shop.run(600);
    assert_eq!(shop.weights(), [0, 10, 20]);
    shop.run(20 * 60);
    assert_eq!(shop.weights(), [0, 10, 20, 50, 100, 0]);
    let rollout = shop.object(Resource::Rollouts, "myapp");
    assert_eq!(rollout["status"]["phase"], "Healthy", "{rollout:#}");
}
