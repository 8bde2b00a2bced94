//! `serin gitops`: the Git lane as a process of its own, the only one that holds Git's credentials.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use tokio_util::sync::CancellationToken;

use super::process::{self, Cluster, Election, Error, Ports, go_duration};
use crate::{
    clock::{self, Clock},
    control::{
        Page,
        lease::{self, LeaseConfig, lead},
    },
    gitops,
    telemetry::{Health, Metrics},
};

/// Runs the Git lane: restores in Git what the controller took back in the cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Serve the process's own namespace only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    namespaced: bool,
    /// Folder for the bare clones. Its content may be lost at any time.
    #[arg(long, default_value = "/tmp/serin-clones")]
    clones: PathBuf,
    /// Allow `file://` remotes, which know no credentials. For demos and tests.
    #[arg(long)]
    allow_file_remotes: bool,
    /// A failure that is older when it is first seen is left to people.
    #[arg(long, default_value = "24h", value_parser = go_duration)]
    max_age: Duration,
    /// How soon a Rollout is looked at again that is waited for.
    #[arg(long, default_value = "5s", value_parser = go_duration)]
    poll: Duration,
    /// Limit of one fetch or push.
    #[arg(long, default_value = "1m", value_parser = go_duration)]
    transfer_timeout: Duration,
    /// The most bytes that one fetch may receive. The clones together take up to four times as much.
    #[arg(long, default_value_t = gitops::transfer::MAX_FETCH_BYTES)]
    max_fetch_bytes: u64,
    /// The system's certificate authorities, where they are not where OpenSSL looks.
    #[arg(long, env = "SSL_CERT_FILE", hide = true)]
    ssl_cert_file: Option<PathBuf>,
    /// The same as a folder.
    #[arg(long, env = "SSL_CERT_DIR", hide = true)]
    ssl_cert_dir: Option<PathBuf>,
    /// Where this process runs; its Lease is there.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
    /// This process's name among the replicas.
    #[arg(long, env = "HOSTNAME", default_value = "serin-gitops", hide = true)]
    hostname: String,
    #[command(flatten)]
    election: Election,
    #[command(flatten)]
    ports: Ports,
}

/// Runs the verb until SIGTERM or SIGINT. The exit status is 1 when the leadership was lost or the start failed.
pub fn run(args: &Args) -> ExitCode {
    match start(args) {
        Ok(()) => {
            tracing::info!("serin gitops has ended as it was asked to");
            ExitCode::SUCCESS
        }
        Err(error) => {
            process::fail("gitops", &error);
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Error> {
    let metrics = Metrics::of_role(env!("CARGO_PKG_VERSION"), "gitops");
    let export = args.ports.start_log("gitops", &args.hostname, &metrics)?;
    process::to_end(export, serve(args.clone(), metrics))
}

async fn serve(args: Args, metrics: Metrics) -> Result<(), Error> {
    let (client, default_namespace) = args.cluster.client(&metrics).await?;
    let own = args.pod_namespace.clone().unwrap_or(default_namespace);
    let page = Page::new(metrics.clone());
    let started = clock::instant();
    let health = Health::new(move || started.elapsed());
    let shutdown = CancellationToken::new();
    let then = "transfers are ended and the Lease is given back";
    let _servers = args.ports.open(page, health.clone(), &shutdown, then).await?;
    let config = gitops::Config { metrics, health: Some(health), ..args.config(&own)? };
    let lease = args.election.lease(LeaseConfig::gitops(&own, "", lease::identity(&args.hostname)))?;
    let Some(lease) = lease else {
        config.metrics.leading("none", true);
        return Ok(gitops::run(client, Clock::Wall, config, shutdown).await?);
    };
    led(client, config, lease, shutdown).await
}

/// Runs the lane while leading; what it was doing when the leadership ends is found out again by the next one.
async fn led(
    client: kube::Client,
    config: gitops::Config,
    lease: LeaseConfig,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let release = CancellationToken::new();
    let _guard = release.clone().drop_guard();
    let (metrics, name) = (config.metrics.clone(), lease.name.clone());
    metrics.leading(&name, false);
    let mut leadership = lead(client.clone(), Clock::Wall, lease, release.clone());
    let _gate = config.health.as_ref().map(|health| health.gate("lease", leadership.unheard()));
    let is_leader = tokio::select! {
        is_leader = leadership.acquired() => is_leader,
        () = shutdown.cancelled() => false,
    };
    metrics.leading(&name, is_leader);
    let ended = if is_leader {
        tokio::select! {
            ended = gitops::run(client, Clock::Wall, config, shutdown.clone()) => ended.map_err(Error::from),
            _ = leadership.ended() => Err(Error::LeadershipLost),
        }
    } else if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::LeadershipLost)
    };
    metrics.leading(&name, false);
    release.cancel();
    leadership.finished().await;
    ended
}

impl Args {
    fn config(&self, own: &str) -> Result<gitops::Config, Error> {
        let program = std::env::current_exe().map_err(Error::Runtime)?;
        let mut transfer = gitops::transfer::Transfer::by(program);
        transfer.limit = self.transfer_timeout;
        transfer.most_bytes = self.max_fetch_bytes;
        let authorities = [("SSL_CERT_FILE", &self.ssl_cert_file), ("SSL_CERT_DIR", &self.ssl_cert_dir)];
        for (name, place) in authorities {
            if let Some(place) = place {
                transfer.environment.insert(name.into(), place.display().to_string());
            }
        }
        let mut config = gitops::Config::new(self.clones.clone(), transfer);
        config.allow_file_remotes = self.allow_file_remotes;
        config.namespace = self.namespaced.then(|| own.to_owned());
        config.max_age = self.max_age;
        config.poll = self.poll;
        config.seed = u64::from(std::process::id());
        Ok(config)
    }
}
