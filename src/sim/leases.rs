//! Leadership on the embedded API server, through door 2, under paused time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    door::Door,
    fault::{Effect, Fault},
    store::Answer,
    world::World,
};
use crate::{
    api::http::{Body, Method, Request},
    clock::{self, Clock},
    control::lease::{Leadership, LeaseConfig, State, lead},
};

const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/argo-rollouts/leases/argo-rollouts-controller-lock";

fn door() -> Door {
    let origin = "2026-01-01T00:00:00Z".parse().unwrap();
    let door = Door::new(World::new(origin), Clock::scaled(origin, 1));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argo-rollouts"}});
    ask(&door, Method::Post, "/api/v1/namespaces", Body::Json(namespace));
    door
}

fn ask(door: &Door, method: Method, path: &str, body: Body) -> Value {
    match door.request(&Request { method, path: path.to_owned(), query: vec![], body }, "test") {
        Answer::Response(response) if response.is_success() => response.body,
        other @ (Answer::Response(_) | Answer::Watch(_) | Answer::Crash) => panic!("{path}: {other:?}"),
    }
}

fn stand(door: &Door, name: &'static str) -> (Leadership, CancellationToken) {
    let shutdown = CancellationToken::new();
    let config = LeaseConfig::controller("argo-rollouts", "", format!("{name}_1"));
    (lead(door.client(name), door.clock(), config, shutdown.clone()), shutdown)
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_taken_renewed_given_back_and_taken_over() {
    let door = door();
    let (mut first, stop) = stand(&door, "first");
    assert!(first.acquired().await);
    let (mut second, _second) = stand(&door, "second");
    door.clock().sleep(Duration::from_secs(30)).await;
    let lease = ask(&door, Method::Get, LEASE, Body::Empty);
    assert_eq!(lease["spec"]["holderIdentity"], "first_1");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
    assert_ne!(lease["spec"]["renewTime"], lease["spec"]["acquireTime"]);
    stop.cancel();
    first.finished().await;
    assert!(second.acquired().await);

    // The second one's process dies: all its requests fail from now on.
    let dead = Fault {
        actor: Some("second".to_owned()),
        verb: None,
        resource: None,
        nth: 1,
        times: 1,
        effect: Effect::CrashBefore,
    };
    let (mut third, _third) = stand(&door, "third");
    door.clock().sleep(Duration::from_secs(3)).await;
    let died = clock::instant();
    door.with(|world| world.plant(dead));
    assert_eq!(second.ended().await, State::Lost);
    let second_ended = clock::instant() - died;
    assert!(third.acquired().await);
    let taken = clock::instant() - died;
    assert!(second_ended < taken && taken <= Duration::from_secs(20), "{second_ended:?} {taken:?}");
    let lease = ask(&door, Method::Get, LEASE, Body::Empty);
    assert_eq!(
        (&lease["spec"]["holderIdentity"], &lease["spec"]["leaseTransitions"]),
        (&json!("third_1"), &json!(2))
    );
}
