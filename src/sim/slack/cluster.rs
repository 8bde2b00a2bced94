//! A cluster with a Slack and a notifier that can be killed, under paused time.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{SlackReceiver, TOKEN};
use crate::{
    api::http::{Body, Method, Request},
    clock::Clock,
    notify::{Config, run},
    sim::{door::Door, store::Answer, world::World},
    telemetry::Metrics,
};

const ORIGIN: &str = "2026-01-01T12:09:14Z";

/// A cluster with a Slack and a notifier that can be killed.
pub(super) struct Cluster {
    pub(super) door: Door,
    pub(super) slack: SlackReceiver,
    pub(super) config: Config,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Cluster {
    pub(super) fn start(subscription: &str) -> Self {
        let origin = ORIGIN.parse().unwrap();
        let door = Door::new(World::new(origin), Clock::scaled(origin, 1));
        let slack = SlackReceiver::start().unwrap();
        slack.create_channel("deploys");
        let mut config = Config::new("argo-rollouts", Metrics::new("test"));
        config.slack_limit = Duration::from_millis(400);
        let stop = CancellationToken::new();
        let cluster = Self { door, slack, config, stop, task: tokio::spawn(async {}) };
        for name in ["argo-rollouts", "shop"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            cluster.create("/api/v1/namespaces", namespace);
        }
        cluster.create("/api/v1/namespaces/argo-rollouts/configmaps", json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argo-rollouts-notification-configmap"},
            "data": {"service.slack": format!("token: $slack-token\napiURL: {}\n", cluster.slack.url),
                "service.webhook.slack-ops": "url: $ops-url\n"}}));
        cluster.create(
            "/api/v1/namespaces/argo-rollouts/secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argo-rollouts-notification-secret"},
                "data": {"slack-token": encode(TOKEN), "ops-url": encode(&cluster.slack.webhook_url())}}),
        );
        cluster.create("/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts", json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "myapp", "annotations": {subscription: "#deploys"}},
            "spec": {"strategy": {"canary": {"trafficRouting": {"istio": {}}}}, "template": {"spec": {"containers": [
                {"name": "app", "image": "registry.example/app:v1.2.0"}]}}}}));
        cluster.create(
            RECORDS,
            json!({"apiVersion": "serin.dev/v1alpha1", "kind": "RolloutRecord",
            "metadata": {"name": "myapp"}, "spec": {}}),
        );
        cluster
    }

    /// A cluster in which the notifier runs and the story has come to its abort, with traffic back.
    pub(super) fn aborted() -> Self {
        let mut cluster = Self::start("notifications.argoproj.io/subscribe.on-rollout-aborted.slack");
        cluster.abort("MetricFailed");
        cluster.run();
        cluster
    }

    pub(super) fn run(&mut self) {
        self.door.with(|world| world.revive("notify"));
        let (client, clock) = (self.door.client("notify"), self.door.clock());
        self.stop = CancellationToken::new();
        self.task = tokio::spawn(run(client, clock, self.config.clone(), self.stop.clone()));
    }

    /// Kills the notifier in the middle of whatever it does.
    pub(super) async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub(super) fn send(&self, method: Method, path: &str, body: Body) -> Value {
        let request = Request { method, path: path.to_owned(), query: vec![], body };
        match self.door.request(&request, "test") {
            Answer::Response(response) if response.is_success() => response.body,
            other @ (Answer::Response(_) | Answer::Watch(_) | Answer::Crash) => panic!("{path}: {other:?}"),
        }
    }

    pub(super) fn create(&self, path: &str, object: Value) {
        self.send(Method::Post, path, Body::Json(object));
    }

    pub(super) fn status(&self, path: &str, status: Value) {
        self.send(Method::Patch, &format!("{path}/status"), Body::Merge(json!({"status": status})));
    }

    pub(super) fn secret(&self, token: &str) {
        let name = "argo-rollouts-notification-secret";
        let patch = Body::Merge(json!({"data": {"slack-token": encode(token)}}));
        self.send(Method::Patch, &format!("/api/v1/namespaces/argo-rollouts/secrets/{name}"), patch);
    }

    /// What the controller writes when it aborts: the record first, then the Rollout.
    pub(super) fn abort(&self, cause: &str) {
        self.status(
            &format!("{RECORDS}/myapp"),
            json!({"controller": {"cause": cause, "evidence": evidence(),
            "provenance": [{"hash": "good1", "images": {"app": "registry.example/app:v1.1.0"}}]}}),
        );
        self.status(
            ROLLOUT,
            json!({"currentPodHash": "bad1", "stableRS": "good1", "abort": true,
            "abortedAt": "2026-01-01T12:09:13Z", "canary": {"weights": {"canary": {"weight": 0}}},
            "conditions": [{"type": "Progressing", "reason": "RolloutAborted", "message": "aborted"}]}),
        );
    }

    /// What the Git lane and the engine write when the revert is there.
    pub(super) fn heal(&self) {
        let uid = self.send(Method::Get, ROLLOUT, Body::Empty)["metadata"]["uid"].clone();
        let version = |hash: &str, tag: &str| json!({"hash": hash, "images": {"app": format!("registry.example/app:{tag}")}});
        self.create(
            HEALS,
            json!({"apiVersion": "serin.dev/v1alpha1", "kind": "SelfHeal",
            "metadata": {"name": "myapp-bad1"}, "spec": {"rolloutRef": {"name": "myapp", "uid": uid},
                "bad": version("bad1", "v1.2.0"), "good": version("good1", "v1.1.0"), "cause": "MetricFailed",
                "evidence": evidence()}}),
        );
    }

    pub(super) fn synced(&self) {
        self.status(&format!("{HEALS}/myapp-bad1"), json!({"phase": "Synced", "commit": "0123456789abcdef"}));
        self.status(
            ROLLOUT,
            json!({"currentPodHash": "good1", "abort": null, "abortedAt": null, "conditions": []}),
        );
    }

    pub(super) fn ledger(&self) -> Value {
        self.send(Method::Get, &format!("{RECORDS}/myapp"), Body::Empty)["status"]["notify"]["ledger"].clone()
    }

    pub(super) async fn pass(&self, seconds: u64) {
        self.door.clock().sleep(Duration::from_secs(seconds)).await;
    }

    /// Virtual time passes until `is_so`, an hour at most.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..3600 {
            if is_so(self) {
                return;
            }
            self.pass(1).await;
        }
        panic!("never {what}; slack calls {:?}, ledger {:#}", self.slack.calls(), self.ledger());
    }

    pub(super) fn is_told(&self) -> bool {
        self.ledger()[0]["ts"].as_str().is_some_and(|ts| !ts.is_empty())
    }

    pub(super) fn is_final(&self) -> bool {
        self.ledger()[0]["state"] == "Final"
    }
}

pub(super) const ROLLOUT: &str = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/myapp";
const RECORDS: &str = "/apis/serin.dev/v1alpha1/namespaces/shop/rolloutrecords";
const HEALS: &str = "/apis/serin.dev/v1alpha1/namespaces/shop/selfheals";

pub(super) fn evidence() -> Value {
    json!({"run": "myapp-bad1-2", "metric": "error-rate", "value": "0.08", "limit": "result < 0.05", "samples": 4,
        "weight": 50, "startedAt": "2026-01-01T12:00:00Z", "failedAt": "2026-01-01T12:09:12Z"})
}

/// Base64, as Secrets have it.
pub(super) fn encode(text: &str) -> String {
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes).unwrap().as_str().unwrap().to_owned()
}

/// Everything that this thread logs from here on, at every level.
pub(super) fn captured() -> (Log, impl Sized) {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    // With a single dispatcher, tracing asks only the thread that reaches a line first, which may be another
    // test's; a second one makes it ask them all.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(lines.with_writer(move || writer.clone()).finish());
    (log, (guard, second))
}

#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::Error::other("poisoned"))?.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
