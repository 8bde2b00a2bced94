//! Every alert, fired by the real program on a real Prometheus: the condition is brought about in a cluster, the pauses of
//! the rules are shortened, their expressions and thresholds are those of `deploy/`.
//!
//! Two conditions cannot be brought about in a sound program within a minute: a plan that breaks an invariant, and a queue
//! that is half a minute behind. For these the numbers are driven through the program's own telemetry, on a page of
//! their own.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Form, routing::post};
use serde_json::{Value, json};
use serin::{
    api::http::Method,
    clock::Clock,
    sim::{
        slack::{Fault, Faults, SlackReceiver},
        store::base64,
    },
    telemetry::{Metrics, QueueFacts, Snapshot, server},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, Refusal, SHOP, SYSTEM},
    page,
    process::Process,
    prometheus::{Prometheus, free_port, within},
};

/// The alerts that are made to fire below.
pub(crate) const FIRED: [&str; 14] = [
    "SerinApiErrors",
    "SerinBehind",
    "SerinDown",
    "SerinGitopsDown",
    "SerinInvariantBroken",
    "SerinMetricsUnavailable",
    "SerinNoLeader",
    "SerinNotificationsFailing",
    "SerinRolloutStuck",
    "SerinSelfHealBlocked",
    "SerinSelfHealStuck",
    "SerinShedSlow",
    "SerinTrafficContested",
    "SerinTrafficNotMoved",
];

/// The real program in both roles, on ports of its own.
struct Serin {
    controller: Process,
    gitops: Process,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    controller: u16,
    gitops: u16,
    controller_health: u16,
    gitops_health: u16,
}

impl Ports {
    fn free() -> Self {
        Self {
            controller: free_port(),
            gitops: free_port(),
            controller_health: free_port(),
            gitops_health: free_port(),
        }
    }
}

impl Serin {
    fn start(folder: &Path, cluster: &Cluster, ports: Ports) -> Self {
        let start = |role: &str, metrics: u16, health: u16, more: &[String]| {
            let mut arguments = vec![
                role.to_owned(),
                format!("--kubeconfig={}", cluster.kubeconfig.display()),
                format!("--metricsPort={metrics}"),
                format!("--healthzPort={health}"),
                "--logformat=json".to_owned(),
            ];
            arguments.extend_from_slice(more);
            Process::start(folder, role, env!("CARGO_BIN_EXE_serin"), &arguments)
        };
        let clones = format!("--clones={}", folder.join("clones").display());
        let controller = start(
            "controller",
            ports.controller,
            ports.controller_health,
            &["--traffic-delay=1s".to_owned()],
        );
        let gitops = start("gitops", ports.gitops, ports.gitops_health, &[clones]);
        Self { controller, gitops, ports }
    }

    /// What Prometheus's own checker thinks of both pages.
    async fn check_pages(&self) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for port in [self.ports.controller, self.ports.gitops] {
            let answer = client.get(format!("http://127.0.0.1:{port}/metrics")).send().await.unwrap();
            page::check(&answer.text().await.unwrap());
        }
    }

    /// Waits until both roles answer their readiness probe with 200.
    async fn ready(&self) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for port in [self.ports.controller_health, self.ports.gitops_health] {
            within(Duration::from_secs(30), "ready", async || {
                let asked = client.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
                let answer = asked.map_err(|error| error.to_string())?;
                let status = answer.status();
                let text = answer.text().await.map_err(|error| error.to_string())?;
                if status.is_success() && text == "ok" { Ok(()) } else { Err(format!("{status}: {text}")) }
            })
            .await;
        }
    }
}

