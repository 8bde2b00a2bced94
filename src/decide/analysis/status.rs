//! The status of an AnalysisRun as values. It is the whole memory of a run: everything that the next pass needs
//! is derived from it, so a restart loses nothing but samples in flight. No I/O. No clock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::verdict::Verdict;

/// Key in a metric result's `metadata`: how many answers were recorded without being counted (outages, and "no
/// data" that is waited for). Part of the ordinal.
pub const UNCOUNTED: &str = "serin.dev/uncounted";
/// Key in a metric result's `metadata`: how many of `failed` were not reached by real numbers alone.
pub const FAILED_WITHOUT_DATA: &str = "serin.dev/failed-without-data";
/// Key in a metric result's `metadata`: finish time of the first answer of the present row of answers without data.
pub const NO_DATA_SINCE: &str = "serin.dev/no-data-since";
/// Key in a measurement's `metadata`: what was missing, `empty` or `NaN`.
pub const NO_DATA: &str = "serin.dev/no-data";
/// Key in a measurement's `metadata`: how many answers without data this one, uncounted measurement stands for.
pub const WAITED: &str = "serin.dev/waited";
/// Key in a measurement's `metadata`: how many tries of one outage this one, uncounted measurement stands for.
pub const OUTAGE: &str = "serin.dev/outage";
/// Key in a metric result's `metadata`, as the reference has it: the query with its arguments filled in.
pub const RESOLVED_QUERY: &str = "ResolvedPrometheusQuery";

/// Where a run, a metric or a measurement stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `""` on the wire, or any text that is no phase: nothing has happened yet.
    #[default]
    NotStarted,
    /// A metric that waits for its first measurement.
    Pending,
    /// Under way.
    Running,
    /// Ended; a phase never leaves this variant.
    Done(Verdict),
}

impl Phase {
    /// How it ended, if it has.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Done(verdict) => Some(verdict),
            Self::NotStarted | Self::Pending | Self::Running => None,
        }
    }

    /// True once ended.
    pub fn is_done(self) -> bool {
        self.verdict().is_some()
    }

    /// The text on the wire; `""` when not started.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "",
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Done(verdict) => verdict.as_str(),
        }
    }

    /// Reads the text of the wire. Unknown text counts as not started.
    pub fn parse(text: &str) -> Self {
        match text {
            "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Successful" => Self::Done(Verdict::Successful),
            "Failed" => Self::Done(Verdict::Failed),
            "Error" => Self::Done(Verdict::Error),
            "Inconclusive" => Self::Done(Verdict::Inconclusive),
            _ => Self::NotStarted,
        }
    }
}

/// `status` of an AnalysisRun. Times have whole seconds, as the wire has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunStatus {
    /// Where the run stands.
    pub phase: Phase,
    /// Written only when the phase changes; empty while running.
    pub message: String,
    /// One entry for each metric that has been measured, in the order of the spec.
    pub metric_results: Vec<MetricResult>,
    /// When the run was first looked at; absent before.
    pub started_at: Option<Timestamp>,
    /// When the run ended; absent before.
    pub completed_at: Option<Timestamp>,
    /// Counts of the metrics that decide.
    pub run_summary: Summary,
    /// Counts of the dry-run metrics; absent before the first look.
    pub dry_run_summary: Option<Summary>,
}

/// Counts of metrics by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All metrics of this kind, ended or not.
    pub count: i64,
    /// Ended without passing a limit.
    pub successful: i64,
    /// Passed `failureLimit`.
    pub failed: i64,
    /// Passed `inconclusiveLimit`.
    pub inconclusive: i64,
    /// Passed `consecutiveErrorLimit`.
    pub error: i64,
}

/// What is known of one metric. `count = successful + failed + inconclusive`; errors are not in `count`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricResult {
    /// The metric's name.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// The newest measurements, oldest first; at most the retention limit, 10 by default.
    pub measurements: Vec<Measurement>,
    /// The last measurement's message when the phase last changed.
    pub message: String,
    /// Measurements that were judged.
    pub count: i64,
    /// Of these, good.
    pub successful: i64,
    /// Of these, bad.
    pub failed: i64,
    /// Of these, neither.
    pub inconclusive: i64,
    /// Measurements that could not be judged.
    pub error: i64,
    /// How many of them came last in a row.
    pub consecutive_error: i64,
    /// How many good ones came last in a row.
    pub consecutive_success: i64,
    /// True where this metric decides nothing.
    pub dry_run: bool,
    /// The resolved query, and what serin keeps beside the counters (the constants of this module).
    pub metadata: BTreeMap<String, String>,
}

/// One measurement. In flight while `finished_at` is absent; serin writes finished ones only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measurement {
    /// How it was judged.
    pub phase: Phase,
    /// Why it could not be judged; empty for a good or a bad one.
    pub message: String,
    /// When the query was sent.
    pub started_at: Option<Timestamp>,
    /// When the answer was there.
    pub finished_at: Option<Timestamp>,
    /// The answer, for instance `0.08` or `[0.08]`.
    pub value: String,
    /// Warnings of the metrics backend, and serin's marks (the constants of this module).
    pub metadata: BTreeMap<String, String>,
    /// When to look at a measurement in flight again. Kept from other writers; serin sets none.
    pub resume_at: Option<Timestamp>,
}

impl RunStatus {
    /// The result of the metric called `name`, if it has been measured.
    pub fn metric(&self, name: &str) -> Option<&MetricResult> {
        self.metric_results.iter().find(|result| result.name == name)
    }

    /// The ordinal of the next measurement of `metric`; 0 before the first.
    pub fn ordinal(&self, metric: &str) -> u32 {
        self.metric(metric).map_or(0, MetricResult::ordinal)
    }
}

impl MetricResult {
    /// How many answers have been recorded so far: judged ones, errors, and those recorded without being counted.
    ///
    /// Each recorded answer raises exactly one of the three, trimming lowers none, and all three are in the status:
    /// so the number is the same after a restart and a sample can be booked once only.
    pub fn ordinal(&self) -> u32 {
        let total = self.count.saturating_add(self.error).saturating_add(self.tally(UNCOUNTED));
        u32::try_from(total.max(0)).unwrap_or(u32::MAX)
    }

    /// A number that serin keeps in `metadata`; 0 when absent or unreadable.
    pub fn tally(&self, key: &str) -> i64 {
        tally(&self.metadata, key)
    }
}

impl Measurement {
    /// How many tries of an outage this measurement stands for; 0 when it is none.
    pub fn outage_tries(&self) -> i64 {
        tally(&self.metadata, OUTAGE)
    }

    /// How many answers without data, waited for and not counted, this measurement stands for; 0 when it is none.
    pub fn waited_answers(&self) -> i64 {
        tally(&self.metadata, WAITED)
    }
}

fn tally(metadata: &BTreeMap<String, String>, key: &str) -> i64 {
    metadata.get(key).and_then(|text| text.parse().ok()).filter(|number| *number >= 0).unwrap_or(0)
}

/// When the newest measurement of any metric was finished; `None` before the first.
///
/// A shed mark that is not newer than this has been booked, or is stale.
pub fn newest_measurement_at(status: &RunStatus) -> Option<Timestamp> {
    let measurements = status.metric_results.iter().flat_map(|result| &result.measurements);
    measurements.filter_map(|measurement| measurement.finished_at).max()
}

/// `at` without its fraction of a second, as the wire keeps it.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// `at + wait`, held inside what a time can be.
pub(super) fn later(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(if wait.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}
