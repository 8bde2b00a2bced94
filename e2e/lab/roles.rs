//! serin itself, as `deploy/` runs it: processes for each role, with tokens of the role's own ServiceAccount.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{
    Fallible, metrics,
    process::Process,
    stack::{Account, SYSTEM, Stack},
    wait,
};

/// The ServiceAccounts of `deploy/`.
pub(crate) const CONTROLLER: &str = "serin-controller";
pub(crate) const GITOPS: &str = "serin-gitops";
/// The mesh of the lab serves a change within a watch event; a second is ten times what a debounce adds.
pub(crate) const TRAFFIC_DELAY: Duration = Duration::from_secs(1);

const START: Duration = Duration::from_secs(30);
/// A third of what the kubelet grants by default.
const STOP: Duration = Duration::from_secs(10);
/// The reference controller's, so that the two never act both. The Git role's Lease has the role's own name.
const CONTROLLER_LEASE: &str = "argo-rollouts-controller-lock";

/// How serin is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Processes of the controller; one of them leads.
    pub(crate) replicas: u16,
    /// The flag `--traffic-delay`.
    pub(crate) traffic_delay: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { replicas: 1, traffic_delay: TRAFFIC_DELAY }
    }
}

/// The roles' processes. They end with this value.
pub(crate) struct Serin {
    pub(crate) setup: Setup,
    processes: Vec<Role>,
}

/// One process of a role; its start can be repeated, as a kubelet does with a container.
struct Role {
    /// The account's name, with a number where an account has several.
    name: String,
    arguments: Vec<String>,
    program: PathBuf,
    folder: PathBuf,
    health: String,
    /// Identity of its token.
    credential: String,
    /// None after it was killed.
    process: Option<Process>,
}

impl Serin {
    /// Starts both roles and waits until all processes answer their probes.
    ///
    /// # Errors
    /// With the end of the log of the process that did not come up.
    pub(crate) async fn start(stack: &Stack, setup: Setup) -> Fallible<Self> {
        let mut processes = vec![];
        for number in 0..setup.replicas {
            let name =
                if number == 0 { CONTROLLER.to_owned() } else { format!("{CONTROLLER}-{}", number + 1) };
            let account = stack.account(CONTROLLER, &name).await?;
            // The usual 8080 is every pod's port in this namespace, and serin listens on all addresses.
            let ports = [18080 + 10 * number, 18082 + 10 * number];
            let arguments = controller(&account, setup.traffic_delay);
            processes.push(Role::new(stack, name, arguments, ports, account));
        }
        let account = stack.account(GITOPS, GITOPS).await?;
        processes.push(Role::new(stack, GITOPS.into(), gitops(&account), [18081, 18083], account));
        let mut serin = Self { setup, processes };
        serin.restart().await?;
        Ok(serin)
    }

    /// Fails when a process has ended that nobody killed.
    ///
    /// # Errors
    /// With the end of its log.
    pub(crate) fn alive(&mut self) -> Fallible {
        self.processes.iter_mut().filter_map(|role| role.process.as_mut()).try_for_each(Process::alive)
    }

    /// The names of the controller's processes.
    pub(crate) fn controllers(&self) -> Vec<String> {
        self.processes.iter().map(|role| role.name.clone()).filter(|name| name != GITOPS).collect()
    }

    /// The name of the process that a token was made for.
    pub(crate) fn name_of(&self, credential: &str) -> Option<&str> {
        let role = self.processes.iter().find(|role| role.credential == credential);
        role.map(|role| role.name.as_str())
    }

    /// Kills (SIGKILL, by its id) the process of that name.
    ///
    /// # Errors
    /// When it is not running.
    pub(crate) async fn kill(&mut self, name: &str) -> Fallible {
        let role = self.processes.iter_mut().find(|role| role.name == name);
        let process = role.and_then(|role| role.process.take());
        Ok(process.ok_or_else(|| format!("{name} is not running"))?.kill().await?)
    }

    /// Kills all of them, as the end of a node would. Answers with their names.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn kill_all(&mut self) -> Fallible<Vec<String>> {
        let mut killed = vec![];
        for role in &mut self.processes {
            if let Some(mut process) = role.process.take() {
                process.kill().await?;
                killed.push(role.name.clone());
            }
        }
        Ok(killed)
    }

    /// Starts what is not running, and waits until it answers its probe.
    ///
    /// # Errors
    /// With the end of the log of the process that did not come up.
    pub(crate) async fn restart(&mut self) -> Fallible {
        for role in self.processes.iter_mut().filter(|role| role.process.is_none()) {
            role.start().await?;
        }
        Ok(())
    }

    /// The name of the controller's process that leads.
    ///
    /// # Errors
    /// When none does.
    pub(crate) async fn leader(&self, stack: &Stack) -> Fallible<String> {
        let lease = stack.object(SYSTEM, "coordination.k8s.io/v1", "Lease", CONTROLLER_LEASE).await?;
        let holder = lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
        let name = holder.rsplit_once('_').map(|(name, _)| name).unwrap_or_default();
        let known = self.controllers().into_iter().find(|one| one == name);
        Ok(known.ok_or_else(|| format!("the Lease is held by {holder:?}"))?)
    }

    /// Ends all processes as the kubelet does: each ends by itself with status 0, and gives its Lease back.
    ///
    /// # Errors
    /// When one does not.
    pub(crate) async fn stop(mut self, stack: &Stack) -> Fallible {
        for process in self.processes.iter_mut().filter_map(|role| role.process.as_mut()) {
            process.terminate(STOP).await?;
        }
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

impl Role {
    fn new(
        stack: &Stack,
        name: String,
        mut arguments: Vec<String>,
        [health, metrics]: [u16; 2],
        account: Account,
    ) -> Self {
        arguments.extend([format!("--metricsPort={metrics}"), format!("--healthzPort={health}")]);
        Self {
            name,
            arguments,
            program: stack.settings.serin.clone(),
            folder: stack.folder.clone(),
            health: format!("http://127.0.0.1:{health}/healthz"),
            credential: account.credential,
            process: None,
        }
    }

    async fn start(&mut self) -> Fallible {
        let variables = [
            ("POD_NAMESPACE", SYSTEM.to_owned()),
            // A pod's name is its host name.
            ("HOSTNAME", self.name.clone()),
            ("RUST_LOG", "serin=debug,info".to_owned()),
        ];
        let mut process =
            Process::start_with(&self.folder, &self.name, &self.program, &self.arguments, &variables)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        wait::while_alive(
            &format!("{} to be up", self.name),
            START,
            || process.alive(),
            async || Ok(client.get(&self.health).send().await?.error_for_status().map(|_| ())?),
        )
        .await?;
        self.process = Some(process);
        Ok(())
    }
}

/// Flags of the controller, but for its ports.
fn controller(account: &Account, delay: Duration) -> Vec<String> {
    vec![
        "controller".into(),
        format!("--kubeconfig={}", account.kubeconfig.display()),
        format!("--prometheus-address={}", metrics::ADDRESS),
        format!("--traffic-delay={}s", delay.as_secs()),
    ]
}

/// Flags of the Git role, but for its ports.
fn gitops(account: &Account) -> Vec<String> {
    vec![
        "gitops".into(),
        format!("--kubeconfig={}", account.kubeconfig.display()),
        // The Git server of these journeys asks for no credentials; a cluster's does.
        "--allow-file-remotes".into(),
    ]
}
