//! What the long-running verbs share: which cluster, who leads, what is listened on, when to stop.

use std::{path::PathBuf, time::Duration};

use jiff::SignedDuration;
use kube::{
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{analysis::duration, http::WATCH_SECONDS},
    clock::Clock,
    control::{self, Page, lease::LeaseConfig},
    gitops,
    telemetry::{
        Health, Metrics,
        logging::{self, LogError, Options},
        requests::Counting,
        server,
        traces::{self, Collector, Export, TraceError},
    },
};

/// Which cluster.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Cluster {
    /// A kubeconfig file. Without it: the service account of the pod, or the user's own kubeconfig.
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long)]
    pub(super) context: Option<String>,
    /// The namespace, instead of the context's.
    #[arg(long, short)]
    pub(super) namespace: Option<String>,
}

/// Who leads.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Election {
    /// Lead only while holding the Lease that the reference controller uses too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) leader_elect: bool,
    #[arg(long, default_value = "15s", value_parser = go_duration)]
    pub(super) leader_election_lease_duration: Duration,
    #[arg(long, default_value = "10s", value_parser = go_duration)]
    pub(super) leader_election_renew_deadline: Duration,
    #[arg(long, default_value = "2s", value_parser = go_duration)]
    pub(super) leader_election_retry_period: Duration,
}

/// What people and machines read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Ports {
    /// Port of /metrics.
    #[arg(long = "metricsPort", alias = "metricsport", default_value_t = 8090)]
    pub(super) metrics_port: u16,
    /// Port of /healthz and /readyz.
    #[arg(long = "healthzPort", alias = "healthzport", default_value_t = 8080)]
    pub(super) healthz_port: u16,
    /// error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    pub(super) loglevel: String,
    /// text or json.
    #[arg(long, default_value = "text")]
    pub(super) logformat: String,
    /// Directives for the log by module, for instance serin=debug,kube=info. They take the place of --loglevel.
    #[arg(long, env = "RUST_LOG", default_value = "", hide = true)]
    pub(super) log_directives: String,
    /// Where to send traces by OTLP (HTTP, protobuf), for instance http://collector:4318. Nowhere without it.
    #[arg(long)]
    pub(super) otlp_endpoint: Option<String>,
}

/// Runs a verb to its end. Its traces are sent meanwhile, and what is left of them for a moment longer.
///
/// The verb runs among its tasks: from another thread each step from a metric's answer to a shed would wake one.
pub(super) fn to_end(
    export: Option<Export>,
    serve: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let wait = async |time| Clock::Wall.sleep(time).await;
        let sending = export.map(|export| tokio::spawn(export.run(wait, stop.clone())));
        let ended = match tokio::spawn(serve).await {
            Ok(ended) => ended,
            Err(error) => Err(Error::Ended(error)),
        };
        stop.cancel();
        if let Some(sending) = sending {
            // What it could not send is lost with the process.
            let _ = sending.await;
        }
        ended
    })
}

/// Why a verb could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Traces(#[from] TraceError),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error("cannot reach the cluster: {0}")]
    Cluster(String),
    #[error("--leader-election-renew-deadline must be shorter than --leader-election-lease-duration")]
    Election,
    #[error("cannot listen on port {0}: {1}")]
    Listen(u16, std::io::Error),
    #[error(transparent)]
    Control(#[from] control::Error),
    #[error(transparent)]
    Gitops(#[from] gitops::Error),
    #[error("ended by itself: {0}")]
    Ended(tokio::task::JoinError),
    #[error("the leadership was lost")]
    LeadershipLost,
}

impl Cluster {
    /// A client that counts its requests, and the namespace that it is at home in.
    pub(super) async fn client(&self, metrics: &Metrics) -> Result<(kube::Client, String), Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Cluster(error.to_string());
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let file = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| failed(&error))?
            }
            (None, Some(_)) => {
                kube::Config::from_kubeconfig(&options).await.map_err(|error| failed(&error))?
            }
            (None, None) => kube::Config::infer().await.map_err(|error| failed(&error))?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        bound(&mut config);
        let client = ClientBuilder::try_from(config).map_err(|error| failed(&error))?;
        let counting = Counting::new(metrics.clone(), || Clock::Wall.steady());
        Ok((client.with_layer(&counting).build(), namespace))
    }
}

