//! A Rollout's spec, parsed: what the user asked for, with every default filled in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use crate::domain::Weight;

/// What the user asked for. Only made from a spec that is valid and wholly supported.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Desired pods. 1 where the field is absent; `replicas_absent` then asks for it to be written.
    pub replicas: i32,
    pub replicas_absent: bool,
    /// `spec.selector` as it stands, for new ReplicaSets.
    pub selector: Arc<Value>,
    /// `spec.selector.matchLabels`, for the labels of AnalysisRuns.
    pub match_labels: BTreeMap<String, String>,
    /// `spec.selector` in the text form of label selectors, for `status.selector`.
    pub selector_text: String,
    /// The pod template as the user wrote it: never through typed structs, which would drop newer fields.
    pub template: Arc<Value>,
    /// Its hash as the reference computes it, with `status.collisionCount`.
    pub template_hash: crate::domain::PodHash,
    pub min_ready_seconds: i32,
    pub revision_history_limit: usize,
    pub progress_deadline: Duration,
    pub progress_deadline_abort: bool,
    /// The user froze the rollout: no scaling, no step advances. Rollbacks still happen.
    pub paused: bool,
    pub steps: Vec<Step>,
    /// The hash of `steps`, as the reference computes it.
    pub step_hash: String,
    pub background: Option<Background>,
    pub services: Services,
    /// How long the previous version is kept after a promotion.
    pub scale_down_delay: Duration,
    /// How long an aborted canary is kept; `None` keeps it until the next change (`abortScaleDownDelaySeconds: 0`).
    pub abort_scale_down_delay: Option<Duration>,
    /// How many finished runs are kept: successful, and the rest.
    pub successful_runs: usize,
    pub unsuccessful_runs: usize,
}

/// The two Services that the routes of the VirtualService lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    pub stable: String,
    pub canary: String,
}

/// The analysis that runs beside the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Background {
    /// The index of the step from which on it runs; 0 where absent.
    pub starting_step: usize,
}

/// One canary step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    SetWeight(Weight),
    /// `None`: until somebody promotes. `raw` is the duration as the user wrote it, for messages.
    Pause {
        duration: Option<Duration>,
        raw: Option<String>,
    },
    Analysis,
}

impl Step {
    /// The text that events and clients show, for instance `setWeight: 20`.
    pub fn text(&self) -> String {
        match self {
            Self::SetWeight(weight) => format!("setWeight: {weight}"),
            Self::Pause { raw: Some(raw), .. } => format!("pause: {raw}"),
            Self::Pause { raw: None, .. } => "pause".to_owned(),
            Self::Analysis => "analysis".to_owned(),
        }
    }
}

/// Where a rollout stands in its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cursor {
    /// At the step of this index, which exists.
    At(usize),
    /// Past the last step.
    Done,
}

impl Cursor {
    /// Reads `status.currentStepIndex`, which clients write too: anything past the end is `Done`, anything
    /// below 0 or absent is the first step.
    pub fn parse(index: Option<i64>, steps: usize) -> Self {
        match usize::try_from(index.unwrap_or(0).max(0)) {
            Ok(index) if index < steps => Self::At(index),
            _ => Self::Done,
        }
    }

    /// The value of `status.currentStepIndex`; `None` where there are no steps.
    pub fn index(self, steps: usize) -> Option<i64> {
        let index = match self {
            Self::At(index) => index,
            Self::Done => steps,
        };
        (steps > 0).then(|| i64::try_from(index).unwrap_or(i64::MAX))
    }

    pub fn next(self, steps: usize) -> Self {
        match self {
            Self::At(index) if index + 1 < steps => Self::At(index + 1),
            Self::At(_) | Self::Done => Self::Done,
        }
    }
}

impl Spec {
    /// The step that the cursor stands at.
    pub fn step(&self, cursor: Cursor) -> Option<&Step> {
        match cursor {
            Cursor::At(index) => self.steps.get(index),
            Cursor::Done => None,
        }
    }

    /// The weight that the steps before `cursor` have reached: the last `setWeight` strictly before it, else 0.
    pub fn weight_before(&self, cursor: Cursor) -> Weight {
        let end = match cursor {
            Cursor::At(index) => index.min(self.steps.len()),
            Cursor::Done => self.steps.len(),
        };
        self.steps.iter().take(end).rev().find_map(weight_of).unwrap_or(Weight::ZERO)
    }

    /// The weight that the canary is meant to have at `cursor`: the last `setWeight` at or before it, else 0; all
    /// of the traffic once the steps are done.
    pub fn weight_at(&self, cursor: Cursor) -> Weight {
        match cursor {
            Cursor::At(index) => {
                self.steps.iter().take(index + 1).rev().find_map(weight_of).unwrap_or(Weight::ZERO)
            }
            Cursor::Done => Weight::FULL,
        }
    }
}

fn weight_of(step: &Step) -> Option<Weight> {
    match step {
        Step::SetWeight(weight) => Some(*weight),
        Step::Pause { .. } | Step::Analysis => None,
    }
}

/// Why a spec cannot be acted on. Nothing is touched because of it but exposure, which an abort still lowers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The field's path, for instance `spec.strategy.canary.steps[2].setWeight`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
