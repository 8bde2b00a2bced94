//! What a decision sees: the world as far as the stores know it, in slim and sorted form.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    analysis::{OutageMode, Run, Sample},
    memory::Memory,
    plan::Attempt,
    record::Record,
    spec::{Services, Spec, SpecError},
};
use crate::domain::{Key, PodHash, Uid, Weight};

/// All that one pass over one Rollout may look at.
#[derive(Clone, Debug)]
pub struct Observed {
    pub rollout: Rollout,
    /// ReplicaSets that the Rollout controls, oldest first, then by name.
    pub replica_sets: Vec<ReplicaSet>,
    /// The hash label of the ReplicaSet that matches the spec's template, where one exists.
    pub new_hash: Option<PodHash>,
    /// The name that the ReplicaSet of the spec's template would have belongs to an object of somebody else.
    pub is_name_taken: bool,
    pub stable_service: Option<Service>,
    pub canary_service: Option<Service>,
    pub virtual_service: Option<VirtualService>,
    /// AnalysisRuns that the Rollout controls, oldest first, then by name.
    pub runs: Vec<OwnedRun>,
    /// The spec of the run that each analysis of the Rollout would start now, or why it cannot.
    pub analyses: BTreeMap<Slot, Result<RunTemplate, SpecError>>,
    /// The newest sample by uid of the run and name of the metric.
    pub samples: BTreeMap<String, BTreeMap<String, Sample>>,
    /// `None` where the kind is not installed or not readable: serin then works without records.
    pub record: Option<Record>,
    /// Whether `RolloutRecord` and `SelfHeal` can be written at all.
    pub records_available: bool,
    /// Who carried how much traffic lately. Process memory.
    pub exposure: ExposureHistory,
    /// What our last requests for this Rollout came to. Process memory.
    pub last: Vec<Attempt>,
    pub settings: Settings,
}

/// Flags that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long after a weight change the data plane may still serve the old split.
    pub data_plane_delay: Duration,
    pub outage: OutageMode,
}

/// A Rollout: who it is, what it asks for, and what its status remembers.
#[derive(Clone, Debug)]
pub struct Rollout {
    pub key: Key,
    pub uid: Uid,
    pub generation: i64,
    pub resource_version: String,
    pub is_deleted: bool,
    /// Labels and annotations as they stand, for copies onto ReplicaSets and runs.
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub spec: Result<Arc<Spec>, SpecError>,
    /// How traffic is routed, as far as it can be read even from a spec that is refused: enough to shed.
    pub traffic: Option<Traffic>,
    pub memory: Memory,
}

/// The routes that a Rollout steers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub services: Services,
    pub virtual_service: Key,
    /// Names of http routes; empty selects the only one.
    pub routes: Vec<String>,
}

