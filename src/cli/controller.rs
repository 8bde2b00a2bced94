//! `serin controller`: the flags of the reference controller, and serin's own.

use std::{process::ExitCode, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    ignored::Ignored,
    process::{self, Cluster, Election, Error, Ports, go_duration},
};
use crate::{
    apply::{Limits, Rate},
    clock::{self, Clock},
    control::{
        self, Page,
        lease::{self, LeaseConfig},
    },
    decide::{analysis::OutageMode, observed::Settings},
    notify,
    observe::{Scope, sampler},
    telemetry::{Health, Metrics},
};

/// Runs the controller of Rollouts and AnalysisRuns.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Watch the controller's own namespace only. ClusterAnalysisTemplates are then not used.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    namespaced: bool,
    /// Watch only objects with this value of the label argo-rollouts.argoproj.io/controller-instance-id; empty: only
    /// objects without the label.
    #[arg(long, default_value = "")]
    instance_id: String,
    /// Version of the API group networking.istio.io.
    #[arg(long, default_value = "v1alpha3")]
    istio_api_version: String,
    /// How long after a change of weights the data plane may still serve the old ones.
    #[arg(long, default_value = "10s", value_parser = go_duration)]
    traffic_delay: Duration,
    /// What to do while a metrics backend does not answer: hold (nothing is decided) or reference (each unanswered
    /// query is an error, as in the reference controller).
    #[arg(long, default_value = "hold", value_parser = outage)]
    outage: OutageMode,
    /// Prometheus for metrics that name no address.
    #[arg(long, env = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS")]
    prometheus_address: Option<String>,
    /// Requests to the API server under way at a time. What takes traffic away is not counted and does not wait.
    #[arg(long, default_value_t = 10)]
    rollout_threads: usize,
    /// Requests a second to the API server, in the long run; 0: no limit. What takes traffic away is not counted and does not wait.
    #[arg(long, default_value_t = 40.0)]
    qps: f64,
    /// Requests to the API server at once after a quiet time.
    #[arg(long, default_value_t = 80)]
    burst: u32,
    /// Seconds after which everything is looked at without a reason.
    #[arg(long, default_value_t = 900)]
    rollout_resync: u64,
    /// Where this process runs; Lease and notification settings are there.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
    /// This process's name among the replicas.
    #[arg(long, env = "HOSTNAME", default_value = "serin", hide = true)]
    hostname: String,
    #[command(flatten)]
    election: Election,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    ignored: Ignored,
}

/// Runs the verb until SIGTERM or SIGINT. The exit status is 1 when the leadership was lost or the start failed.
pub fn run(args: &Args) -> ExitCode {
    match start(args) {
        Ok(()) => {
            tracing::info!("serin controller has ended as it was asked to");
            ExitCode::SUCCESS
        }
        Err(error) => {
            process::fail("controller", &error);
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Error> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let export = args.ports.start_log("controller", &args.hostname, &metrics)?;
    args.ignored.warn();
    process::to_end(export, serve(args.clone(), metrics))
}

async fn serve(args: Args, metrics: Metrics) -> Result<(), Error> {
    let (client, default_namespace) = args.cluster.client(&metrics).await?;
    let own = args.pod_namespace.clone().unwrap_or(default_namespace);
    let page = Page::new(metrics);
    let started = clock::instant();
    let health = Health::new(move || started.elapsed());
    let shutdown = CancellationToken::new();
    let then = "running passes end, then the Lease is given back";
    let _servers = args.ports.open(page.clone(), health.clone(), &shutdown, then).await?;
    let config = args.config(&own, page, health)?;
    control::run(client, Clock::Wall, config, shutdown).await?;
    Ok(())
}

impl Args {
    fn config(&self, own: &str, page: Page, health: Health) -> Result<control::Config, Error> {
        let namespace =
            self.namespaced.then(|| self.cluster.namespace.clone().unwrap_or_else(|| own.to_owned()));
        let notify = notify::Config {
            namespace: namespace.clone(),
            instance_id: self.instance_id.clone(),
            ..notify::Config::new(own, page.metrics().clone())
        };
        Ok(control::Config {
            scope: Scope {
                namespace,
                instance_id: self.instance_id.clone(),
                istio_version: self.istio_api_version.clone(),
            },
            settings: Settings { data_plane_delay: self.traffic_delay, outage: self.outage },
            sampler: sampler::Settings {
                address: self.prometheus_address.clone().filter(|address| !address.is_empty()),
                seed: u64::from(std::process::id()),
            },
            limits: Limits { under_way: self.rollout_threads, rate: Rate::new(self.qps, self.burst) },
            resync: Duration::from_secs(self.rollout_resync.max(1)),
            lease: self.election.lease(LeaseConfig::controller(
                own,
                &self.instance_id,
                lease::identity(&self.hostname),
            ))?,
            notify: Some(notify),
            page,
            health: Some(health),
        })
    }
}

fn outage(text: &str) -> Result<OutageMode, String> {
    match text {
        "hold" => Ok(OutageMode::Hold),
        "reference" => Ok(OutageMode::Reference),
        _ => Err("hold or reference".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn read(line: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from(["serin"].iter().chain(line)).map(|line| line.args)
    }

    fn config(line: &[&str]) -> control::Config {
        let health = Health::new(Duration::default);
        read(line).unwrap().config("argo-rollouts", Page::new(Metrics::new("test")), health).unwrap()
    }

    #[test]
    fn no_flags_are_the_reference_controllers_defaults() {
        let config = config(&[]);
        assert_eq!(config.scope.namespace, None);
        assert_eq!(config.scope.istio_version, "v1alpha3");
        let lease = config.lease.unwrap();
        assert_eq!(
            (lease.name.as_str(), lease.namespace.as_str()),
            ("argo-rollouts-controller-lock", "argo-rollouts")
        );
        assert_eq!(lease.duration.as_secs(), 15);
        assert_eq!(config.settings.data_plane_delay.as_secs(), 10);
        assert_eq!(config.resync.as_secs(), 900);
        assert_eq!(config.limits, Limits { under_way: 10, rate: Rate::new(40.0, 80) });
    }

    #[test]
    fn a_deployment_of_the_reference_controller_starts_unchanged() {
        let config = config(&[
            "--namespaced",
            "--leader-elect=false",
            "--metricsport=9090",
            "--loglevel",
            "debug",
            "--instance-id=blue",
            "--alb-ingress-classes",
            "alb",
            "--alb-verify-weight",
            "--aws-verify-target-group=true",
            "--qps",
            "40",
            "--klog-level=2",
            "--analysis-threads=30",
        ]);
        assert_eq!(config.scope.namespace.as_deref(), Some("argo-rollouts"));
        assert_eq!(config.scope.instance_id, "blue");
        assert!(config.lease.is_none());
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for flag in ["--traffic-delay=ten", "--traffic-delay=-1s", "--outage=ignore", "--no-such-flag=1"] {
            let error = read(&[flag]).unwrap_err().to_string();
            let name = flag.split('=').next().unwrap();
            assert!(error.contains(name), "{error}");
        }
        let args = read(&["--leader-election-renew-deadline=20s"]).unwrap();
        let lease = args.election.lease(LeaseConfig::controller("x", "", String::new()));
        assert!(matches!(lease, Err(Error::Election)));
    }
}
