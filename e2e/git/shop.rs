//! A shop whose `myapp` failed on v1.2.0, on the embedded API server, with the Git lane running beside it.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use serin::{
    api::http::{Body, Method, Request},
    clock::Clock,
    gitops::{self, Config},
    sim::{door::Door, store::Answer, world::World},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Remote, start, transfer};

pub(crate) const FILE: &str = "apps/myapp.yaml";

/// The manifest in Git, as people write them.
pub(crate) fn manifest(version: &str) -> String {
    format!(
        "# myapp of the shop\r\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: myapp\nspec:\n  replicas: 10\n  \
         template:\n    spec:\n      containers:\n        - name: app\n          image: \"registry.example/myapp:{version}\"   # ours\n"
    )
}

/// The embedded API server and the lane on it.
pub(crate) struct Shop {
    pub(crate) door: Door,
    pub(crate) config: Config,
    _clones: tempfile::TempDir,
}

/// A lane that runs. Ends with this.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), gitops::Error>>,
}

impl Running {
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::on(Door::new(World::new(start()), Clock::scaled(start(), 1)))
    }

    /// The shop on this API server.
    pub(crate) fn on(door: Door) -> Self {
        let clones = tempfile::tempdir().unwrap();
        let mut config = Config::new(clones.path().join("clones"), transfer());
        config.allow_file_remotes = true;
        Self { door, config, _clones: clones }
    }

    /// A shop with `myapp` rolled back from v1.2.0 to v1.1.0, and a policy that pushes to `remote`.
    pub(crate) fn rolled_back(remote: &Remote) -> Self {
        let shop = Self::new();
        shop.roll_back("myapp");
        shop.allow("myapp", &remote.url(), "Push");
        shop
    }

    pub(crate) fn run(&self) -> Running {
        let shutdown = CancellationToken::new();
        let lane =
            gitops::run(self.door.client("gitops"), self.door.clock(), self.config.clone(), shutdown.clone());
        Running { shutdown, task: tokio::spawn(lane) }
    }

    /// A Rollout that failed on v1.2.0, and the intent to revert it.
    pub(crate) fn roll_back(&self, name: &str) {
        self.roll_back_from(name, "registry.example/myapp:v1.2.0", "registry.example/myapp:v1.1.0");
    }

    /// The same with other images.
    pub(crate) fn roll_back_from(&self, name: &str, bad: &str, good: &str) {
        self.create(
            "argoproj.io/v1alpha1",
            "rollouts",
            &json!({
                "kind": "Rollout", "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"template": {"spec": {"containers": [{"name": "app", "image": bad}]}}},
                "status": {"currentPodHash": "bad1", "stableRS": "good1", "abort": true, "phase": "Degraded"}
            }),
        );
        let uid = self.get("argoproj.io/v1alpha1", "rollouts", name)["metadata"]["uid"].clone();
        self.create("serin.dev/v1alpha1", "selfheals", &json!({
            "kind": "SelfHeal", "metadata": {"name": format!("{name}-bad1")},
            "spec": {
                "rolloutRef": {"name": name, "uid": uid},
                "bad": {"hash": "bad1", "images": {"app": bad}},
                "good": {"hash": "good1", "images": {"app": good}},
                "cause": "MetricFailed",
                "evidence": {
                    "run": "myapp-bad1-2", "metric": "error-rate", "value": "0.08", "limit": "result < 0.05",
                    "query": "errors", "samples": 4, "weight": 20,
                    "startedAt": "2026-01-01T00:00:00Z", "failedAt": "2026-01-01T00:08:30Z"
                }
            }
        }));
    }

    /// A policy for the Rollout of this name.
    pub(crate) fn allow(&self, name: &str, url: &str, mode: &str) {
        self.create(
            "serin.dev/v1alpha1",
            "selfhealpolicies",
            &json!({
                "kind": "SelfHealPolicy", "metadata": {"name": name},
                "spec": {
                    "rolloutSelector": {"matchLabels": {"app": name}},
                    "git": {"url": url, "branch": "main"},
                    "target": {"path": FILE, "kind": "Manifest"},
                    "mode": mode, "ticket": "OPS-7"
                }
            }),
        );
    }

    /// Changes the policy of `myapp`.
    pub(crate) fn policy(&self, change: &Value) {
        self.patch("serin.dev/v1alpha1", "selfhealpolicies", "myapp", &json!({"spec": change}));
    }

    pub(crate) fn namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.send(Method::Post, "/api/v1/namespaces".into(), Body::Json(namespace));
    }

    pub(crate) fn secret(&self, namespace: &str, name: &str, values: &[(&str, &str)]) {
        let values: serde_json::Map<String, Value> =
            values.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values});
        self.send(Method::Post, format!("/api/v1/namespaces/{namespace}/secrets"), Body::Json(secret));
    }

    /// Sets some values of a Secret of the Rollout's namespace.
    pub(crate) fn set_secret(&self, name: &str, values: &[(&str, &str)]) {
        let values: serde_json::Map<String, Value> =
            values.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let path = format!("/api/v1/namespaces/default/secrets/{name}");
        self.send(Method::Patch, path, Body::Merge(json!({"stringData": values})));
    }

    pub(crate) fn delete_secret(&self, namespace: &str, name: &str) {
        self.send(Method::Delete, format!("/api/v1/namespaces/{namespace}/secrets/{name}"), Body::Empty);
    }

    /// How many homes of transfers are there.
    pub(crate) fn homes(&self) -> usize {
        let names = std::fs::read_dir(self.clones()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("transfer-")).count()
    }

    /// What the engine and the controller make of a Rollout whose spec asks for another version.
    pub(crate) fn now_runs(&self, version: &str, hash: &str) {
        let image = format!("registry.example/myapp:{version}");
        let spec = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}});
        self.patch("argoproj.io/v1alpha1", "rollouts", "myapp", &spec);
        let live = self.get("argoproj.io/v1alpha1", "rollouts", "myapp");
        self.patch(
            "argoproj.io/v1alpha1",
            "rollouts",
            "myapp",
            &json!({"status": {
                "currentPodHash": hash, "abort": null, "phase": "Healthy",
                "observedGeneration": live["metadata"]["generation"].to_string()
            }}),
        );
    }

    fn send(&self, method: Method, path: String, body: Body) -> Value {
        let request = Request { method, path, query: vec![], body };
        let answer = self.door.request(&request, "test");
        let Answer::Response(response) = answer else { panic!("no answer to {request:?}") };
        assert!(response.is_success(), "{request:?}: {}", response.message());
        response.body
    }

    fn create(&self, version: &str, plural: &str, object: &Value) {
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        let path = format!("/apis/{version}/namespaces/default/{plural}");
        self.send(Method::Post, path, Body::Json(object.clone()));
        if object.get("status").is_some() {
            // The status is a subresource: a create drops it.
            let name = object["metadata"]["name"].as_str().unwrap();
            self.patch(version, plural, name, &json!({"status": object["status"]}));
        }
    }

    pub(crate) fn patch(&self, version: &str, plural: &str, name: &str, change: &Value) {
        let part = if change.get("status").is_some() { "/status" } else { "" };
        let path = format!("/apis/{version}/namespaces/default/{plural}/{name}{part}");
        self.send(Method::Patch, path, Body::Merge(change.clone()));
    }

    pub(crate) fn get(&self, version: &str, plural: &str, name: &str) -> Value {
        self.send(Method::Get, format!("/apis/{version}/namespaces/default/{plural}/{name}"), Body::Empty)
    }

    pub(crate) fn list(&self, version: &str, plural: &str) -> Value {
        let group = if version == "v1" { "api" } else { "apis" };
        self.send(Method::Get, format!("/{group}/{version}/namespaces/default/{plural}"), Body::Empty)
    }

    pub(crate) fn status(&self) -> Value {
        self.get("serin.dev/v1alpha1", "selfheals", "myapp-bad1")["status"].clone()
    }

    /// Waits until the revert of `myapp` stands so, and returns its status.
    pub(crate) async fn stands(&self, phase: &str, reason: &str) -> Value {
        self.stands_for("myapp", phase, reason).await
    }

    pub(crate) async fn stands_for(&self, name: &str, phase: &str, reason: &str) -> Value {
        let mut changes = self.door.changes();
        let status =
            || self.get("serin.dev/v1alpha1", "selfheals", &format!("{name}-bad1"))["status"].clone();
        let there = async {
            loop {
                let status = status();
                if status["phase"] == phase && status["reason"] == reason {
                    return status;
                }
                changes.changed().await.unwrap();
            }
        };
        let found = self.door.clock().timeout(Duration::from_hours(2), there).await;
        found.unwrap_or_else(|| panic!("never {phase} {reason}, but {}", status()))
    }

    /// Waits until a planted crash has happened.
    pub(crate) async fn crashes(&self) {
        let mut crashes = self.door.crashes();
        let crash = async {
            while self.door.with(|world| world.crashes().is_empty()) {
                crashes.changed().await.unwrap();
            }
        };
        let found = self.door.clock().timeout(Duration::from_hours(2), crash).await;
        found.unwrap_or_else(|| panic!("no crash, but {}", self.status()));
    }

    /// The commits of the bot, the newest first.
    pub(crate) fn reverts(remote: &Remote) -> Vec<serin::sim::engine::Recorded> {
        let all = serin::sim::engine::history(&remote.path()).unwrap();
        all.into_iter().filter(|commit| commit.author == "SelfHeal Bot").collect()
    }

    pub(crate) fn clones(&self) -> PathBuf {
        self.config.clones.clone()
    }
}

/// A remote whose `main` holds v1.2.0.
pub(crate) fn remote() -> Remote {
    Remote::new(&[(FILE, &manifest("v1.2.0")), ("README.md", "deploy\n")])
}
