//! The notifier on door 2, with real HTTP to a local Slack, under paused time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde_json::json;

use super::{
    Fault, Faults, TOKEN,
    cluster::{Cluster, ROLLOUT, captured, encode},
};
use crate::{
    api::http::{Body, Method},
    sim::fault::{Effect, Fault as ApiFault, Point},
};

#[tokio::test(start_paused = true)]
async fn a_rollback_is_told_once_and_edited_when_git_ends() {
    let cluster = Cluster::aborted();
    cluster.until("told", Cluster::is_told).await;
    let [message] = <[_; 1]>::try_from(cluster.slack.messages()).unwrap();
    assert_eq!(message.channel, "deploys");
    assert_eq!(message.line("Traffic now").as_deref(), Some("all of it is on v1.1.0."));
    assert_eq!(message.line("Git").as_deref(), Some("still asks for v1.2.0; a revert is not decided yet."));
    cluster.heal();
    cluster.pass(60).await;
    cluster.synced();
    cluster.until("final", Cluster::is_final).await;
    let [message] = <[_; 1]>::try_from(cluster.slack.messages()).unwrap();
    assert!(
        message.line("Git").unwrap().contains("reverted to v1.1.0 by commit 0123456789"),
        "{}",
        message.render()
    );
    assert_eq!(
        message.line("Why").as_deref(),
        Some("the metric error-rate was 0.08, the condition is result < 0.05 (4 samples).")
    );
    cluster.pass(3600).await;
    assert_eq!(cluster.slack.calls().iter().filter(|call| *call == "chat.postMessage").count(), 1);
    assert!(cluster.slack.calls().len() <= 4, "{:?}", cluster.slack.calls());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_early_or_to_nobody() {
    let mut cluster = Cluster::start("notifications.argoproj.io/subscribe.on-rollout-completed.slack");
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.pass(600).await;
    assert_eq!(cluster.slack.calls(), Vec::<String>::new(), "nobody subscribed to aborts");

    let mut cluster = Cluster::start("notifications.argoproj.io/subscribe.slack");
    cluster.abort("MetricFailed");
    cluster.status(ROLLOUT, json!({"canary": {"weights": {"canary": {"weight": 20}}}}));
    cluster.run();
    cluster.pass(600).await;
    assert_eq!(cluster.slack.calls(), Vec::<String>::new(), "traffic is not back");
    cluster.status(ROLLOUT, json!({"canary": {"weights": {"canary": {"weight": 0}}}}));
    cluster.until("told", Cluster::is_told).await;
}

/// The whole story, with whatever faults are planted before; ends when the last edit is booked.
async fn whole_story(cluster: &mut Cluster) {
    cluster.abort("MetricFailed");
    cluster.heal();
    finish(cluster).await;
}

async fn finish(cluster: &mut Cluster) {
    let mut crashes = cluster.door.crashes();
    let mut is_synced = false;
    cluster.run();
    for _ in 0..3600 {
        if crashes.has_changed().unwrap() {
            crashes.borrow_and_update();
            cluster.kill().await;
            cluster.run();
        }
        if cluster.is_told() && !is_synced {
            is_synced = true;
            cluster.synced();
        }
        if cluster.is_final() {
            return;
        }
        cluster.pass(1).await;
    }
    panic!("never final; slack calls {:?}, ledger {:#}", cluster.slack.calls(), cluster.ledger());
}

fn assert_one_true_message(cluster: &Cluster, after: &str) {
    let messages = cluster.slack.messages();
    assert_eq!(messages.len(), 1, "after {after}: {}", cluster.slack.render());
    assert!(messages[0].line("Git").unwrap().contains("the cluster runs what Git says"), "after {after}");
    assert!(!messages[0].render().contains("repeat"), "after {after}");
}

const SUBSCRIBED: &str = "notifications.argoproj.io/subscribe.slack";

#[tokio::test(start_paused = true)]
async fn a_crash_around_any_request_ends_with_the_same_one_message() {
    let mut undisturbed = Cluster::start(SUBSCRIBED);
    whole_story(&mut undisturbed).await;
    assert_one_true_message(&undisturbed, "nothing");
    let points: BTreeSet<Point> = undisturbed.door.with(|world| {
        world.log().map(|logged| logged.point.clone()).filter(|point| point.actor == "notify").collect()
    });
    drop(undisturbed);
    let mut played = 0;
    for point in &points {
        for effect in [
            Effect::CrashBefore,
            Effect::CrashAfter,
            Effect::LoseAnswer,
            Effect::Refuse(409),
            Effect::Refuse(500),
        ] {
            let what = format!("{point} {effect:?}");
            let mut cluster = Cluster::start(SUBSCRIBED);
            cluster.door.with(|world| world.plant(ApiFault::at(point, effect.clone())));
            whole_story(&mut cluster).await;
            assert_one_true_message(&cluster, &what);
            played += 1;
        }
    }
    assert!(points.len() >= 12 && played == points.len() * 5, "{points:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_around_any_call_to_slack_ends_with_the_same_one_message() {
    for call in 0..2 {
        for fault in [Fault::Hang, Fault::HangAfter] {
            let mut cluster = Cluster::start(SUBSCRIBED);
            let mut next: VecDeque<Option<Fault>> = std::iter::repeat_n(None, call).collect();
            next.push_back(Some(fault.clone()));
            cluster.slack.set_faults(Faults { next, ..Faults::default() });
            // The process dies while the call hangs.
            let mut calls = cluster.slack.watch_calls();
            cluster.config.slack_limit = Duration::from_secs(60);
            cluster.abort("MetricFailed");
            cluster.run();
            cluster.heal();
            if call == 1 {
                cluster.until("told", Cluster::is_told).await;
                cluster.synced();
            }
            let wanted = u64::try_from(call).unwrap() + 1;
            crate::clock::outside(Duration::from_secs(10), calls.wait_for(|count| *count >= wanted))
                .await
                .unwrap()
                .unwrap();
            cluster.kill().await;
            finish(&mut cluster).await;
            assert_one_true_message(&cluster, &format!("call {call} {fault:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_searched_for_and_not_repeated() {
    for fault in [Fault::DropAfter, Fault::HangAfter, Fault::Status(500), Fault::Error("internal_error")] {
        let mut cluster = Cluster::start(SUBSCRIBED);
        cluster.slack.set_faults(Faults { next: VecDeque::from([Some(fault.clone())]), ..Faults::default() });
        whole_story(&mut cluster).await;
        assert_one_true_message(&cluster, &format!("{fault:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn without_history_a_doubt_is_repeated_and_marked() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    cluster.slack.set_faults(Faults {
        next: VecDeque::from([Some(Fault::HangAfter)]),
        missing_scopes: BTreeSet::from(["channels:history", "channels:read"]),
        always: BTreeMap::new(),
    });
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.until("told", Cluster::is_told).await;
    let texts: Vec<String> = cluster.slack.messages().iter().map(|message| message.render()).collect();
    assert_eq!(texts.len(), 2);
    assert!(!texts[0].contains("may be a repeat") && texts[1].contains("may be a repeat"), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn slack_that_refuses_is_asked_again_with_back_off_also_after_restarts() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    let always = BTreeMap::from([("chat.postMessage", Fault::Error("is_archived"))]);
    cluster.slack.set_faults(Faults { always, ..Faults::default() });
    cluster.abort("MetricFailed");
    cluster.run();
    for _ in 0..20 {
        cluster.pass(60).await;
        cluster.kill().await;
        cluster.run();
    }
    let calls = cluster.slack.calls().len();
    assert!((5..=14).contains(&calls), "{calls} calls in 20 minutes and 20 restarts");
    assert_eq!(cluster.ledger()[0]["reason"], "Slack refused: is_archived");
    cluster.slack.set_faults(Faults::default());
    cluster.until("told", Cluster::is_told).await;
    assert_eq!(cluster.slack.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn slack_that_asks_for_time_is_given_it() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    cluster
        .slack
        .set_faults(Faults { next: VecDeque::from([Some(Fault::RateLimited(120))]), ..Faults::default() });
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.pass(115).await;
    assert_eq!(cluster.slack.calls().len(), 1);
    cluster.pass(15).await;
    cluster.until("told", Cluster::is_told).await;
    assert_eq!(cluster.slack.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_person_deleted_does_not_come_back() {
    let cluster = Cluster::aborted();
    cluster.until("told", Cluster::is_told).await;
    let ts = cluster.slack.messages()[0].ts.clone();
    cluster.slack.delete(&ts);
    cluster.heal();
    cluster.synced();
    cluster.until("final", Cluster::is_final).await;
    cluster.pass(3600).await;
    assert_eq!(cluster.slack.messages(), []);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_named_nowhere_and_a_right_one_is_used_without_restart() {
    let (log, _logging) = captured();
    let mut cluster = Cluster::start(SUBSCRIBED);
    cluster.secret("xoxb-wrong-secret");
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.pass(30).await;
    assert_eq!(cluster.ledger()[0]["reason"], "Slack refused: invalid_auth");
    let written = cluster.door.with(|world| {
        let ours = world.log().filter(|logged| logged.point.actor == "notify");
        ours.map(|logged| format!("{} {}", logged.path, logged.body)).collect::<String>()
    });
    assert!(!written.contains("xoxb"), "{written}");
    cluster.secret(TOKEN);
    cluster.until("told", Cluster::is_told).await;
    cluster.pass(5).await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("Could not notify about `shop/myapp`, trying again: Slack refused: invalid_auth")
    );
    assert!(logged.contains("Told `#deploys` about `shop/myapp`"));
    for secret in ["xoxb-wrong-secret", TOKEN] {
        let line = logged.lines().find(|line| line.contains(secret) || line.contains(&encode(secret)));
        assert_eq!(line, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_is_not_quoted() {
    let (log, _logging) = captured();
    let mut cluster = Cluster::start(SUBSCRIBED);
    let path = "/api/v1/namespaces/argo-rollouts/configmaps/argo-rollouts-notification-configmap";
    cluster.send(
        Method::Patch,
        path,
        Body::Merge(json!({"data": {"service.slack": "token: [xoxb-inline-secret]"}})),
    );
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.pass(30).await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("`service.slack` is not what it should be"), "{logged}");
    assert!(!logged.contains("xoxb"), "{logged}");
}

#[tokio::test(start_paused = true)]
async fn slack_that_is_down_for_half_an_hour_hears_the_end_of_the_story() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    let always = BTreeMap::from([("chat.postMessage", Fault::Status(503))]);
    cluster.slack.set_faults(Faults { always, ..Faults::default() });
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.heal();
    cluster.pass(900).await;
    cluster.synced();
    cluster.pass(900).await;
    cluster.kill().await;
    cluster.slack.set_faults(Faults::default());
    cluster.run();
    cluster.until("final", Cluster::is_final).await;
    assert_one_true_message(&cluster, "half an hour");
}
