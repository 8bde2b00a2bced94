//! What a scrape shows of the objects: read from the stores at that moment.

use std::sync::{Arc, Mutex, PoisonError};

use super::queue::Queue;
use crate::{
    api::{rollout::Parsed, run::StoredRun},
    decide::{analysis::MetricResult, memory::Memory},
    observe::{Entry, Stores, Template},
    telemetry::{MetricFacts, Metrics, RolloutFacts, RunFacts, Snapshot},
};

/// The page of `/metrics`. A standby has no stores: its page has the counters alone.
#[derive(Clone)]
pub struct Page {
    metrics: Metrics,
    source: Arc<Mutex<Option<Source>>>,
}

struct Source {
    stores: Arc<Stores>,
    queue: Arc<Queue>,
}

impl Page {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, source: Arc::default() }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The page's text.
    pub fn render(&self) -> String {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = source.as_ref().map(|source| Snapshot {
            rollouts: source.stores.all_rollouts().iter().map(rollout).collect(),
            runs: source.stores.all_runs().iter().map(run).collect(),
            templates: source.stores.all_templates().into_iter().map(template).collect(),
            queue: source.queue.facts(),
        });
        drop(source);
        self.metrics.render(snapshot.unwrap_or_default())
    }

    pub(super) fn show(&self, stores: Arc<Stores>, queue: Arc<Queue>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(Source { stores, queue });
    }
}

fn rollout(entry: &Entry<Parsed>) -> RolloutFacts {
    let rollout = &entry.slim.rollout;
    let counts = rollout.memory.counts;
    let has = |path: &str| entry.slim.object.pointer(path).is_some();
    let strategy = if has("/spec/strategy/canary") {
        "canary"
    } else if has("/spec/strategy/blueGreen") {
        "blueGreen"
    } else {
        "none"
    };
    let desired = match &rollout.spec {
        Ok(spec) => spec.replicas,
        Err(_) => counts.replicas,
    };
    RolloutFacts {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        strategy,
        traffic_router: if has("/spec/strategy/canary/trafficRouting/istio") { "Istio" } else { "" },
        phase: phase(&rollout.memory),
        desired: i64::from(desired),
        available: i64::from(counts.available),
        unavailable: i64::from(counts.replicas.saturating_sub(counts.available).max(0)),
        updated: i64::from(counts.updated),
        is_contested: holds(&rollout.memory, "TrafficContested"),
        is_blind: holds(&rollout.memory, "MetricsUnavailable"),
    }
}

fn holds(memory: &Memory, kind: &str) -> bool {
    memory.condition(kind).is_some_and(|condition| condition.status.is_true())
}

fn template(entry: Entry<Template>) -> (String, String) {
    (entry.key.namespace, entry.key.name)
}

/// Not `status.phase`: the reference derives it from the reason of the condition `Progressing`.
fn phase(memory: &Memory) -> &'static str {
    if holds(memory, "InvalidSpec") {
        return "InvalidSpec";
    }
    match memory.condition("Progressing").map(|condition| condition.reason.as_str()) {
        Some("NewReplicaSetAvailable") => "Completed",
        Some("RolloutPaused") => "Paused",
        Some("ReplicaSetCreateError") => "Error",
        Some("ProgressDeadlineExceeded") => "Timeout",
        Some("RolloutAborted") => "Abort",
        Some(_) | None => "Progressing",
    }
}

fn run(entry: &Entry<StoredRun>) -> RunFacts {
    let status = &entry.slim.owned.run.status;
    RunFacts {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        phase: status.phase.as_str(),
        metrics: status.metric_results.iter().map(metric).collect(),
    }
}

fn metric(result: &MetricResult) -> MetricFacts {
    MetricFacts { name: result.name.clone(), is_dry_run: result.dry_run, phase: result.phase.as_str() }
}
