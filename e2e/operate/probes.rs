//! What the real program answers to its probes while something that it needs is not there, and how it ends.

use std::{path::Path, time::Duration};

use serin::api::http::Method;

use crate::{
    cluster::{CONTROLLER_LEASE, Cluster, Refusal},
    process::Process,
    prometheus::{free_port, within},
};

struct Probed {
    process: Process,
    health: u16,
}

impl Probed {
    fn start(folder: &Path, cluster: &Cluster) -> Self {
        let health = free_port();
        let arguments = [
            "controller".to_owned(),
            format!("--kubeconfig={}", cluster.kubeconfig.display()),
            format!("--metricsPort={}", free_port()),
            format!("--healthzPort={health}"),
        ];
        let process = Process::start(folder, "controller", env!("CARGO_BIN_EXE_serin"), &arguments);
        Self { process, health }
    }

    /// Waits until a probe answers like this.
    async fn answers(&self, probe: &str, status: u16, part: &str) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        within(Duration::from_secs(30), &format!("{probe} is {status} {part}"), async || {
            let asked = client.get(format!("http://127.0.0.1:{}{probe}", self.health)).send().await;
            let answer = asked.map_err(|error| error.to_string())?;
            let have = answer.status().as_u16();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if have == status && text.contains(part) { Ok(()) } else { Err(format!("{have}: {text}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_what_is_missing_and_liveness_does_not_mind() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let forbidden = "services is forbidden: User \"serin\" cannot list resource \"services\"";
    cluster.refuse(Some(Refusal {
        method: Method::Get,
        path: "/leases/argo-rollouts-controller-lock",
        status: 500,
        message: "etcd is away",
    }));
    let mut serin = Probed::start(folder.path(), &cluster);
    serin
        .answers("/readyz", 503, "lease: the Lease `argo-rollouts-controller-lock` could not be read yet")
        .await;
    serin.answers("/readyz", 503, "etcd is away").await;
    serin.answers("/healthz", 200, "ok").await;
    cluster.refuse(Some(Refusal { method: Method::Get, path: "/services", status: 403, message: forbidden }));
    serin.answers("/readyz", 503, "stores: Service cannot be listed").await;
    serin.answers("/readyz", 503, forbidden).await;
    serin.answers("/healthz", 200, "ok").await;
    cluster.refuse(None);
    serin.answers("/readyz", 200, "ok").await;
    assert_ne!(cluster.holder(CONTROLLER_LEASE), "");
    assert_eq!(serin.process.terminate().await, Some(0), "{}", serin.process.log());
    assert_eq!(cluster.holder(CONTROLLER_LEASE), "", "the Lease was given back");
    let log = serin.process.log();
    for part in [
        "Could not hold the Lease",
        "The watch of Service failed",
        "The watch of Service works again",
        "Gave the Lease",
    ] {
        assert_eq!(log.matches(part).count(), 1, "{part}\n{log}");
    }
}
