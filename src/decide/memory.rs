//! What a Rollout's status remembers, parsed. `api` is its only reader and writer on the wire.

use jiff::Timestamp;

use super::analysis::Phase as RunPhase;
use crate::domain::{PodHash, Weight};

/// A Rollout's status. Times have second resolution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// `observedGeneration` as a number; `None` where absent or not a number.
    pub observed_generation: Option<i64>,
    pub phase: Option<Phase>,
    /// `message`; empty where absent.
    pub message: String,
    pub conditions: Vec<Condition>,
    pub current: Option<PodHash>,
    pub stable: Option<PodHash>,
    pub step_hash: Option<String>,
    /// `currentStepIndex`; clients write it.
    pub step_index: Option<i64>,
    pub counts: Counts,
    pub selector: String,
    pub pauses: Vec<Pause>,
    /// The controller itself added a pause; a user who clears `pauses` while this is set resumes.
    pub controller_pause: bool,
    pub abort: bool,
    pub aborted_at: Option<Timestamp>,
    pub promote_full: bool,
    pub collision_count: Option<i32>,
    /// `canary.weights` as last observed on the VirtualService.
    pub weights: Option<Weights>,
    pub step_run: Option<RunStatus>,
    pub background_run: Option<RunStatus>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
pub enum Phase {
    Healthy,
    Degraded,
    Progressing,
    Paused,
}

/// Replica counts of a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods of all versions.
    pub replicas: i32,
    /// Pods of the desired version.
    pub updated: i32,
    pub ready: i32,
    pub available: i32,
}

/// One entry of `status.pauseConditions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub reason: PauseReason,
    pub since: Timestamp,
}

/// Why a rollout waits for a person or a timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseReason {
    CanaryPauseStep,
    InconclusiveAnalysisRun,
    /// One that serin does not write.
    Other(String),
}

impl PauseReason {
    pub fn as_str(&self) -> &str {
        match self {
            Self::CanaryPauseStep => "CanaryPauseStep",
            Self::InconclusiveAnalysisRun => "InconclusiveAnalysisRun",
            Self::Other(text) => text,
        }
    }
}

/// `status.canary.weights`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    pub canary: WeightOf,
    pub stable: WeightOf,
}

/// One side of `status.canary.weights`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightOf {
    pub weight: Weight,
    pub hash: Option<PodHash>,
    pub service: String,
}

/// `status.canary.current…AnalysisRunStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    pub name: String,
    pub phase: RunPhase,
    pub message: String,
}

/// One entry of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type, for instance `Progressing`.
    pub kind: String,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
    pub last_update: Timestamp,
    pub last_transition: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl Memory {
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    pub fn is_paused_for(&self, reason: &PauseReason) -> bool {
        self.pauses.iter().any(|pause| pause.reason == *reason)
    }
}
