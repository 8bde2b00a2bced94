//! What a scrape shows of the objects at that moment.

/// One Rollout as the scrape shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutFacts {
    pub namespace: String,
    pub name: String,
    /// `canary`, `blueGreen` or `none`.
    pub strategy: &'static str,
    /// `Istio` or empty.
    pub traffic_router: &'static str,
    /// From the Progressing condition's reason, one of [`ROLLOUT_PHASES`]. Not `status.phase`.
    pub phase: &'static str,
    pub desired: i64,
    pub available: i64,
    pub unavailable: i64,
    pub updated: i64,
    /// True while another writer and serin disagree about the weight.
    pub is_contested: bool,
    /// True while a metrics backend that decides does not answer.
    pub is_blind: bool,
}

/// What `phase` of a Rollout can be.
pub const ROLLOUT_PHASES: [&str; 7] =
    ["Abort", "Completed", "Error", "InvalidSpec", "Paused", "Progressing", "Timeout"];

/// One AnalysisRun as the scrape shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    pub namespace: String,
    pub name: String,
    /// One of [`RUN_PHASES`]; empty before the first look.
    pub phase: &'static str,
    pub metrics: Vec<MetricFacts>,
}

/// One metric of an AnalysisRun that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricFacts {
    pub name: String,
    pub is_dry_run: bool,
    pub phase: &'static str,
}

/// What `phase` of an AnalysisRun and of its metrics can be.
pub const RUN_PHASES: [&str; 6] = ["Error", "Failed", "Inconclusive", "Pending", "Running", "Successful"];

/// One SelfHeal as the Git role sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfHealFacts {
    pub rollout: String,
    /// `metadata.creationTimestamp`: these sort as text.
    pub created: String,
    /// A phase of `SelfHeal.status`; `Pending` before there is one.
    pub phase: &'static str,
}

/// What the stores hold at the moment of a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub rollouts: Vec<RolloutFacts>,
    pub runs: Vec<RunFacts>,
    /// Namespace and name of the AnalysisTemplates.
    pub templates: Vec<(String, String)>,
    pub queue: QueueFacts,
}

/// How far the passes are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// Keys that are due and wait for a pass.
    pub depth: usize,
    /// How long the first of them has been waiting.
    pub oldest: std::time::Duration,
    /// Passes that are being made.
    pub running: usize,
}
