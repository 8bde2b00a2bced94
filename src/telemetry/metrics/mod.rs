//! The numbers on `/metrics`: the reference's names as far as they can be filled honestly, and ours.
//!
//! Events are counted through the methods of [`Metrics`]; state (which Rollouts there are, in which phase) is asked
//! for at each scrape, so it cannot go stale. No global state: whoever counts holds a handle.
//!
//! How many series there are is bounded by how many objects there are: labels are names of objects (series of a
//! deleted Rollout end with it) or come from fixed sets. Requests to the API server carry kind, verb and status code
//! only; the reference's labels `namespace` and `name` on them are left out, which a query that sums does not notice.
//!
//! Not filled, of the reference's names: `experiment_*` (no Experiments), `workqueue_*` (`rollout_queue_*` instead) and
//! the three `rollout_*duration_seconds` of 1.10.

mod facts;
mod page;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{encoding::text, metrics::histogram::Histogram, registry::Registry};

pub use self::facts::{
    MetricFacts, QueueFacts, ROLLOUT_PHASES, RUN_PHASES, RolloutFacts, RunFacts, SelfHealFacts, Snapshot,
};
use super::series::{Family, Series};

/// Prometheus's text format, as [`Metrics::render`] writes it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets of the reference's reconcile histograms, in seconds.
const PASS_SECONDS: &[f64] = &[0.01, 0.15, 0.25, 0.5, 1.0];
/// A shed is one PATCH after one decision: milliseconds when all is well, 5 s (a request's limit) when it is not.
const SHED_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// A measurement that is late by more than its interval (often 1 min) changes a verdict's meaning.
const LAG_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];
/// Slack answers within a second; its hard limit here is tens of seconds.
const SEND_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The API server answers within milliseconds; a request's limit is 5 s.
const REQUEST_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

const NAMESPACED: &[&str] = &["namespace", "name"];
const EVENT: &[&str] = &["namespace", "name", "type", "reason"];

/// The handle through which everything is counted. Clones count into the same series.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    version: &'static str,
    role: &'static str,
    passes: Series<Histogram>,
    failed_passes: Series<f64>,
    run_passes: Series<Histogram>,
    failed_run_passes: Series<f64>,
    events: Series<f64>,
    requests: Series<f64>,
    request_seconds: Series<Histogram>,
    sent: Series<f64>,
    unsent: Series<f64>,
    send_seconds: Series<Histogram>,
    shed_seconds: Series<Histogram>,
    not_moved: Series<f64>,
    lag_seconds: Series<Histogram>,
    violations: Series<f64>,
    leading: Series<f64>,
    spans: Series<f64>,
    self_heals: Mutex<BTreeMap<(String, String), SelfHealFacts>>,
}

impl Metrics {
    /// Fresh numbers of a controller, all absent. `version` is what `serin_info` shows.
    pub fn new(version: &'static str) -> Self {
        Self::of_role(version, "controller")
    }

    /// The same for the role `controller` or `gitops`.
    pub fn of_role(version: &'static str, role: &'static str) -> Self {
        Self(Arc::new(Inner::new(version, role)))
    }

    /// A pass over a Rollout ended.
    pub fn pass(&self, namespace: &str, name: &str, seconds: f64, is_error: bool) {
        let Inner { passes, failed_passes, shed_seconds, .. } = &*self.0;
        passes.observe(&[namespace, name], PASS_SECONDS, seconds);
        failed_passes.add(&[namespace, name], if is_error { 1.0 } else { 0.0 });
        // A counter that begins with its first event shows Prometheus no increase: it is there from the start.
        shed_seconds.begin(&[namespace, name], SHED_SECONDS);
    }

    /// A pass over an AnalysisRun that no Rollout controls ended.
    pub fn run_pass(&self, namespace: &str, name: &str, seconds: f64, is_error: bool) {
        self.0.run_passes.observe(&[namespace, name], PASS_SECONDS, seconds);
        self.0.failed_run_passes.add(&[namespace, name], if is_error { 1.0 } else { 0.0 });
    }

    /// An event of `kind` (`Normal`, `Warning`) was emitted on a Rollout.
    pub fn event(&self, namespace: &str, name: &str, kind: &str, reason: &str) {
        self.0.events.add(&[namespace, name, kind, reason], 1.0);
    }

