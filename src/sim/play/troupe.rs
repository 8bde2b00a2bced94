//! Serin's processes on the stage. Each can be killed and comes back as a kubelet would bring it; what it held in memory
//! is gone then.

use std::{path::PathBuf, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::process;
use crate::{
    apply::Limits,
    control::{self, lease::LeaseConfig},
    decide::{analysis::OutageMode, observed::Settings},
    gitops, notify,
    observe::{self, sampler},
    sim::{door::Door, fault::Point},
    telemetry::Metrics,
};

/// The namespace of the controller's own objects.
pub(super) const CONTROLLER_NAMESPACE: &str = "argo-rollouts";

/// The one controller of most stories. Its notifier is a process of its own, so that the store tells their requests
/// apart.
pub(super) const CONTROLLER: &str = "controller";
/// Two controllers with a lease, each with its notifier, as a Deployment of two replicas.
pub(super) const REPLICAS: [&str; 2] = ["controller-1", "controller-2"];
pub(super) const NOTIFIER: &str = "notify";
pub(super) const GITOPS: &str = "gitops";

/// What the processes are told when they start.
#[derive(Clone)]
pub(super) struct Props {
    pub(super) metrics_url: String,
    pub(super) data_plane_delay: Duration,
    /// The serin program: transfers of the Git lane run in children of it.
    pub(super) program: PathBuf,
    pub(super) clones: PathBuf,
}

/// Starts every process of serin: one controller, or two that share a lease.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    door: &Door,
    props: &Props,
    has_standby: bool,
    shutdown: &CancellationToken,
) {
    if has_standby {
        REPLICAS.into_iter().for_each(|actor| controller(tasks, door, props, actor, shutdown));
    } else {
        controller(tasks, door, props, CONTROLLER, shutdown);
        notifier(tasks, door, shutdown);
    }
    gitops_lane(tasks, door, props, shutdown);
}

/// Kills a process: none of its requests arrives any more, and nothing is given back. It is started again a little
/// later.
pub(super) fn kill(door: &Door, actor: &str) {
    let point = Point { actor: actor.to_owned(), verb: "delete", resource: "process".to_owned(), nth: 1 };
    door.with(|world| world.kill(point));
}

fn controller(
    tasks: &mut JoinSet<()>,
    door: &Door,
    props: &Props,
    actor: &'static str,
    shutdown: &CancellationToken,
) {
    let has_lease = actor != CONTROLLER;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let config = control::Config {
        scope: observe::Scope {
            namespace: None,
            instance_id: String::new(),
            istio_version: "v1alpha3".to_owned(),
        },
        settings: Settings { data_plane_delay: props.data_plane_delay, outage: OutageMode::Hold },
        sampler: sampler::Settings { address: Some(props.metrics_url.clone()), seed: 1 },
        limits: Limits { under_way: 10, rate: None },
        resync: Duration::from_secs(900),
        lease: None,
        notify: has_lease.then(|| notify::Config::new(CONTROLLER_NAMESPACE, metrics.clone())),
        page: control::Page::new(metrics),
        health: None,
    };
    let (clock, stop) = (door.clock(), shutdown.clone());
    tasks.spawn(process::keep(door.clone(), actor, shutdown.clone(), move |client| {
        // Each start is another candidate.
        let identity = control::lease::identity(actor);
        let lease = has_lease.then(|| LeaseConfig::controller(CONTROLLER_NAMESPACE, "", identity));
        let run = control::run(client, clock, control::Config { lease, ..config.clone() }, stop.clone());
        async move {
            if let Err(error) = run.await {
                tracing::error!(%error, "the controller ended");
            }
        }
    }));
}

fn gitops_lane(tasks: &mut JoinSet<()>, door: &Door, props: &Props, shutdown: &CancellationToken) {
    let transfer = gitops::transfer::Transfer::by(props.program.clone());
    let mut config = gitops::Config::new(props.clones.clone(), transfer);
    config.allow_file_remotes = true;
    let (clock, stop) = (door.clock(), shutdown.clone());
    tasks.spawn(process::keep(door.clone(), GITOPS, shutdown.clone(), move |client| {
        let run = gitops::run(client, clock, config.clone(), stop.clone());
        async move {
            if let Err(error) = run.await {
                tracing::error!(%error, "the Git lane ended");
            }
        }
    }));
}

fn notifier(tasks: &mut JoinSet<()>, door: &Door, shutdown: &CancellationToken) {
    let config = notify::Config::new(CONTROLLER_NAMESPACE, Metrics::new(env!("CARGO_PKG_VERSION")));
    let (clock, stop) = (door.clock(), shutdown.clone());
    tasks.spawn(process::keep(door.clone(), NOTIFIER, shutdown.clone(), move |client| {
        notify::run(client, clock, config.clone(), stop.clone())
    }));
}
