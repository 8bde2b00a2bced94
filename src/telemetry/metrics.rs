//! The numbers on `/metrics`: the reference's names as far as they can be filled honestly, and ours.
//!
//! Events are counted through the methods of [`Metrics`]; state (which rollouts there are, in which phase) is asked
//! for at each scrape, so it cannot go stale. No global state: whoever counts holds a handle.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::histogram::Histogram,
    registry::Registry,
};

use super::series::{Family, Series};

/// One Rollout as the scrape shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutFacts {
    pub namespace: String,
    pub name: String,
    /// `canary`, `blueGreen` or `none`.
    pub strategy: &'static str,
    /// `Istio` or empty.
    pub traffic_router: &'static str,
    /// From the Progressing condition's reason: `Completed`, `Paused`, `Error`, `Timeout`, `Abort`, `Progressing`,
    /// `InvalidSpec`. Not `status.phase`.
    pub phase: &'static str,
    pub desired: i64,
    pub available: i64,
    pub unavailable: i64,
    pub updated: i64,
    /// True while another writer and serin disagree about the weight.
    pub is_contested: bool,
}

/// One AnalysisRun as the scrape shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    pub namespace: String,
    pub name: String,
    pub phase: String,
}

/// What the stores hold at the moment of a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub rollouts: Vec<RolloutFacts>,
    pub runs: Vec<RunFacts>,
    /// Phase of SelfHeal objects, and how many are in it.
    pub self_heals: Vec<(String, usize)>,
    /// Keys that are due and wait for a pass.
    pub queue_depth: usize,
}

/// Buckets of the reference's reconcile histograms, in seconds.
const PASS_SECONDS: &[f64] = &[0.01, 0.15, 0.25, 0.5, 1.0];
/// A shed is one PATCH after one decision: milliseconds when all is well, 5 s (a request's limit) when it is not.
const SHED_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];
/// A measurement that is late by more than its interval (often 1 min) changes a verdict's meaning.
const LAG_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];
/// Slack answers within a second; its hard limit here is tens of seconds.
const SEND_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const NAMESPACED: &[&str] = &["namespace", "name"];
const EVENT: &[&str] = &["namespace", "name", "type", "reason"];

/// The handle through which everything is counted. Clones count into the same series.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    version: &'static str,
    passes: Series<Histogram>,
    failed_passes: Series<f64>,
    events: Series<f64>,
    requests: Series<f64>,
    sent: Series<f64>,
    unsent: Series<f64>,
    send_seconds: Series<Histogram>,
    shed_seconds: Series<Histogram>,
    lag_seconds: Series<Histogram>,
    violations: Series<f64>,
    leading: Series<f64>,
}

impl Metrics {
    /// Fresh numbers, all absent. `version` is what `build_info` shows.
    pub fn new(version: &'static str) -> Self {
        let family = |name, help, labels| Family { name, help, labels };
        Self(Arc::new(Inner {
            version,
            passes: Series::new(family(
                "rollout_reconcile",
                "Seconds a pass over a rollout took.",
                NAMESPACED,
            )),
            failed_passes: Series::new(family(
                "rollout_reconcile_error",
                "Passes over a rollout that ended in an error.",
                NAMESPACED,
            )),
            events: Series::new(family("rollout_events_total", "Kubernetes events emitted.", EVENT)),
            requests: Series::new(family(
                "controller_clientset_k8s_request_total",
                "Requests to the API server.",
                &["kind", "namespace", "name", "verb", "status_code"],
            )),
            sent: Series::new(family("notification_send_success", "Notifications that were sent.", EVENT)),
            unsent: Series::new(family("notification_send_error", "Attempts to notify that failed.", EVENT)),
            send_seconds: Series::new(family(
                "notification_send",
                "Seconds an attempt to notify took.",
                NAMESPACED,
            )),
            shed_seconds: Series::new(family(
                "rollout_sample_to_shed_seconds",
                "From the end of the failing measurement to the answer of the request that took the weight away.",
                NAMESPACED,
            )),
            lag_seconds: Series::new(family(
                "rollout_verdict_lag_seconds",
                "From the moment a measurement was due to the moment it was recorded.",
                NAMESPACED,
            )),
            violations: Series::new(family(
                "rollout_invariant_violations_total",
                "Plans that broke an invariant; only their shed was applied.",
                &["invariant"],
            )),
            leading: Series::new(family(
                "rollout_leader",
                "1 while this process holds the Lease.",
                &["lease"],
            )),
        }))
    }

    /// A pass over a rollout ended.
    pub fn pass(&self, namespace: &str, name: &str, seconds: f64, is_error: bool) {
        self.0.passes.observe(&[namespace, name], PASS_SECONDS, seconds);
        if is_error {
            self.0.failed_passes.add(&[namespace, name], 1.0);
        }
    }