    /// The API server answered a request after `seconds`, or did not (`status` 0). `kind` is the resource, for instance
    /// `rollouts`. A watch counts when it begins, and not in the times.
    pub fn request(&self, kind: &str, verb: &str, status: u16, seconds: f64) {
        self.0.requests.add(&[kind, verb, &status.to_string()], 1.0);
        if verb != "Watch" {
            self.0.request_seconds.observe(&[verb], REQUEST_SECONDS, seconds);
        }
    }

    /// An attempt to notify ended. `reason` is that of the event that it tells.
    pub fn notified(&self, namespace: &str, name: &str, reason: &str, seconds: f64, is_error: bool) {
        let labels = [namespace, name, "Warning", reason];
        self.0.sent.add(&labels, if is_error { 0.0 } else { 1.0 });
        self.0.unsent.add(&labels, if is_error { 1.0 } else { 0.0 });
        self.0.send_seconds.observe(&[namespace, name], SEND_SECONDS, seconds);
    }

    /// The weight is away: `seconds` since the end of the measurement that failed.
    pub fn shed(&self, namespace: &str, name: &str, seconds: f64) {
        self.0.shed_seconds.observe(&[namespace, name], SHED_SECONDS, seconds);
    }

    /// Traffic has to be taken from a canary and is not yet, since this Unix time; `None`: nothing is left to move.
    pub fn not_moved(&self, namespace: &str, name: &str, since: Option<f64>) {
        match since {
            Some(since) => self.0.not_moved.set(&[namespace, name], since),
            None => self.0.not_moved.forget(namespace, name),
        }
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
        self.0.leading.set(&[lease, self.0.role], if is_leader { 1.0 } else { 0.0 });
    }

    /// Spans that went to the collector of traces, and spans that did not.
    pub fn spans(&self, outcome: &'static str, count: usize) {
        self.0.spans.add(&[outcome], f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    /// A SelfHeal as it stands now; `None`: it is gone.
    pub fn self_heal(&self, namespace: &str, name: &str, facts: Option<SelfHealFacts>) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut all = self.0.self_heals();
        match facts {
            Some(facts) => drop(all.insert(key, facts)),
            None => drop(all.remove(&key)),
        }
    }

    /// Ends the series of a deleted Rollout, so that its last phase does not alert for ever.
    pub fn forget(&self, namespace: &str, name: &str) {
        let counted = &*self.0;
        for one in [&counted.passes, &counted.send_seconds, &counted.shed_seconds, &counted.lag_seconds] {
            one.forget(namespace, name);
        }
        for one in
            [&counted.failed_passes, &counted.events, &counted.sent, &counted.unsent, &counted.not_moved]
        {
            one.forget(namespace, name);
        }
    }

    /// The same for an AnalysisRun that no Rollout controlled.
    pub fn forget_run(&self, namespace: &str, name: &str) {
        self.0.run_passes.forget(namespace, name);
        self.0.failed_run_passes.forget(namespace, name);
    }

    /// The text of everything counted so far and of `snapshot`, in Prometheus's text format.
    pub fn render(&self, snapshot: Snapshot) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(page::Scrape { counted: self.clone(), snapshot }));
        let mut out = String::new();
        // Writing into a String cannot fail; were it to, half a page is worth more than none.
        if text::encode(&mut out, &registry).is_err() {
            tracing::error!("Could not render the metrics page completely");
        }
        // The end mark belongs to OpenMetrics.
        out.truncate(out.trim_end_matches("# EOF\n").len());
        out
    }

    /// How many SelfHeals are in each phase, and the newest of each Rollout.
    fn self_heal_facts(&self) -> (BTreeMap<&'static str, usize>, Newest) {
        let all = self.0.self_heals();
        let mut counts = BTreeMap::new();
        let mut newest: BTreeMap<(String, String), (String, &SelfHealFacts)> = BTreeMap::new();
        for ((namespace, name), facts) in all.iter() {
            *counts.entry(facts.phase).or_default() += 1;
            let place =
                newest.entry((namespace.clone(), facts.rollout.clone())).or_insert((name.clone(), facts));
            if place.1.created < facts.created {
                *place = (name.clone(), facts);
            }
        }
        let newest = newest.into_iter().map(|(key, (name, facts))| (key, (name, facts.phase))).collect();
        (counts, newest)
    }
}

