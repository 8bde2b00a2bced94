//! The shed mark: what a shed writes beside the weights, so that a crash before booking loses no verdict.

use super::{analysis, observed::OwnedRun};
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

impl ShedMark {
    /// Whether it is this run that decided.
    pub(super) fn is_of(&self, owned: &OwnedRun) -> bool {
        self.run == owned.run.uid && owned.hash.as_ref() == Some(&self.hash)
    }
}