/// A ReplicaSet that a Rollout controls.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    pub name: String,
    pub uid: Uid,
    pub resource_version: String,
    pub created: Timestamp,
    pub is_deleted: bool,
    pub hash: PodHash,
    /// Annotation `rollout.argoproj.io/revision`; 0 where absent or unreadable.
    pub revision: i64,
    /// Annotation `rollout.argoproj.io/desired-replicas`.
    pub desired: Option<i32>,
    /// Annotation `scale-down-deadline`.
    pub deadline: Option<Timestamp>,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.replicas`, `readyReplicas`, `availableReplicas`.
    pub created_pods: i32,
    pub ready: i32,
    pub available: i32,
    /// Container name to image.
    pub images: BTreeMap<String, String>,
}

impl ReplicaSet {
    /// Pods that can be counted on: available, and not more than are asked for.
    pub fn serving(&self) -> i32 {
        self.available.max(0)
    }
}

/// A Service that a route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub resource_version: String,
    /// Which pods it selects; `None` where its selector carries no hash: it then selects pods of every version.
    pub selected: Option<PodHash>,
    /// Annotation `argo-rollouts.argoproj.io/managed-by-rollouts`.
    pub managed_by: Option<String>,
    pub has_annotations: bool,
}

/// The VirtualService, reduced to the routes that the Rollout steers.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualService {
    pub key: Key,
    /// The API version its requests use, for instance `networking.istio.io/v1alpha3`.
    pub resource_version: String,
    pub has_annotations: bool,
    /// Annotation `serin.dev/hands-off: "true"`: weights are never raised.
    pub is_hands_off: bool,
    /// The steered routes, or why they cannot be told.
    pub routes: Result<Vec<Route>, SpecError>,
    /// The mark that a shed left for this Rollout, as far as it can be read.
    pub mark: Option<super::mark::ShedMark>,
    /// Whether the mark's annotation is there at all, readable or not.
    pub has_mark: bool,
    /// Who wrote last but serin, by managedFields, where nobody wrote later. In doubt (two in the same second) it is
    /// the other one.
    pub last_writer: Option<String>,
    /// The second of the last write to the routes, by managedFields.
    pub last_written_at: Option<Timestamp>,
    /// Whether serin wrote in the second of the last write.
    pub is_last_written_by_us: bool,
    /// The index of serin's own entry in managedFields, while it owns something.
    pub own_entry: Option<usize>,
}

/// One http route with its weighted destinations.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its index in `spec.http`.
    pub index: usize,
    pub name: Option<String>,
    pub destinations: Vec<Destination>,
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    pub side: Side,
    /// `weight` as it stands; absent is `None` and counts as 0.
    pub weight: Option<i64>,
    /// `destination` as it stands: requests test it before they touch the weight beside it.
    pub destination: Arc<Value>,
}

/// Which side of the split a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Canary,
    Stable,
    /// A stranger: left alone.
    Other,
}

impl Route {
    /// The share of this route's traffic that `side` gets, rounded up.
    pub fn share(&self, side: Side) -> Weight {
        // No number of 64-bit weights overflows 128: at a limit each side would seem to have everything.
        let weight = |destination: &Destination| i128::from(destination.weight.unwrap_or(0).max(0));
        let part: i128 = self.destinations.iter().filter(|d| d.side == side).map(weight).sum();
        let whole: i128 = self.destinations.iter().map(weight).sum();
        Weight::share(part, whole)
    }
}

impl VirtualService {
    /// The largest share that `side` gets on any steered route; 0 where the routes cannot be told.
    pub fn share(&self, side: Side) -> Weight {
        self.routes.iter().flatten().map(|route| route.share(side)).max().unwrap_or(Weight::ZERO)
    }

    /// The smallest share that `side` gets on any steered route.
    pub fn least_share(&self, side: Side) -> Weight {
        self.routes.iter().flatten().map(|route| route.share(side)).min().unwrap_or(Weight::ZERO)
    }
}

/// Which of a Rollout's analyses a run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    Background,
    /// The inline analysis of the step with this index.
    Step(usize),
}

/// An AnalysisRun that a Rollout controls.
#[derive(Clone, Debug)]
pub struct OwnedRun {
    pub run: Run,
    pub resource_version: String,
    pub created: Timestamp,
    pub is_deleted: bool,
    /// Its hash label.
    pub hash: Option<PodHash>,
    /// From its labels `rollout-type` and `step-index`; `None` where they say something else.
    pub slot: Option<Slot>,
    /// `spec` as it stands, to tell whether an existing run is the one we would start.
    pub spec: Arc<Value>,
}

/// What a new AnalysisRun would hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTemplate {
    pub spec: Arc<Value>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Who carried how much traffic, and since when we have been watching. A restart begins it anew.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposureHistory {
    /// When this process began to observe the Rollout.
    pub since: Timestamp,
    /// When the newest note was made: by the clock, and by one that nobody can set.
    pub noted: Option<(Timestamp, Duration)>,
    /// What is seen now, and since when.
    pub present: Option<(Timestamp, Exposure)>,
    /// What was seen before it within the last data-plane delay, each once, with the time at which it was over.
    pub past: Vec<(Timestamp, Exposure)>,
    /// What nobody has seen but may have been: each once, with the time until which it may have been.
    pub unseen: Vec<(Timestamp, Exposure)>,
    /// When weights that somebody else had lowered were put back, newest last, at most `Record::KEPT_REASSERTS`.
    pub put_back: Vec<Timestamp>,
}

/// Who carries how much traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// By side of the split.
    pub canary: Weight,
    pub stable: Weight,
    /// The version that each side's Service selects; `None` where its selector carries no hash.
    pub canary_leads_to: Option<PodHash>,
    pub stable_leads_to: Option<PodHash>,
}
