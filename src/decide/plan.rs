//! What a pass decides, as data. The order of a `Plan`'s fields is the order of effects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    analysis::{self, RunStatus},
    mark::ShedMark,
    memory::Memory,
    observed::{Destination, Side},
    record::{AbortRecord, Record},
    report::{Report, Wait},
};
use crate::domain::{Key, PodHash, Uid, Weight};

/// Everything one pass wants done for one Rollout. Applied field by field, top to bottom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose plan it is: the object that events are about and that new objects belong to.
    pub owner: Owner,
    pub shed: Shed,
    pub memory: Remember,
    pub prepare: Vec<Prepare>,
    pub expose: Vec<Expose>,
    pub retire: Vec<Retire>,
    pub tell: Vec<Tell>,
    pub measure: BTreeSet<analysis::Want>,
    pub wake: Option<Wake>,
    pub report: Report,
}

/// The Rollout that a plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub key: Key,
    pub uid: Uid,
    pub resource_version: String,
}

/// Urgent lowering of exposure. Failing to shed stops everything but `memory` and `grow`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shed {
    pub weights: Option<Lowering>,
    /// Stable's scale-up, sent even if `memory` conflicts.
    pub grow: Option<ScaleUp>,
}

/// Weights that go down on the canary's side.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowering {
    pub virtual_service: Key,
    pub has_annotations: bool,
    pub routes: Vec<RouteWeights>,
    /// The annotation to leave beside the weights, for verdicts that are not booked yet.
    pub mark: Option<ShedMark>,
    pub why: ShedReason,
}

/// Why exposure must go down at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
pub enum ShedReason {
    /// The version was rejected: a verdict, a deadline, or a person.
    Rejected,
    /// The spec asks for another version by now.
    Superseded,
    /// No pod of the version can serve.
    NoReadyPod,
    /// The live weight is above what is permitted: somebody else raised it.
    AboveCeiling,
}

/// The weights of one route's destinations, as they shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteWeights {
    /// Index in `spec.http`.
    pub index: usize,
    pub name: Option<String>,
    /// Only destinations whose weight changes, each with its index in the route.
    pub changes: Vec<WeightChange>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WeightChange {
    pub index: usize,
    pub side: Side,
    pub destination: Arc<Value>,
    /// The weight as it was looked at; `None` where it is absent.
    pub from: Option<i64>,
    pub to: Weight,
}

impl WeightChange {
    pub fn new(index: usize, destination: &Destination, to: Weight) -> Self {
        let Destination { side, weight: from, destination } = destination;
        Self { index, side: *side, destination: Arc::clone(destination), from: *from, to }
    }
}

/// What to store, in this order. Written only where it differs.
#[derive(Clone, Debug, Default)]
pub struct Remember {
    pub runs: Vec<RunWrite>,
    /// Its failure stops nothing.
    pub record: Option<RecordWrite>,
    pub rollout: Option<StatusWrite>,
}

impl Remember {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.record.is_none() && self.rollout.is_none()
    }
}

/// A new status of an AnalysisRun.
#[derive(Clone, Debug)]
pub struct RunWrite {
    pub name: String,
    pub resource_version: String,
    pub old: RunStatus,
    pub new: RunStatus,
}

/// A new `status.controller` of the RolloutRecord; the object is made first where it does not exist.
#[derive(Clone, Debug)]
pub struct RecordWrite {
    pub old: Record,
    pub new: Record,
}

/// A new status of the Rollout, with the resourceVersion it was decided on.
#[derive(Clone, Debug)]
pub struct StatusWrite {
    pub old: Memory,
    pub new: Memory,
}

/// Makes ready what traffic may later be sent to. Lowers nothing, exposes nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepare {
    /// `spec.replicas: 1` on a Rollout that has none: HPA's scale subresource needs a value.
    WriteReplicas,
    CreateReplicaSet(NewReplicaSet),
    /// Annotations of an existing ReplicaSet.
    Annotate(AnnotateReplicaSet),
    /// The Rollout's annotation `rollout.argoproj.io/revision`.
    WriteRevision(i64),
    ScaleUp(ScaleUp),
    CreateRun(NewRun),
    TerminateRun(String),
    /// Towards pods that can carry it, or on routes that have carried nothing for the data-plane delay.
    SwitchService(Switch),
}

/// Moves traffic. The only place where exposure can grow.
#[derive(Clone, Debug, PartialEq)]
pub enum Expose {
    Weights(SetWeights),
    /// Removes a mark that is booked or dead.
    ClearMark {
        virtual_service: Key,
        resource_version: String,
    },
}

/// Takes away what no traffic needs any more.
#[derive(Clone, Debug, PartialEq)]
pub enum Retire {
    ScaleDown(ScaleDown),
    DeleteReplicaSet {
        name: String,
        uid: Uid,
        resource_version: String,
    },
    DeleteRun {
        name: String,
        uid: Uid,
    },
    /// Gives up what serin owns of the routes: their user's tools shall see every later change of theirs.
    Release(Release),
}

