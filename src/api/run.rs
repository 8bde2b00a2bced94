//! AnalysisRun objects with what a Rollout needs to know of them: whose they are and which analysis they belong to.

use std::sync::Arc;

use serde_json::Value;

use super::{analysis, read, workload};
use crate::{
    decide::observed::{OwnedRun, Slot},
    domain::{PodHash, Uid},
};

/// An AnalysisRun as the stores keep it.
#[derive(Clone, Debug)]
pub struct StoredRun {
    pub owned: OwnedRun,
    /// Uid of the controller in its owner references; `None` for a run that somebody made by hand.
    pub owner: Option<Uid>,
}

/// Reads any JSON as an AnalysisRun.
pub fn parse(object: &Value) -> StoredRun {
    let label = |key: &str| read::text(object, &["metadata", "labels", key]);
    let slot = match label("rollout-type") {
        Some("Background") => Some(Slot::Background),
        Some("Step") => label("step-index").and_then(|index| index.parse().ok()).map(Slot::Step),
        _ => None,
    };
    StoredRun {
        owned: OwnedRun {
            run: analysis::parse_run(object),
            resource_version: read::owned(object, &["metadata", "resourceVersion"]),
            created: read::time(object, &["metadata", "creationTimestamp"])
                .unwrap_or(jiff::Timestamp::UNIX_EPOCH),
            is_deleted: read::at(object, &["metadata", "deletionTimestamp"]).is_some(),
            hash: label(workload::HASH_LABEL).and_then(PodHash::new),
            slot,
            spec: Arc::new(object.get("spec").cloned().unwrap_or_default()),
        },
        owner: workload::controller_of(object),
    }
}
