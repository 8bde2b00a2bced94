//! AnalysisRun: what came of the measurements.

use std::collections::BTreeMap;

use super::{Time, wire};

wire! {
    /// What came of the measurements.
    pub struct AnalysisRunStatus {
        /// `Pending`, `Running`, `Successful`, `Failed`, `Error` or `Inconclusive`; the last four are endings. Empty: not
        /// started.
        pub phase: String,
        /// Why the phase is what it is, for people.
        pub message: String,
        /// Results so far, by metric.
        pub metric_results: Vec<MetricResult>,
        /// When the run began.
        pub started_at: Time,
        /// When it ended.
        pub completed_at: Time,
        /// Numbers of metrics that decide, by how they ended.
        pub run_summary: RunSummary,
        /// Numbers of metrics that do not decide, by how they ended.
        pub dry_run_summary: RunSummary,
    }

    /// Numbers of metrics by how they ended.
    pub struct RunSummary {
        /// All.
        pub count: i64,
        /// Those that were good.
        pub successful: i64,
        /// Those that were bad.
        pub failed: i64,
        /// Those that were neither.
        pub inconclusive: i64,
        /// Those that could not be measured.
        pub error: i64,
    }

    /// Results of one metric.
    pub struct MetricResult {
        /// Name of the metric.
        pub name: String,
        /// As for the run.
        pub phase: String,
        /// Why the phase is what it is, for people.
        pub message: String,
        /// The newest measurements, oldest first; how many is up to measurementRetention.
        pub measurements: Vec<Measurement>,
        /// Measurements that ended without an error.
        pub count: i64,
        /// Good measurements.
        pub successful: i64,
        /// Bad measurements.
        pub failed: i64,
        /// Measurements that were neither.
        pub inconclusive: i64,
        /// Measurements that could not be taken.
        pub error: i64,
        /// Errors since the last measurement without one.
        pub consecutive_error: i64,
        /// Good measurements since the last other one.
        pub consecutive_success: i64,
        /// Whether the metric does not decide.
        pub dry_run: bool,
        /// What the provider says about itself, for instance the query.
        pub metadata: BTreeMap<String, String>,
    }

    /// One measurement.
    pub struct Measurement {
        /// As for the run.
        pub phase: String,
        /// Why the phase is what it is, for people.
        pub message: String,
        /// When it began.
        pub started_at: Time,
        /// When it ended. Absent: it is being taken.
        pub finished_at: Time,
        /// The value as text. Example: `[0.08]`.
        pub value: String,
        /// What the provider says about this measurement.
        pub metadata: BTreeMap<String, String>,
        /// When to look at it again, for one that takes long.
        pub resume_at: Time,
    }
}
