//! An incoming webhook: one message, which nobody can edit or find again.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::json;

use super::{
    Fault, Faults, WEBHOOK, WEBHOOK_CHANNEL,
    cluster::{Cluster, captured, encode},
};
use crate::api::http::{Body, Method};

const SUBSCRIBED: &str = "notifications.argoproj.io/subscribe.on-rollout-aborted.slack-ops";

impl Cluster {
    /// The notifier runs, and the story has come to its abort two seconds ago, with traffic back.
    fn aborted_for_webhook() -> Self {
        let mut cluster = Self::start(SUBSCRIBED);
        cluster.abort("MetricFailed");
        cluster.run();
        cluster
    }
}

fn texts(cluster: &Cluster) -> Vec<String> {
    cluster.slack.messages().iter().map(|message| message.render()).collect()
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_git_and_says_how_that_ended() {
    let cluster = Cluster::aborted_for_webhook();
    cluster.heal();
    cluster.pass(10).await;
    assert_eq!(texts(&cluster), Vec::<String>::new(), "Git is not done");
    cluster.synced();
    cluster.until("told", Cluster::is_final).await;
    let [message] = <[_; 1]>::try_from(cluster.slack.messages()).unwrap();
    assert_eq!(message.channel, WEBHOOK_CHANNEL);
    assert!(message.line("Git").unwrap().contains("the cluster runs what Git says"), "{}", message.render());
    assert_eq!(cluster.ledger()[0]["recipient"], "webhook:slack-ops");
    cluster.pass(3600).await;
    assert_eq!(cluster.slack.calls(), ["webhook"]);
}

#[tokio::test(start_paused = true)]
async fn it_waits_half_a_minute_and_says_what_is_then() {
    let cluster = Cluster::aborted_for_webhook();
    cluster.heal();
    cluster.pass(27).await;
    assert_eq!(texts(&cluster), Vec::<String>::new(), "half a minute after the abort is not over");
    cluster.pass(4).await;
    let [message] = <[_; 1]>::try_from(cluster.slack.messages()).unwrap();
    assert!(message.line("Git").unwrap().contains("is on its way"), "{}", message.render());
    cluster.synced();
    cluster.pass(3600).await;
    assert_eq!(cluster.slack.calls(), ["webhook"], "what was said stays");
}

#[tokio::test(start_paused = true)]
async fn the_app_does_not_wait_for_the_webhook_nor_for_git() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    let annotations = json!({"notifications.argoproj.io/subscribe.slack": "#deploys"});
    let patch = Body::Merge(json!({"metadata": {"annotations": annotations}}));
    cluster.send(Method::Patch, super::cluster::ROLLOUT, patch);
    cluster.abort("MetricFailed");
    cluster.run();
    cluster.heal();
    cluster.pass(5).await;
    let channels: Vec<_> = cluster.slack.messages().into_iter().map(|message| message.channel).collect();
    assert_eq!(channels, ["deploys"]);
    cluster.synced();
    cluster.pass(5).await;
    let lines: Vec<_> = cluster.slack.messages().iter().filter_map(|message| message.line("Git")).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.contains("the cluster runs what Git says")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_doubt_repeats_it_marked() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    cluster.slack.set_faults(Faults { next: VecDeque::from([Some(Fault::HangAfter)]), ..Faults::default() });
    let mut calls = cluster.slack.watch_calls();
    cluster.config.slack_limit = Duration::from_secs(60);
    cluster.abort("MetricFailed");
    cluster.heal();
    cluster.synced();
    cluster.run();
    crate::clock::outside(Duration::from_secs(10), calls.wait_for(|count| *count >= 1))
        .await
        .unwrap()
        .unwrap();
    cluster.kill().await;
    cluster.run();
    cluster.until("told", Cluster::is_final).await;
    let texts = texts(&cluster);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(!texts[0].contains("may be a repeat") && texts[1].contains("may be a repeat"), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_sent_once_also_after_a_restart() {
    let mut cluster = Cluster::start(SUBSCRIBED);
    cluster.slack.set_faults(Faults {
        next: VecDeque::from([Some(Fault::RateLimited(60))]),
        always: BTreeMap::from([("webhook", Fault::Error("channel_is_archived"))]),
        ..Faults::default()
    });
    cluster.abort("MetricFailed");
    cluster.heal();
    cluster.synced();
    cluster.run();
    cluster.pass(50).await;
    assert_eq!(cluster.slack.calls().len(), 1, "it asked for a minute");
    cluster.pass(20).await;
    assert_eq!(cluster.ledger()[0]["reason"], "Slack refused: channel_is_archived");
    cluster.kill().await;
    cluster.slack.set_faults(Faults::default());
    cluster.run();
    cluster.until("told", Cluster::is_final).await;
    assert_eq!(texts(&cluster).len(), 1);
    assert!(!texts(&cluster)[0].contains("repeat"));
}

#[tokio::test(start_paused = true)]
async fn its_address_is_named_nowhere() {
    let (log, _logging) = captured();
    let mut cluster = Cluster::start(SUBSCRIBED);
    let wrong = cluster.slack.webhook_url().replace(WEBHOOK, "T0/B0/wrong-webhook-secret");
    let secret = "/api/v1/namespaces/argo-rollouts/secrets/argo-rollouts-notification-secret";
    let set = |url: &str| Body::Merge(json!({"data": {"ops-url": encode(url)}}));
    cluster.send(Method::Patch, secret, set(&wrong));
    cluster.abort("MetricFailed");
    cluster.heal();
    cluster.synced();
    cluster.run();
    cluster.pass(30).await;
    assert_eq!(cluster.ledger()[0]["reason"], "Slack refused: invalid_token");
    // Nobody listens there.
    cluster.send(Method::Patch, secret, set("http://127.0.0.1:9/services/wrong-webhook-secret"));
    cluster.pass(60).await;
    assert_eq!(cluster.ledger()[0]["reason"], "Slack cannot be reached");
    let right = cluster.slack.webhook_url();
    cluster.send(Method::Patch, secret, set(&right));
    cluster.until("told", Cluster::is_final).await;
    let written = cluster.door.with(|world| {
        let ours = world.log().filter(|logged| logged.point.actor == "notify");
        ours.map(|logged| format!("{} {}", logged.path, logged.body)).collect::<String>()
    });
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("Told `webhook:slack-ops` about `shop/myapp`"), "{logged}");
    for text in [&written, &logged] {
        let line =
            text.lines().find(|line| line.contains("webhook-secret") || line.contains(&encode(&right)));
        assert_eq!(line, None);
    }
}
