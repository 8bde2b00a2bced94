//! Statuses as merge patches of the difference.

use serde_json::{Value, json};

use super::{Kind, Stage, Step, create, patch, step};
use crate::{
    api::{
        analysis,
        http::{Body, Request},
        merge::diff,
        record, status,
    },
    decide::plan::{Action, Owner, RecordWrite, Remember, RunWrite, StatusWrite},
};

/// AnalysisRuns, then the record, then the Rollout. What does not differ is not written.
pub(super) fn remember(memory: &Remember, owner: &Owner) -> Vec<Step> {
    let runs = memory.runs.iter().filter_map(|write| {
        let request = run_status(write, owner)?;
        Some(step(Stage::Memory, Action::RunStatus(write.name.clone()), request))
    });
    let record = memory.record.iter().flat_map(|write| rollout_record(write, owner));
    let record = record.map(|request| step(Stage::Memory, Action::Record, request));
    let rollout = memory.rollout.as_ref().and_then(|write| rollout_status(write, owner));
    let rollout = rollout.map(|request| step(Stage::Memory, Action::Status, request));
    runs.chain(record).chain(rollout).collect()
}

/// AnalysisRun has no status subresource in the reference's definition: the object itself is patched.
fn run_status(write: &RunWrite, owner: &Owner) -> Option<Request> {
    let status = diff(&analysis::print_status(&write.old), &analysis::print_status(&write.new))?;
    let body = with_version(&write.resource_version, status);
    Some(patch(Kind::AnalysisRun, &owner.key.namespace, &write.name, Body::Merge(body)))
}

fn rollout_status(write: &StatusWrite, owner: &Owner) -> Option<Request> {
    let status = status::patch(&write.old, &write.new)?;
    let body = with_version(&owner.resource_version, status);
    let name = format!("{}/status", owner.key.name);
    Some(patch(Kind::Rollout, &owner.key.namespace, &name, Body::Merge(body)))
}

fn rollout_record(write: &RecordWrite, owner: &Owner) -> Vec<Request> {
    let mut requests = vec![];
    let Some(change) = diff(&record::print(&write.old), &record::print(&write.new)) else {
        return requests;
    };
    let status = json!({ "controller": change });
    let name = format!("{}/status", owner.key.name);
    let body = if write.old.exists {
        with_version(&write.old.resource_version, status)
    } else {
        requests.push(create(Kind::RolloutRecord, &owner.key.namespace, record::new_record(owner)));
        json!({ "status": status })
    };
    requests.push(patch(Kind::RolloutRecord, &owner.key.namespace, &name, Body::Merge(body)));
    requests
}

/// A stale version is answered with 409: observe again.
fn with_version(resource_version: &str, status: Value) -> Value {
    json!({ "metadata": { "resourceVersion": resource_version }, "status": status })
}
