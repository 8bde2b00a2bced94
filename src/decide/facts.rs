//! What follows directly from an observation: which ReplicaSet is which, and what carries traffic.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::Memory,
    observed::{Exposure, Observed, ReplicaSet, Service, Side},
    spec::Spec,
};
use crate::domain::{PodHash, Weight};

/// An observation of a valid Rollout with its ReplicaSets sorted out.
pub(super) struct Facts<'a> {
    pub(super) observed: &'a Observed,
    pub(super) spec: &'a Spec,
    pub(super) memory: &'a Memory,
    pub(super) now: Timestamp,
    /// The version that the spec asks for.
    pub(super) new: Option<&'a ReplicaSet>,
    /// The version that is remembered as stable.
    pub(super) stable: Option<&'a ReplicaSet>,
    /// All others, oldest first.
    pub(super) others: Vec<&'a ReplicaSet>,
    pub(super) exposure: Exposure,
}

impl<'a> Facts<'a> {
    pub(super) fn of(observed: &'a Observed, spec: &'a Spec, now: Timestamp) -> Self {
        let memory = &observed.rollout.memory;
        let find = |hash: Option<&PodHash>| {
            observed.replica_sets.iter().find(|set| Some(&set.hash) == hash && !set.is_deleted)
        };
        let new = find(observed.new_hash.as_ref());
        let stable = find(memory.stable.as_ref());
        let is_special = |set: &&ReplicaSet| {
            [new, stable].iter().flatten().any(|special| special.uid == set.uid) || set.is_deleted
        };
        let others = observed.replica_sets.iter().filter(|set| !is_special(set)).collect();
        Self { observed, spec, memory, now, new, stable, others, exposure: Exposure::of(observed) }
    }

    /// The version that the spec asks for is the stable one.
    pub(super) fn is_promoted(&self) -> bool {
        self.new.is_some_and(|new| self.memory.stable.as_ref() == Some(&new.hash))
    }

    /// The template or the steps are not those that the status knows.
    pub(super) fn is_changed(&self) -> bool {
        let hash = self.new.map(|new| &new.hash);
        self.memory.current.as_ref() != hash
            || self.memory.step_hash.as_deref() != Some(self.spec.step_hash.as_str())
    }

    pub(super) fn delay(&self) -> Duration {
        self.observed.settings.data_plane_delay
    }

    /// The canary's live weight on the route where it is largest.
    pub(super) fn live(&self) -> Weight {
        self.exposure.canary
    }

    /// True when `side` has carried nothing for the data-plane delay.
    pub(super) fn is_idle(&self, side: Side) -> bool {
        self.observed.exposure.held(self.now, self.delay(), |seen| seen.share(side) == Weight::ZERO)
    }

    /// When `side` will have carried nothing for the data-plane delay, if it carries nothing now.
    pub(super) fn idle_at(&self, side: Side) -> Option<Timestamp> {
        self.observed
            .exposure
            .since(|seen| seen.share(side) == Weight::ZERO)
            .map(|since| self.after(since, self.delay()))
    }

    /// The largest share that may still reach `hash`.
    pub(super) fn lingering(&self, hash: &PodHash) -> Weight {
        self.observed.exposure.largest(self.now, self.delay(), |seen| seen.of_hash(hash))
    }

    /// When traffic to `hash` will have died down, if none is sent to it now.
    pub(super) fn drained_at(&self, hash: &PodHash) -> Option<Timestamp> {
        let since = self.observed.exposure.since(|seen| seen.of_hash(hash) == Weight::ZERO);
        since.map(|since| self.after(since, self.delay()))
    }

    pub(super) fn service(&self, side: Side) -> Option<&'a Service> {
        match side {
            Side::Canary => self.observed.canary_service.as_ref(),
            Side::Stable => self.observed.stable_service.as_ref(),
            Side::Other => None,
        }
    }

    /// Whether a Service of the Rollout selects this version.
    pub(super) fn is_selected(&self, hash: &PodHash) -> bool {
        [Side::Canary, Side::Stable].iter().any(|side| self.exposure.leads_to(*side) == Some(hash))
    }

    pub(super) fn after(&self, time: Timestamp, wait: Duration) -> Timestamp {
        time.saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MAX)
    }

    /// The next free revision number.
    pub(super) fn next_revision(&self) -> i64 {
        self.observed.replica_sets.iter().map(|set| set.revision).max().unwrap_or(0).saturating_add(1)
    }
}
