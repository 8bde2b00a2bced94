//! The shed mark: what a shed writes beside the weights, so that a crash before booking loses no verdict.

use jiff::Timestamp;

use crate::domain::{PodHash, Weight};

/// A failed verdict, noted on the VirtualService by the very request that took the traffic away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedMark {
    /// The rejected version.
    pub hash: PodHash,
    /// The AnalysisRun that failed, by uid, and the metric that decided.
    pub run: crate::domain::Uid,
    pub metric: String,
    /// The value as `measurement.value` shows it, and the condition it broke.
    pub value: String,
    pub limit: String,
    /// The canary's weight before the shed.
    pub weight_before: Weight,
    /// When the deciding measurement finished.
    pub at: Timestamp,
}