/// The newest SelfHeal's name and phase, by the Rollout's namespace and name.
type Newest = BTreeMap<(String, String), (String, &'static str)>;

impl Inner {
    #[expect(clippy::too_many_lines, reason = "one flat table of names and help texts")]
    fn new(version: &'static str, role: &'static str) -> Self {
        fn series<T>(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Series<T> {
            Series::new(Family { name, help, labels })
        }
        Self {
            version,
            role,
            passes: series(
                "rollout_reconcile",
                "Seconds that a pass over a Rollout took, with its requests.",
                NAMESPACED,
            ),
            failed_passes: series(
                "rollout_reconcile_error",
                "Passes over a Rollout in which a request failed; each is followed by another one after a pause.",
                NAMESPACED,
            ),
            run_passes: series(
                "analysis_run_reconcile",
                "Seconds that a pass over an AnalysisRun took that no Rollout controls. The others are part of their \
                 Rollout's passes.",
                NAMESPACED,
            ),
            failed_run_passes: series(
                "analysis_run_reconcile_error",
                "Passes over an AnalysisRun that no Rollout controls in which a request failed.",
                NAMESPACED,
            ),
            events: series("rollout_events_total", "Kubernetes events emitted on Rollouts.", EVENT),
            requests: series(
                "controller_clientset_k8s_request_total",
                "Requests to the API server by resource, verb and status code; code 0: no answer.",
                &["kind", "verb", "status_code"],
            ),
            request_seconds: series(
                "rollout_api_request_seconds",
                "Seconds until the API server answered, watches left out.",
                &["verb"],
            ),
            sent: series("notification_send_success", "Notifications that were sent.", EVENT),
            unsent: series(
                "notification_send_error",
                "Attempts to notify that failed; each is repeated after a pause.",
                EVENT,
            ),
            send_seconds: series("notification_send", "Seconds that an attempt to notify took.", NAMESPACED),
            shed_seconds: series(
                "rollout_sample_to_shed_seconds",
                "Seconds from the end of the failing measurement to the API server's answer to the request that took \
                 the weight away.",
                NAMESPACED,
            ),
            not_moved: series(
                "rollout_traffic_not_moved_since_timestamp_seconds",
                "There only while traffic has to be taken from a canary and the request for it has not succeeded: \
                 since when, in Unix time.",
                NAMESPACED,
            ),
            lag_seconds: series(
                "rollout_verdict_lag_seconds",
                "Seconds from the moment a measurement was due to the moment its result was stored.",
                NAMESPACED,
            ),
            violations: series(
                "rollout_invariant_violations_total",
                "Plans that broke a safety rule of serin's own; only their lowering of traffic was carried out.",
                &["invariant"],
            ),
            leading: series(
                "rollout_leader",
                "1 while this replica holds the Lease and acts, 0 while it stands by. Lease none: it acts without asking.",
                &["lease", "role"],
            ),
            spans: series(
                "rollout_trace_spans_total",
                "Spans of traces that were exported, or dropped because the collector did not take them.",
                &["outcome"],
            ),
            self_heals: Mutex::default(),
        }
    }

    fn histograms(&self) -> [&Series<Histogram>; 6] {
        [
            &self.passes,
            &self.run_passes,
            &self.request_seconds,
            &self.send_seconds,
            &self.shed_seconds,
            &self.lag_seconds,
        ]
    }

    fn counts(&self) -> [&Series<f64>; 8] {
        [
            &self.failed_passes,
            &self.failed_run_passes,
            &self.events,
            &self.requests,
            &self.sent,
            &self.unsent,
            &self.violations,
            &self.spans,
        ]
    }

    fn gauges(&self) -> [&Series<f64>; 2] {
        [&self.leading, &self.not_moved]
    }

    /// A poisoned lock is as good as any: no code that holds it can leave half a change behind.
    fn self_heals(&self) -> MutexGuard<'_, BTreeMap<(String, String), SelfHealFacts>> {
        self.self_heals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
