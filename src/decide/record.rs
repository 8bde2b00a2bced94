//! What a `RolloutRecord` remembers: facts for people and the Git lane, never needed for traffic safety.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::analysis::Evidence;
use crate::domain::{PodHash, Weight};

/// The controller's part of a `RolloutRecord`'s status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Whether the object exists yet.
    pub exists: bool,
    pub resource_version: String,
    /// The newest abort of this Rollout.
    pub abort: Option<AbortRecord>,
    /// Promotions that went through, newest last, at most 10.
    pub provenance: Vec<Provenance>,
    /// Weights that somebody else lowered and that were put back, newest last, at most `KEPT_REASSERTS`.
    pub reasserts: Vec<Reassert>,
    /// Names of the SelfHeal objects that were made, newest last, at most 20.
    pub self_heals: Vec<String>,
}

impl Record {
    pub const KEPT_REASSERTS: usize = 10;
}

/// A weight that somebody else lowered and that was put back. Times have second resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassert {
    pub at: Timestamp,
    /// Name of the VirtualService.
    pub virtual_service: String,
    pub found: Weight,
    pub set: Weight,
    /// The field manager that had lowered it; empty where not known.
    pub by: String,
}

/// Why a version was rejected, and what was known then.
#[derive(Clone, Debug, PartialEq)]
pub struct AbortRecord {
    pub cause: AbortCause,
    pub bad: Version,
    pub good: Version,
    /// The largest weight that the canary had reached.
    pub weight: Weight,
    /// When the update began to take traffic, where known.
    pub started_at: Option<Timestamp>,
    pub at: Timestamp,
    /// The AnalysisRun that decided, by name.
    pub run: Option<String>,
    /// What was measured, for verdicts of an analysis.
    pub evidence: Option<Evidence>,
}

/// A version: its hash and the image of each container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub hash: PodHash,
    pub images: BTreeMap<String, String>,
}

/// A version that was promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub version: Version,
    pub at: Timestamp,
}

/// Why an update ended on the old version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
pub enum AbortCause {
    /// Measured and bad.
    MetricFailed,
    /// The limit was passed, but not by real numbers alone.
    NoData,
    /// The analysis itself went wrong: a query, a condition, its spec.
    AnalysisError,
    /// Pods did not become available in time.
    ProgressDeadline,
    /// A person (or a client) asked for it.
    UserAbort,
}

impl AbortCause {
    /// Whether the Git lane is told: the rest of the decision is its policy's.
    pub fn may_reach_git(self) -> bool {
        match self {
            Self::MetricFailed | Self::ProgressDeadline | Self::UserAbort => true,
            Self::NoData | Self::AnalysisError => false,
        }
    }
}