/// Says why a role ends by itself: in the log, or on stderr where it has not come to a log.
pub(super) fn fail(role: &str, error: &Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("serin {role} ends: {error}");
    } else {
        eprintln!("serin {role}: {error}");
    }
}

/// How long a connection to the API server may take to come up: less than a Lease's request.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest silence on a connection that something is expected on: a watch ends by itself before.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// Nothing waits without an end, and nothing is sent again behind our back: a shed has a pace of its own, and so have the others.
fn bound(config: &mut kube::Config) {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config.default_retry = false;
}

async fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind(("0.0.0.0", port)).await.map_err(|error| Error::Listen(port, error))
}

/// Waits for SIGTERM or SIGINT.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        // Without a handler SIGTERM ends the process as it always has.
        Err(_) => drop(interrupted.await),
    }
}

/// A Go duration that is not negative.
pub(super) fn go_duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text)?;
    if duration < SignedDuration::ZERO {
        return Err("must not be negative".to_owned());
    }
    Ok(duration.unsigned_abs())
}

impl Election {
    /// The Lease to lead by, with this election's times; `None` when nobody is asked.
    pub(super) fn lease(&self, named: LeaseConfig) -> Result<Option<LeaseConfig>, Error> {
        if !self.leader_elect {
            return Ok(None);
        }
        if self.leader_election_renew_deadline >= self.leader_election_lease_duration {
            return Err(Error::Election);
        }
        Ok(Some(LeaseConfig {
            duration: self.leader_election_lease_duration,
            renew_deadline: self.leader_election_renew_deadline,
            retry_period: self.leader_election_retry_period,
            ..named
        }))
    }
}

impl Ports {
    /// Answers scrapes with `page` and probes with `health`, and cancels `shutdown` when the process is asked to stop,
    /// after saying what happens then. All of it lives as long as what is returned.
    pub(super) async fn open(
        &self,
        page: Page,
        health: Health,
        shutdown: &CancellationToken,
        then: &'static str,
    ) -> Result<JoinSet<()>, Error> {
        let (metrics, probes) = (listen(self.metrics_port).await?, listen(self.healthz_port).await?);
        let mut tasks = JoinSet::new();
        let scrapes = server::serve_metrics(metrics, move || page.render(), shutdown.child_token());
        tasks.spawn(async move { drop(scrapes.await) });
        let probes = server::serve_health(probes, health, shutdown.child_token());
        tasks.spawn(async move { drop(probes.await) });
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            asked_to_stop().await;
            tracing::info!("Asked to stop: {then}");
            shutdown.cancel();
        });
        Ok(tasks)
    }

    /// Starts the log as asked for, and says who is here. Answers with what sends traces, where they are wanted.
    pub(super) fn start_log(
        &self,
        role: &'static str,
        instance: &str,
        metrics: &Metrics,
    ) -> Result<Option<Export>, Error> {
        let version = env!("CARGO_PKG_VERSION");
        let traces = self.otlp_endpoint.as_ref().map(|endpoint| {
            let collector =
                Collector { endpoint: endpoint.clone(), role, version, instance: instance.to_owned() };
            traces::to(&collector, metrics.clone())
        });
        let (spans, export) = traces.transpose()?.unzip();
        let options = Options {
            format: self.logformat.parse()?,
            level: self.loglevel.clone(),
            directives: self.log_directives.clone(),
        };
        logging::init(&options, spans)?;
        tracing::info!(serin.version = version, serin.role = role, "serin {role} {version} starts");
        Ok(export)
    }
}