/// An entry of `metadata.managedFields` to take out of a VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub virtual_service: Key,
    pub resource_version: String,
    /// The entry's index.
    pub entry: usize,
}

/// Tells people and the other roles.
#[derive(Clone, Debug, PartialEq)]
pub enum Tell {
    Event(Event),
    /// Asks the Git lane to restore the good version. The name is the idempotency key.
    SelfHeal(Box<Intent>),
}

/// A ReplicaSet to make, with 0 replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct NewReplicaSet {
    pub name: String,
    pub hash: PodHash,
    pub revision: i64,
    pub desired: i32,
    pub min_ready_seconds: i32,
    pub selector: Arc<Value>,
    pub template: Arc<Value>,
    /// Annotations copied from the Rollout.
    pub annotations: BTreeMap<String, String>,
}

/// Annotations to write on a ReplicaSet; `None` leaves one as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotateReplicaSet {
    pub name: String,
    pub resource_version: String,
    pub revision: Option<i64>,
    pub desired: Option<i32>,
    pub deadline: Option<DeadlineChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineChange {
    Set(Timestamp),
    Remove,
}

/// More replicas, on the resourceVersion it was decided on: somebody may have scaled further since, and what was meant
/// to grow would shrink.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleUp {
    pub replica_set: String,
    pub resource_version: String,
    pub revision: i64,
    pub from: i32,
    pub to: i32,
    /// The Rollout's replicas, for the annotation `desired-replicas`.
    pub desired: i32,
    pub clear_deadline: bool,
}

/// Fewer replicas, on the resourceVersion it was decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleDown {
    pub replica_set: String,
    pub resource_version: String,
    pub hash: PodHash,
    pub revision: i64,
    pub from: i32,
    pub to: i32,
    pub desired: i32,
    pub clear_deadline: bool,
}

/// A Service's selector to point at another version, on the resourceVersion it was decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    pub service: String,
    pub side: Side,
    pub resource_version: String,
    pub from: Option<PodHash>,
    pub to: PodHash,
    /// The Rollout's name to write into the annotation `managed-by-rollouts`.
    pub adopt: Option<String>,
}

/// Weights on the resourceVersion they were decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct SetWeights {
    pub virtual_service: Key,
    pub resource_version: String,
    pub routes: Vec<RouteWeights>,
    /// The canary's weight after it.
    pub canary: Weight,
    /// Whether a mark of ours goes away with the same request.
    pub clear_mark: bool,
    /// Whether it puts back what somebody else has lowered.
    pub puts_back: bool,
}

/// An AnalysisRun to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: Arc<Value>,
}

/// A Kubernetes event (core/v1).
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub about: About,
    pub kind: EventKind,
    /// CamelCase, as the reference has it (once with a space: `Updated VirtualService`).
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum EventKind {
    Normal,
    Warning,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    Rollout,
    Run { name: String, uid: Uid },
}

/// A `SelfHeal` to make: `<rollout>-<bad hash>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    pub name: String,
    pub abort: AbortRecord,
}

/// When to look again, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    pub at: Timestamp,
    pub reason: Wait,
}

/// What a request of ours came to. Kept in process memory until the next one of the same action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub action: Action,
    pub at: Timestamp,
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// `reason` of the `Status` object.
    pub reason: String,
    pub message: String,
}

impl Attempt {
    /// The server did what was asked. Not where it gave no answer (0).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Which action a request belonged to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Shed,
    Grow,
    RunStatus(String),
    Record,
    Status,
    CreateReplicaSet(String),
    Annotate(String),
    Revision,
    Replicas,
    Scale(String),
    CreateRun(String),
    TerminateRun(String),
    SwitchService(String),
    Weights,
    ClearMark,
    DeleteReplicaSet(String),
    DeleteRun(String),
    Release,
    Event,
    SelfHeal(String),
}

impl Plan {
    /// The canary's weight that it gives in a planned change.
    pub fn weight(&self) -> Option<Weight> {
        self.expose.iter().find_map(|expose| match expose {
            Expose::Weights(set) => Some(set.canary),
            Expose::ClearMark { .. } => None,
        })
    }

    /// Whether its weights put back what somebody else has lowered.
    pub fn puts_back(&self) -> bool {
        self.expose.iter().any(|expose| matches!(expose, Expose::Weights(set) if set.puts_back))
    }

    /// A plan that does nothing.
    pub fn idle(owner: Owner, report: Report) -> Self {
        Self {
            owner,
            shed: Shed::default(),
            memory: Remember::default(),
            prepare: vec![],
            expose: vec![],
            retire: vec![],
            tell: vec![],
            measure: BTreeSet::new(),
            wake: None,
            report,
        }
    }
}
