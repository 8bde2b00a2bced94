//! serin itself, as `deploy/` runs it: one process for each role, each with the token of its own ServiceAccount.

use std::{path::Path, time::Duration};

use serde_json::Value;

use crate::{
    Fallible, metrics,
    process::Process,
    stack::{SYSTEM, Stack},
    wait,
};

/// The ServiceAccounts of `deploy/`.
pub(crate) const CONTROLLER: &str = "serin-controller";
pub(crate) const GITOPS: &str = "serin-gitops";
/// The mesh of the lab serves a change within a watch event; a second is ten times what a debounce adds.
pub(crate) const TRAFFIC_DELAY: Duration = Duration::from_secs(1);

const START: Duration = Duration::from_secs(20);
/// A third of what the kubelet grants by default.
const STOP: Duration = Duration::from_secs(10);
/// The reference controller's, so that the two never act both. The Git role's Lease has the role's own name.
const CONTROLLER_LEASE: &str = "argo-rollouts-controller-lock";

/// The running roles. They end with this value.
pub(crate) struct Serin {
    controller: Process,
    gitops: Process,
}

impl Serin {
    /// Starts both roles and waits until both answer their probe.
    ///
    /// # Errors
    /// With the end of the log of the role that did not come up.
    pub(crate) async fn start(stack: &Stack) -> Fallible<Self> {
        let controller = start(stack, CONTROLLER, &controller(&stack.account(CONTROLLER).await?)).await?;
        let gitops = start(stack, GITOPS, &gitops(&stack.account(GITOPS).await?)).await?;
        Ok(Self { controller, gitops })
    }

    /// Fails when a role has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.controller.alive()?;
        self.gitops.alive()
    }

    /// Ends both roles at once, as a crash of the node would.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn kill(mut self) -> Fallible {
        self.controller.kill().await?;
        Ok(self.gitops.kill().await?)
    }

    /// Ends both roles as the kubelet does: each ends by itself with status 0, and gives its Lease back.
    ///
    /// # Errors
    /// When one does not.
    pub(crate) async fn stop(mut self, stack: &Stack) -> Fallible {
        self.controller.terminate(STOP).await?;
        self.gitops.terminate(STOP).await?;
        for lease in [CONTROLLER_LEASE, GITOPS] {
            let held = stack.object(SYSTEM, "coordination.k8s.io/v1", "Lease", lease).await?;
            let holder = held.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
            if !holder.is_empty() {
                return Err(format!("{lease} is still held by {holder} although serin has ended").into());
            }
        }
        Ok(())
    }
}

/// Flags of the controller, all in this place.
fn controller(kubeconfig: &Path) -> Vec<String> {
    let delay = TRAFFIC_DELAY.as_secs();
    vec![
        "controller".into(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--prometheus-address={}", metrics::ADDRESS),
        format!("--traffic-delay={delay}s"),
        "--metricsPort=18090".into(),
        // The usual 8080 is every pod's port in this namespace, and serin listens on all addresses.
        "--healthzPort=18080".into(),
    ]
}

/// Flags of the Git role.
fn gitops(kubeconfig: &Path) -> Vec<String> {
    vec![
        "gitops".into(),
        format!("--kubeconfig={}", kubeconfig.display()),
        // The repositories of these journeys are folders; a cluster's never are.
        "--allow-file-remotes".into(),
        "--metricsPort=18091".into(),
        "--healthzPort=18081".into(),
    ]
}

async fn start(stack: &Stack, name: &str, arguments: &[String]) -> Fallible<Process> {
    let variables = [("POD_NAMESPACE", SYSTEM.to_owned()), ("RUST_LOG", "serin=debug,info".to_owned())];
    let program = &stack.settings.serin;
    let mut process = Process::start_with(&stack.folder, name, program, arguments, &variables)?;
    let port = arguments.iter().find_map(|word| word.strip_prefix("--healthzPort=")).unwrap_or("18080");
    let probe = format!("http://127.0.0.1:{port}/healthz");
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    wait::while_alive(
        &format!("{name} to be up"),
        START,
        || process.alive(),
        async || Ok(client.get(&probe).send().await?.error_for_status().map(|_| ())?),
    )
    .await?;
    Ok(process)
}
