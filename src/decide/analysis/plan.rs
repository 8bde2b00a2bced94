//! What a pass over an AnalysisRun comes to: status, wants, wake, events, verdict. No I/O. No clock.

use jiff::Timestamp;

use super::{
    run::Query,
    status::{Phase, RunStatus},
};
use crate::domain::verdict::Verdict;

/// What one pass over a run decided.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStep {
    /// The status after this pass; equal to the old one when nothing happened.
    pub status: RunStatus,
    /// All measurements that are wanted now or later, in the order of the metrics: at most one a metric.
    pub wants: Vec<Want>,
    /// When to look again, and why; always there while the run is unfinished. Samples wake a pass by themselves.
    pub wake: Option<(Timestamp, RunWake)>,
    /// What happened in this pass, in order.
    pub events: Vec<RunEvent>,
    /// Metrics whose backend does not answer now. One that is no dry run: the rollout says `MetricsUnavailable` and
    /// waits.
    pub outages: Vec<MetricOutage>,
    /// The verdict, also on every pass after the one that reached it.
    pub finished: Option<Finished>,
    /// True when the run's time to live is over: delete it.
    pub expired: bool,
}

/// A measurement that is wanted. The sampler starts what is new to it and drops what is gone.
///
/// It stays equal from pass to pass until an answer with its ordinal is in the status. The time for one answer is
/// `query.timeout`, counted from the moment the query is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Uid of the run.
    pub run: String,
    /// Namespace of the run, where its Secrets are.
    pub namespace: String,
    /// Name of the metric.
    pub metric: String,
    /// Which measurement of the metric; goes into the `Sample`.
    pub ordinal: u32,
    /// Not to be sent before.
    pub due: Timestamp,
    /// What to ask.
    pub query: Query,
}

/// Why a run is looked at again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunWake {
    /// A measurement of this metric becomes due.
    Measure { metric: String },
    /// A measurement of this metric was due and should have been answered by now: something is late.
    Overdue { metric: String },
    /// The run's time to live ends.
    Expire,
}

/// Something to tell with a Kubernetes event on the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// A metric ended.
    Metric { name: String, verdict: Verdict },
    /// The run ended.
    Run { verdict: Verdict },
}

impl RunEvent {
    /// The event's reason, for instance `MetricFailed` or `AnalysisRunSuccessful`.
    pub fn reason(&self) -> String {
        match self {
            Self::Metric { verdict, .. } => format!("Metric{verdict}"),
            Self::Run { verdict } => format!("AnalysisRun{verdict}"),
        }
    }

    /// The event's text.
    pub fn message(&self) -> String {
        match self {
            Self::Metric { name, verdict } => format!("Metric '{name}' Completed. Result: {verdict}"),
            Self::Run { verdict } => format!("Analysis Completed. Result: {verdict}"),
        }
    }

    /// True for an event of type `Warning`: Failed and Error.
    pub fn is_warning(&self) -> bool {
        let (Self::Metric { verdict, .. } | Self::Run { verdict }) = self;
        matches!(verdict, Verdict::Failed | Verdict::Error)
    }
}

/// What to do while a metrics backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutageMode {
    /// Hold: no verdict, queries go on with back-off.
    #[default]
    Hold,
    /// As the reference: each unanswered query counts as an Error.
    Reference,
}

/// A metric whose backend does not answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricOutage {
    /// Name of the metric.
    pub metric: String,
    /// What the last try came to.
    pub message: String,
    /// When the first try of this outage was sent.
    pub since: Option<Timestamp>,
    /// Tries so far.
    pub tries: i64,
    /// True where the metric decides nothing: its outage holds nothing back but the run itself.
    pub dry_run: bool,
}

/// How a run ended, why, and on what evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The wire's verdict.
    pub verdict: Verdict,
    /// The run's message, as on the wire; may be empty.
    pub message: String,
    /// Why; decides what happens in Git.
    pub cause: Cause,
    /// The metric that decided; absent when none did (a bad spec, a good end).
    pub evidence: Option<Evidence>,
}

/// Why a run ended. Only `MetricFailed` ever leads to a change in Git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum Cause {
    /// Every metric that decides ended well, or the run was terminated before one did not.
    Passed,
    /// Verdict Failed, and the limit was passed by real numbers alone.
    MetricFailed,
    /// The deciding answers were empty or NaN, at least in part.
    NoData,
    /// Verdict Inconclusive on real numbers.
    Undecided,
    /// Verdict Error: the queries or the conditions could not be carried out.
    NotMeasurable,
    /// Verdict Error: the run's spec does not hold together.
    InvalidSpec,
}

/// The deciding metric in numbers, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Name of the metric.
    pub metric: String,
    /// The last deciding value as on the wire, for instance `0.08`; empty when there was none.
    pub value: String,
    /// What should have held, for instance `result < 0.05`, or `not (result > 0.05)` for a failure condition.
    pub limit: String,
    /// The query, secrets masked.
    pub query: String,
    /// Measurements that were judged.
    pub samples: i64,
    /// Of these, bad.
    pub failed: i64,
    /// Bad ones that were tolerated; -1 for all.
    pub failure_limit: i64,
    /// When the run started.
    pub started_at: Option<Timestamp>,
    /// When the deciding measurement was finished.
    pub failed_at: Option<Timestamp>,
}

/// A verdict that was acted on but not booked: what the shed mark keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Name of the metric.
    pub metric: String,
    /// Failed or Error: only these shed.
    pub verdict: Verdict,
    /// The deciding value as on the wire; may be empty for Error.
    pub value: String,
    /// The measurement's message; empty for Failed on real numbers.
    pub message: String,
    /// True when the value was no data.
    pub no_data: bool,
    /// When the lost measurement was finished.
    pub at: Timestamp,
}

impl RunStep {
    /// A pass that decides nothing and keeps `status`.
    pub(super) fn unchanged(status: RunStatus) -> Self {
        Self {
            status,
            wants: vec![],
            wake: None,
            events: vec![],
            outages: vec![],
            finished: None,
            expired: false,
        }
    }

    /// Where the run stands after this pass.
    pub fn phase(&self) -> Phase {
        self.status.phase
    }
}
