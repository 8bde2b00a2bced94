//! What a pass decided and what it waits for, typed. Log, event, condition and metric all come from here.

use std::fmt;

use crate::domain::Weight;

/// What one pass came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub stage: Stage,
    /// The canary's live weight, as observed.
    pub live: Weight,
    /// The weight that is wanted.
    pub target: Weight,
    /// The largest weight that is permitted now.
    pub ceiling: Weight,
    /// What keeps the rollout where it is, the first thing first. Empty when nothing is waited for.
    pub waiting: Vec<Wait>,
    /// Details for people, one sentence each.
    pub notes: Vec<String>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
pub enum Stage {
    /// The object is being deleted, or there is nothing to do for it.
    Gone,
    /// The spec is refused; only exposure is looked after.
    Refused,
    /// The version that the spec asks for has no ReplicaSet yet.
    Creating,
    /// The first version ever.
    FirstDeploy,
    /// The version that the spec asks for is the stable one.
    Promoted,
    /// A canary takes its steps.
    Canary,
    /// The canary was rejected.
    Aborted,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum Wait {
    /// A request of ours to be seen in the stores.
    OwnWrite,
    /// Pods of the canary to become available.
    CanaryPods,
    /// Pods of stable to become available.
    StablePods,
    /// The observed VirtualService to carry the weight that was asked for.
    Weight,
    /// The data plane to have followed the last change.
    DataPlane,
    /// A timed pause.
    PauseEnds,
    /// A person to promote.
    Promote,
    /// A person to decide on an inconclusive analysis.
    Decision,
    /// The inline analysis to finish.
    Analysis,
    /// The next measurement.
    Measurement,
    /// A metrics endpoint to answer again.
    Metrics,
    /// The previous version's time to be over.
    ScaleDown,
    /// The progress deadline.
    Deadline,
    /// An object that the Rollout names (VirtualService, Service, template).
    Object,
    /// A person to resume (`spec.paused`).
    Resume,
    /// Another writer to let go of the weights.
    Contest,
    /// A finished run's time to be deleted.
    RunExpiry,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnWrite => "the last write to be seen",
            Self::CanaryPods => "pods of the canary to become available",
            Self::StablePods => "pods of the stable version to become available",
            Self::Weight => "the VirtualService to carry the new weight",
            Self::DataPlane => "the data plane to follow the last change",
            Self::PauseEnds => "the pause to end",
            Self::Promote => "somebody to promote",
            Self::Decision => "somebody to decide on the inconclusive analysis",
            Self::Analysis => "the inline analysis to finish",
            Self::Measurement => "the next measurement",
            Self::Metrics => "the metrics endpoint to answer again",
            Self::ScaleDown => "the previous version's delay to pass",
            Self::Deadline => "the progress deadline",
            Self::Object => "an object that the Rollout names",
            Self::Resume => "somebody to resume the rollout (spec.paused)",
            Self::Contest => "another writer to let go of the weights",
            Self::RunExpiry => "a finished run's time to live",
        })
    }
}