/// The metrics backend of the analyses: a good value, or a bad one while `is_bad`.
async fn backend(is_bad: Arc<AtomicBool>) -> String {
    let answer = move |Form(asked): Form<BTreeMap<String, String>>| {
        let of_contested = asked.get("query").is_some_and(|query| query.contains("contested"));
        let value = if is_bad.load(Ordering::SeqCst) && !of_contested { "0.31" } else { "0.01" };
        let body = json!({"status": "success", "data": {"resultType": "scalar", "result": [1.0, value]}});
        async move { axum::Json(body) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/api/v1/query", post(answer))).await },
    );
    address
}

/// A page that serin's own telemetry writes, of a role that does not exist.
async fn stand_in(metrics: &Metrics, queue: &Arc<Mutex<QueueFacts>>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (metrics, queue) = (metrics.clone(), Arc::clone(queue));
    let render = move || {
        let queue = *queue.lock().unwrap();
        metrics.render(Snapshot { queue, ..Snapshot::default() })
    };
    tokio::spawn(server::serve_metrics(listener, render, CancellationToken::new()));
    port
}

fn slack(cluster: &Cluster, url: &str) {
    let core = format!("/api/v1/namespaces/{SYSTEM}");
    cluster.create(
        &format!("{core}/configmaps"),
        &json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "argo-rollouts-notification-configmap"},
            "data": {"service.slack": format!("token: $slack-token\napiURL: {url}\n")}}),
    );
    cluster.create(
        &format!("{core}/secrets"),
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argo-rollouts-notification-secret"},
            "data": {"slack-token": base64(b"xoxb-of-the-test")}}),
    );
}

/// A policy that reverts the shop of this name in a repository.
fn policy(cluster: &Cluster, name: &str, url: &str) {
    cluster.create(
        &format!("/apis/serin.dev/v1alpha1/namespaces/{SHOP}/selfhealpolicies"),
        &json!({"apiVersion": "serin.dev/v1alpha1", "kind": "SelfHealPolicy", "metadata": {"name": name},
            "spec": {"rolloutSelector": {"matchLabels": {"app": name}}, "mode": "Push",
                "git": {"url": url, "branch": "main"}, "target": {"path": "rollout.yaml", "kind": "Manifest"}}}),
    );
}

