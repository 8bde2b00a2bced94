//! What a scrape shows of the objects: read from the stores at that moment.

use std::sync::{Arc, Mutex, PoisonError};

use super::queue::Queue;
use crate::{
    api::{rollout::Parsed, run::StoredRun},
    decide::memory::Memory,
    observe::{Entry, Stores},
    telemetry::{Metrics, RolloutFacts, RunFacts, Snapshot},
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
            self_heals: vec![],
            queue_depth: source.queue.depth(),
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
        is_contested: rollout
            .memory
            .condition("TrafficContested")
            .is_some_and(|condition| condition.status.is_true()),
    }
}

/// Not `status.phase`: the reference derives it from the reason of the condition `Progressing`.
fn phase(memory: &Memory) -> &'static str {
    if memory.condition("InvalidSpec").is_some_and(|condition| condition.status.is_true()) {
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
    RunFacts {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        phase: entry.slim.owned.run.status.phase.as_str().to_owned(),
    }
}
