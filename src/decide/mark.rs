//! The shed mark: what a shed writes beside the weights, so that a crash before booking loses no verdict.

use super::analysis;
use crate::domain::{PodHash, Weight};

/// A bad verdict, noted on the VirtualService by the very request that took the traffic away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedMark {
    /// The rejected version.
    pub hash: PodHash,
    /// Uid of the AnalysisRun that decided.
    pub run: String,
    /// The condition that did not hold, for people.
    pub limit: String,
    /// The canary's weight before the shed.
    pub weight_before: Weight,
    /// What the run has to book.
    pub verdict: analysis::Mark,
}