/// Prometheus has evaluated the rules often enough for every `for`, and none failed.
async fn settled(prometheus: &Prometheus) {
    Clock::Wall.sleep(Duration::from_secs(5)).await;
    let rules = prometheus.rules().await;
    let all = rules.pointer("/data/groups/0/rules").and_then(Value::as_array).unwrap().clone();
    assert_eq!(all.len(), FIRED.len());
    for rule in all {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_fires_when_its_condition_is_made_true_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let receiver = SlackReceiver::start().unwrap();
    receiver.set_faults(Faults {
        always: BTreeMap::from([("chat.postMessage", Fault::Error("channel_not_found"))]),
        ..Faults::default()
    });
    slack(&cluster, &receiver.url);
    let is_bad = Arc::<AtomicBool>::default();
    let address = backend(is_bad.clone()).await;
    let (metrics, queue) = (Metrics::of_role("test", "stand-in"), Arc::<Mutex<QueueFacts>>::default());
    let third = stand_in(&metrics, &queue).await;
    let ports = Ports::free();
    let mut serin = Serin::start(folder.path(), &cluster, ports);
    serin.ready().await;
    let prometheus = Prometheus::start(
        folder.path(),
        &[("controller", ports.controller), ("gitops", ports.gitops), ("stand-in", third)],
    )
    .await;
    within(Duration::from_secs(60), "both roles lead", async || {
        let leaders = prometheus.value("sum(rollout_leader)").await?;
        if leaders == Some(2.0) { Ok(()) } else { Err(format!("{leaders:?}")) }
    })
    .await;
    quiet_cluster(&cluster, &prometheus, &address, &serin).await;
    bad_version(&cluster, &prometheus, &is_bad).await;
    contested(&cluster, &prometheus).await;
    by_telemetry(&prometheus, &metrics, &queue).await;
    serin.check_pages().await;
    leaders_gone(folder.path(), &cluster, &prometheus, &mut serin).await;
    judge_logs(&serin);
}

/// The shops come up with their first version; then nothing happens, no alert fires and no line is logged.
async fn quiet_cluster(cluster: &Cluster, prometheus: &Prometheus, address: &str, serin: &Serin) {
    let told = json!({"notifications.argoproj.io/subscribe.on-rollout-aborted.slack": "deploys"});
    cluster.shop("contested", address, &json!({}));
    cluster.shop("rejected", address, &told);
    cluster.shop("pending", address, &json!({}));
    // Nobody listens there.
    cluster.shop("blind", &format!("http://127.0.0.1:{}", free_port()), &json!({}));
    policy(cluster, "rejected", "http://git.example/shop.git");
    policy(cluster, "pending", &format!("https://127.0.0.1:{}/shop.git", free_port()));
    for name in ["contested", "rejected", "pending", "blind"] {
        cluster.until(name, "is healthy", |rollout| rollout["status"]["phase"] == "Healthy").await;
    }
    Clock::Wall.sleep(Duration::from_secs(3)).await;
    let said = serin.controller.log();
    settled(prometheus).await;
    assert_eq!(serin.controller.log(), said, "nothing happens, and nothing is said");
    let firing = prometheus.firing().await.unwrap();
    assert!(firing.is_empty(), "nothing is wrong yet: {firing:?}");
}

/// A version that its metrics reject, while the API server does not take the change of traffic.
async fn bad_version(cluster: &Cluster, prometheus: &Prometheus, is_bad: &AtomicBool) {
    for name in ["contested", "rejected", "pending", "blind"] {
        cluster.upgrade(name).await;
        cluster.carries(name, 20).await;
    }
    prometheus.fires("SerinMetricsUnavailable", &[("namespace", SHOP), ("name", "blind")]).await;
    for alert in ["SerinTrafficNotMoved", "SerinApiErrors", "SerinShedSlow", "SerinSelfHealBlocked"] {
        prometheus.is_quiet(alert).await;
    }
    for alert in ["SerinSelfHealStuck", "SerinNotificationsFailing", "SerinRolloutStuck"] {
        prometheus.is_quiet(alert).await;
    }
    cluster.refuse(Some(Refusal {
        method: Method::Patch,
        path: "/virtualservices/rejected",
        status: 500,
        message: "admission webhook \"routes.example\" failed",
    }));
    is_bad.store(true, Ordering::SeqCst);
    prometheus.fires("SerinTrafficNotMoved", &[("namespace", SHOP), ("name", "rejected")]).await;
    prometheus.fires("SerinApiErrors", &[("kind", "virtualservices"), ("verb", "Patch")]).await;
    cluster.refuse(None);
    cluster.carries("rejected", 0).await;
    prometheus.fires("SerinShedSlow", &[("namespace", SHOP), ("name", "rejected")]).await;
    prometheus.ends("SerinTrafficNotMoved").await;
    prometheus.fires("SerinSelfHealBlocked", &[("namespace", SHOP), ("name", "rejected")]).await;
    prometheus.fires("SerinSelfHealStuck", &[("name", "pending"), ("phase", "Pending")]).await;
    prometheus.fires("SerinNotificationsFailing", &[("namespace", SHOP), ("name", "rejected")]).await;
    prometheus.ends("SerinApiErrors").await;
    counted(prometheus).await;
    stuck(cluster, prometheus).await;
}

/// What the story of a bad version leaves on the page beside the alerts.
async fn counted(prometheus: &Prometheus) {
    for query in [
        "rollout_verdict_lag_seconds_count{name=\"rejected\"} > 0",
        "rollout_sample_to_shed_seconds_sum{name=\"rejected\"} > 10",
        "rollout_sample_to_shed_seconds_bucket{name=\"pending\",le=\"1.0\"} == 1",
        "rollout_events_total{name=\"pending\",reason=\"RolloutAborted\"} == 1",
        "rollout_info{name=\"rejected\",phase=\"Abort\"} == 1",
        "analysis_run_metric_phase{name=~\"rejected-.+\",metric=\"errors\",phase=\"Failed\"} == 1",
        "rollout_self_heals{phase=\"Blocked\"} == 1",
        "process_resident_memory_bytes{job=\"controller\"} > 1e6",
    ] {
        within(Duration::from_secs(20), query, async || match prometheus.value(query).await? {
            Some(_) => Ok(()),
            None => Err("an empty answer".to_owned()),
        })
        .await;
    }
}

/// A Rollout that no controller can carry out.
async fn stuck(cluster: &Cluster, prometheus: &Prometheus) {
    cluster.create(
        &format!("/apis/argoproj.io/v1alpha1/namespaces/{SHOP}/rollouts"),
        &json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "stuck"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "stuck"}},
                "strategy": {"canary": {"steps": [{"setWeight": 150}]}},
                "template": {"metadata": {"labels": {"app": "stuck"}}, "spec": {"containers": [
                    {"name": "app", "image": "registry.example/stuck:v1"}]}}}}),
    );
    prometheus.fires("SerinRolloutStuck", &[("name", "stuck"), ("phase", "InvalidSpec")]).await;
}