    /// An event of `kind` (`Normal`, `Warning`) was emitted on a rollout.
    pub fn event(&self, namespace: &str, name: &str, kind: &str, reason: &str) {
        self.0.events.add(&[namespace, name, kind, reason], 1.0);
    }

    /// The API server answered a request, or did not (`status` 0).
    pub fn request(&self, kind: &str, namespace: &str, name: &str, verb: &str, status: u16) {
        self.0.requests.add(&[kind, namespace, name, verb, &status.to_string()], 1.0);
    }

    /// An attempt to notify ended. `kind` and `reason` are those of the event that it tells.
    pub fn notified(&self, namespace: &str, name: &str, reason: &str, seconds: f64, is_error: bool) {
        let counts = if is_error { &self.0.unsent } else { &self.0.sent };
        counts.add(&[namespace, name, "Warning", reason], 1.0);
        self.0.send_seconds.observe(&[namespace, name], SEND_SECONDS, seconds);
    }

    /// The weight is away: `seconds` since the end of the measurement that failed.
    pub fn shed(&self, namespace: &str, name: &str, seconds: f64) {
        self.0.shed_seconds.observe(&[namespace, name], SHED_SECONDS, seconds);
    }

    /// A measurement was recorded `seconds` after it was due. Negative lag counts as none.
    pub fn verdict_lag(&self, namespace: &str, name: &str, seconds: f64) {
        self.0.lag_seconds.observe(&[namespace, name], LAG_SECONDS, seconds.max(0.0));
    }

    /// A plan broke `invariant`, for instance `I4`.
    pub fn violation(&self, invariant: &str) {
        self.0.violations.add(&[invariant], 1.0);
    }

    /// Whether this process holds the Lease named `lease`.
    pub fn leading(&self, lease: &str, is_leader: bool) {
        self.0.leading.set(&[lease], if is_leader { 1.0 } else { 0.0 });
    }

    /// Ends the series of a deleted rollout, so that its last phase does not alert for ever.
    pub fn forget(&self, namespace: &str, name: &str) {
        let Inner {
            version: _,
            passes,
            failed_passes,
            events,
            requests: _,
            sent,
            unsent,
            send_seconds,
            shed_seconds,
            lag_seconds,
            violations: _,
            leading: _,
        } = &*self.0;
        for histograms in [passes, send_seconds, shed_seconds, lag_seconds] {
            histograms.forget(namespace, name);
        }
        for counts in [failed_passes, events, sent, unsent] {
            counts.forget(namespace, name);
        }
    }

    /// The OpenMetrics text of everything counted so far and of `snapshot`.
    pub fn render(&self, snapshot: Snapshot) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape { counted: self.clone(), snapshot }));
        let mut out = String::new();
        // Writing into a String cannot fail; were it to, half a page is worth more than none.
        if text::encode(&mut out, &registry).is_err() {
            tracing::error!("Could not render the metrics page completely");
        }
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Scrape {
    counted: Metrics,
    snapshot: Snapshot,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counted = &*self.counted.0;
        for histograms in
            [&counted.passes, &counted.send_seconds, &counted.shed_seconds, &counted.lag_seconds]
        {
            histograms.encode_histograms(&mut encoder)?;
        }
        for counts in [
            &counted.failed_passes,
            &counted.events,
            &counted.requests,
            &counted.sent,
            &counted.unsent,
            &counted.violations,
        ] {
            counts.encode_counts(&mut encoder)?;
        }
        counted.leading.encode_gauges(&mut encoder)?;
        self.build(&mut encoder)?;
        self.rollouts(&mut encoder)?;
        self.rest(&mut encoder)
    }
}

