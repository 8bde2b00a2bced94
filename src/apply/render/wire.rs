//! What the requests carry, as the wire has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    decide::{
        analysis::Evidence,
        mark::ShedMark,
        memory::{Condition, Memory, RunStatus, WeightOf},
        plan::Owner,
        record::{AbortCause, AbortRecord, Record, Version},
    },
    domain::Uid,
};

pub(super) use crate::api::{analysis::print_status as run_status, merge::diff as difference};

/// Longest text of a mark's free fields, so that the mark stays under 1 KiB.
const MARK_TEXT: usize = 160;

/// The annotation that a shed leaves on a VirtualService.
pub(super) fn mark_key(rollout: &Uid) -> String {
    format!("shed.serin.dev/{rollout}")
}

/// The mark's text: JSON of at most 1 KiB.
pub(super) fn mark(mark: &ShedMark) -> String {
    let cut = |text: &str| text.chars().take(MARK_TEXT).collect::<String>();
    json!({
        "hash": mark.hash.as_str(),
        "run": mark.run,
        "metric": cut(&mark.verdict.metric),
        "verdict": mark.verdict.verdict.as_str(),
        "value": cut(&mark.verdict.value),
        "message": cut(&mark.verdict.message),
        "noData": mark.verdict.no_data,
        "limit": cut(&mark.limit),
        "weightBefore": mark.weight_before.percent(),
        "at": mark.verdict.at.to_string(),
    })
    .to_string()
}

/// `status` of a Rollout.
pub(super) fn rollout_status(memory: &Memory) -> Value {
    let mut canary = Map::new();
    if let Some(weights) = &memory.weights {
        let side = |side: &WeightOf| {
            json!({
                "weight": side.weight.percent(),
                "podTemplateHash": side.hash.as_ref().map(ToString::to_string),
                "serviceName": side.service,
            })
        };
        canary.insert(
            "weights".to_owned(),
            json!({ "canary": side(&weights.canary), "stable": side(&weights.stable) }),
        );
    }
    for (name, run) in [
        ("currentStepAnalysisRunStatus", &memory.step_run),
        ("currentBackgroundAnalysisRunStatus", &memory.background_run),
    ] {
        if let Some(RunStatus { name: run, phase, message }) = run {
            canary.insert(
                name.to_owned(),
                json!({ "name": run, "status": phase.as_str(), "message": message }),
            );
        }
    }
    present(json!({
        "observedGeneration": memory.observed_generation.map(|generation| generation.to_string()),
        "phase": memory.phase.map(|phase| phase.to_string()),
        "message": memory.message,
        "conditions": memory.conditions.iter().map(condition).collect::<Vec<_>>(),
        "currentPodHash": memory.current.as_ref().map(ToString::to_string),
        "stableRS": memory.stable.as_ref().map(ToString::to_string),
        "currentStepHash": memory.step_hash,
        "currentStepIndex": memory.step_index,
        "abort": memory.abort.then_some(true),
        "canary": canary,
    }))
}

/// Without what is null: absent on the wire.
fn present(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

fn condition(condition: &Condition) -> Value {
    json!({
        "type": condition.kind,
        "status": condition.status.to_string(),
        "reason": condition.reason,
        "message": condition.message,
        "lastUpdateTime": second(condition.last_update),
        "lastTransitionTime": second(condition.last_transition),
    })
}

/// `status.controller` of a RolloutRecord.
pub(super) fn record(record: &Record) -> Value {
    let abort = record.abort.as_ref();
    present(json!({
        "cause": abort.map(|abort| cause(abort.cause)),
        "evidence": abort.map(evidence),
        "provenance": record.provenance.iter().rev().map(|promoted| json!({
            "hash": promoted.version.hash.as_str(),
            "images": promoted.version.images,
            "promotedAt": second(promoted.at),
        })).collect::<Vec<_>>(),
        "denied": abort.iter().map(|abort| json!({
            "hash": abort.bad.hash.as_str(),
            "images": abort.bad.images,
            "cause": cause(abort.cause),
            "deniedAt": second(abort.at),
        })).collect::<Vec<_>>(),
        "selfHeals": record.self_heals.iter().rev().collect::<Vec<_>>(),
    }))
}

/// `spec` of a SelfHeal.
pub(super) fn intent(abort: &AbortRecord, owner: &Owner) -> Value {
    json!({
        "rolloutRef": { "name": owner.key.name, "uid": owner.uid.0 },
        "bad": version(&abort.bad),
        "good": version(&abort.good),
        "cause": cause(abort.cause),
        "evidence": evidence(abort),
    })
}

fn version(version: &Version) -> Value {
    let images: &BTreeMap<String, String> = &version.images;
    json!({ "hash": version.hash.as_str(), "images": images })
}

fn evidence(abort: &AbortRecord) -> Value {
    let (none, absent) = (Evidence::default(), String::new());
    let measured = abort.evidence.as_ref().unwrap_or(&none);
    let mut fields = json!({ "samples": measured.samples, "weight": abort.weight.percent() });
    if let Some(fields) = fields.as_object_mut() {
        let texts = [
            ("run", abort.run.as_ref().unwrap_or(&absent)),
            ("metric", &measured.metric),
            ("value", &measured.value),
            ("limit", &measured.limit),
            ("query", &measured.query),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        fields.extend(texts.map(|(name, text)| (name.to_owned(), json!(text))));
        let times = [("startedAt", abort.started_at), ("failedAt", measured.failed_at)];
        let times = times.into_iter().filter_map(|(name, at)| Some((name, at?)));
        fields.extend(times.map(|(name, at)| (name.to_owned(), json!(second(at)))));
    }
    fields
}

fn cause(cause: AbortCause) -> &'static str {
    match cause {
        AbortCause::MetricFailed => "MetricFailed",
        AbortCause::NoData => "NoData",
        AbortCause::AnalysisError => "MetricError",
        AbortCause::ProgressDeadline => "ProgressDeadline",
        AbortCause::UserAbort => "UserAbort",
    }
}

fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