/// Somebody else lowers the weight each time that serin has raised it.
async fn contested(cluster: &Cluster, prometheus: &Prometheus) {
    prometheus.is_quiet("SerinTrafficContested").await;
    for _ in 0..3 {
        cluster.set_weight("contested", 0);
        cluster.carries("contested", 20).await;
    }
    prometheus.is_quiet("SerinTrafficContested").await;
    cluster.set_weight("contested", 0);
    prometheus.fires("SerinTrafficContested", &[("namespace", SHOP), ("name", "contested")]).await;
}

/// The two conditions that a sound program does not get into.
async fn by_telemetry(prometheus: &Prometheus, metrics: &Metrics, queue: &Mutex<QueueFacts>) {
    prometheus.is_quiet("SerinBehind").await;
    *queue.lock().unwrap() = QueueFacts { depth: 40, oldest: Duration::from_secs(31), running: 10 };
    prometheus.fires("SerinBehind", &[]).await;
    prometheus.is_quiet("SerinInvariantBroken").await;
    metrics.violation("I4");
    prometheus.fires("SerinInvariantBroken", &[("invariant", "I4")]).await;
}

/// The Leases go to somebody else; then the processes go.
async fn leaders_gone(folder: &Path, cluster: &Cluster, prometheus: &Prometheus, serin: &mut Serin) {
    prometheus.is_quiet("SerinNoLeader").await;
    cluster.hold_leases();
    // A leader that lost its Lease ends, and the kubelet starts it again.
    assert_eq!(serin.controller.ended(Duration::from_secs(30)).await, Some(1));
    assert_eq!(serin.gitops.ended(Duration::from_secs(30)).await, Some(1));
    *serin = Serin::start(folder, cluster, serin.ports);
    // Waiting is what a standby has to do.
    serin.ready().await;
    prometheus.fires("SerinNoLeader", &[("role", "controller")]).await;
    prometheus.fires("SerinNoLeader", &[("role", "gitops")]).await;
    prometheus.ends("SerinDown").await;
    assert_eq!(serin.controller.terminate().await, Some(0));
    assert_eq!(serin.gitops.terminate().await, Some(0));
    prometheus.fires("SerinDown", &[("role", "controller")]).await;
    prometheus.fires("SerinGitopsDown", &[("role", "gitops")]).await;
}

/// The logs of both roles: one JSON object a line, each with a message that says what it is about, and no token.
fn judge_logs(serin: &Serin) {
    for (role, process) in [("controller", &serin.controller), ("gitops", &serin.gitops)] {
        let log = process.log();
        assert!(!log.contains("xoxb"), "{role}");
        for line in log.lines() {
            let entry: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{role}: {error}: {line}"));
            let message = entry["message"].as_str().unwrap_or_default();
            let is_about =
                ["`", "serin ", "The ", "All ", "Ready ", "Asked "].iter().any(|part| message.contains(part));
            assert!(is_about, "{role}: {line}");
        }
        println!("alerts: {role} logged {} lines", log.lines().count());
    }
    let log = serin.controller.log();
    for (count, part) in [
        (
            1,
            "Could not yet take traffic from the canary of `shop/rejected`: 20 % was live, 0 % is permitted: metric `errors` is Failed: 0.31, and `result < 0.05` was asked for",
        ),
        (1, "Took traffic from the canary of `shop/rejected`"),
        (1, "`shop/blind`: MetricsUnavailable: "),
        (1, "`shop/contested`: TrafficContested: "),
        (1, "`shop/stuck`: InvalidSpec: "),
        (1, "Lost the Lease `argo-rollouts-controller-lock`"),
        (1, "Standing by: `somebody-else` holds the Lease"),
    ] {
        assert_eq!(log.matches(part).count(), count, "{part}\n{log}");
    }
}