impl Scrape {
    fn build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = self.counted.0.version;
        for (name, help) in [
            ("argo_rollouts_controller_info", "Version of the controller that reconciles rollouts here."),
            ("build_info", "Version of serin."),
        ] {
            Family { name, help, labels: &["version"] }
                .gauges(encoder, std::iter::once((vec![version], 1.0)))?;
        }
        Ok(())
    }

    fn rollouts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = &self.snapshot.rollouts;
        Family {
            name: "rollout_info",
            help: "One series a rollout; phase is derived from its Progressing condition.",
            labels: &["namespace", "name", "strategy", "traffic_router", "phase"],
        }
        .gauges(
            encoder,
            all.iter().map(|one| {
                (vec![one.namespace.as_str(), &one.name, one.strategy, one.traffic_router, one.phase], 1.0)
            }),
        )?;
        type Count = fn(&RolloutFacts) -> i64;
        let counts: [(&'static str, &'static str, Count); 5] = [
            ("rollout_info_replicas_desired", "Replicas the rollout asks for.", |one| one.desired),
            ("rollout_info_replicas_available", "Available replicas.", |one| one.available),
            ("rollout_info_replicas_unavailable", "Unavailable replicas.", |one| one.unavailable),
            ("rollout_info_replicas_updated", "Replicas of the newest revision.", |one| one.updated),
            ("rollout_traffic_contested", "1 while another writer keeps changing the weight.", |one| {
                i64::from(one.is_contested)
            }),
        ];
        for (name, help, count) in counts {
            Family { name, help, labels: NAMESPACED }.gauges(
                encoder,
                all.iter().map(|one| (vec![one.namespace.as_str(), &one.name], number(count(one)))),
            )?;
        }
        Ok(())
    }

    fn rest(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot { rollouts: _, runs, self_heals, queue_depth } = &self.snapshot;
        Family {
            name: "analysis_run_info",
            help: "One series an AnalysisRun.",
            labels: &["namespace", "name", "phase"],
        }
        .gauges(encoder, runs.iter().map(|run| (vec![run.namespace.as_str(), &run.name, &run.phase], 1.0)))?;
        Family { name: "rollout_self_heals", help: "SelfHeal objects by phase.", labels: &["phase"] }
            .gauges(
                encoder,
                self_heals.iter().map(|(phase, count)| {
                    (vec![phase.as_str()], number(i64::try_from(*count).unwrap_or(i64::MAX)))
                }),
            )?;
        Family { name: "rollout_queue_depth", help: "Keys that are due and wait for a pass.", labels: &[] }
            .gauge(encoder, number(i64::try_from(*queue_depth).unwrap_or(i64::MAX)))
    }
}

/// Replica counts are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of Kubernetes objects fit a double exactly")]
fn number(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            rollouts: vec![RolloutFacts {
                namespace: "shop".to_owned(),
                name: "cart".to_owned(),
                strategy: "canary",
                traffic_router: "Istio",
                phase: "Abort",
                desired: 10,
                available: 9,
                unavailable: 1,
                updated: 2,
                is_contested: true,
            }],
            runs: vec![RunFacts { namespace: "shop".into(), name: "cart-2".into(), phase: "Failed".into() }],
            self_heals: vec![("Pushed".to_owned(), 1)],
            queue_depth: 3,
        }
    }

    #[test]
    fn the_page_has_the_references_names_and_ours() {
        let metrics = Metrics::new("0.1.0");
        metrics.pass("shop", "cart", 0.02, true);
        metrics.event("shop", "cart", "Warning", "RolloutAborted");
        metrics.shed("shop", "cart", 0.02);
        metrics.violation("I4");
        metrics.leading("argo-rollouts-controller-lock", true);
        let page = metrics.render(snapshot());
        for line in [
            r#"rollout_info{namespace="shop",name="cart",strategy="canary",traffic_router="Istio",phase="Abort"} 1.0"#,
            r#"rollout_info_replicas_unavailable{namespace="shop",name="cart"} 1.0"#,
            r#"rollout_reconcile_error{namespace="shop",name="cart"} 1.0"#,
            r#"rollout_reconcile_bucket{le="0.15",namespace="shop",name="cart"} 1"#,
            r#"rollout_events_total{namespace="shop",name="cart",type="Warning",reason="RolloutAborted"} 1.0"#,
            r#"rollout_sample_to_shed_seconds_bucket{le="0.025",namespace="shop",name="cart"} 1"#,
            r#"rollout_invariant_violations_total{invariant="I4"} 1.0"#,
            r#"rollout_leader{lease="argo-rollouts-controller-lock"} 1.0"#,
            r#"analysis_run_info{namespace="shop",name="cart-2",phase="Failed"} 1.0"#,
            r#"rollout_self_heals{phase="Pushed"} 1.0"#,
            "rollout_queue_depth 3.0",
            r#"build_info{version="0.1.0"} 1.0"#,
        ] {
            assert!(page.lines().any(|have| have == line), "missing {line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn hostile_names_cannot_break_a_line() {
        let metrics = Metrics::new("0.1.0");
        metrics.violation("a\"b\nc\\d");
        let page = metrics.render(Snapshot::default());
        assert!(page.contains(r#"rollout_invariant_violations_total{invariant="a\"b\nc\\d"} 1.0"#), "{page}");
    }

    #[test]
    fn series_of_a_deleted_rollout_end() {
        let metrics = Metrics::new("0.1.0");
        metrics.pass("shop", "cart", 0.02, true);
        metrics.pass("shop", "till", 0.02, true);
        metrics.event("shop", "cart", "Normal", "RolloutUpdated");
        metrics.forget("shop", "cart");
        let page = metrics.render(Snapshot::default());
        assert!(!page.contains("cart"), "{page}");
        assert!(page.contains("till"));
    }
}
