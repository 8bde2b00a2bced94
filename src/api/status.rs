//! `status` of a Rollout: its only reader and its only writer.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::read;
use crate::{
    decide::{
        analysis::Phase as RunPhase,
        memory::{
            Condition, ConditionStatus, Counts, Memory, Pause, PauseReason, RunStatus, WeightOf, Weights,
        },
    },
    domain::{PodHash, Weight},
};

/// Reads a status. What is absent or of another type counts as absent, so any JSON is a status.
pub fn parse(status: &Value) -> Memory {
    let canary = |key: &str| read::at(status, &["canary", key]);
    Memory {
        observed_generation: read::text(status, &["observedGeneration"]).and_then(|text| text.parse().ok()),
        phase: read::text(status, &["phase"]).and_then(|text| text.parse().ok()),
        message: read::owned(status, &["message"]),
        conditions: read::list(status, &["conditions"]).iter().filter_map(condition).collect(),
        current: read::text(status, &["currentPodHash"]).and_then(PodHash::new),
        stable: read::text(status, &["stableRS"]).and_then(PodHash::new),
        step_hash: read::text(status, &["currentStepHash"]).map(str::to_owned),
        step_index: read::int(status, &["currentStepIndex"]),
        counts: Counts {
            replicas: read::count(status, &["replicas"]),
            updated: read::count(status, &["updatedReplicas"]),
            ready: read::count(status, &["readyReplicas"]),
            available: read::count(status, &["availableReplicas"]),
        },
        selector: read::owned(status, &["selector"]),
        pauses: read::list(status, &["pauseConditions"]).iter().filter_map(pause).collect(),
        controller_pause: read::flag(status, &["controllerPause"]),
        abort: read::flag(status, &["abort"]),
        aborted_at: read::time(status, &["abortedAt"]),
        promote_full: read::flag(status, &["promoteFull"]),
        collision_count: read::int(status, &["collisionCount"]).and_then(|count| i32::try_from(count).ok()),
        weights: canary("weights").map(weights),
        step_run: canary("currentStepAnalysisRunStatus").and_then(run),
        background_run: canary("currentBackgroundAnalysisRunStatus").and_then(run),
    }
}

fn condition(wire: &Value) -> Option<Condition> {
    let last_transition = read::time(wire, &["lastTransitionTime"]).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(Condition {
        kind: read::text(wire, &["type"])?.to_owned(),
        status: read::text(wire, &["status"])?.parse().ok()?,
        reason: read::owned(wire, &["reason"]),
        message: read::owned(wire, &["message"]),
        last_update: read::time(wire, &["lastUpdateTime"]).unwrap_or(last_transition),
        last_transition,
    })
}

fn pause(wire: &Value) -> Option<Pause> {
    let reason = match read::text(wire, &["reason"])? {
        "CanaryPauseStep" => PauseReason::CanaryPauseStep,
        "InconclusiveAnalysisRun" => PauseReason::InconclusiveAnalysisRun,
        other => PauseReason::Other(other.to_owned()),
    };
    Some(Pause { reason, since: read::time(wire, &["startTime"])? })
}

fn weights(wire: &Value) -> Weights {
    let of = |side: &str| WeightOf {
        weight: Weight::share(read::int(wire, &[side, "weight"]).unwrap_or(0), 100),
        hash: read::text(wire, &[side, "podTemplateHash"]).and_then(PodHash::new),
        service: read::owned(wire, &[side, "serviceName"]),
    };
    Weights { canary: of("canary"), stable: of("stable") }
}

fn run(wire: &Value) -> Option<RunStatus> {
    Some(RunStatus {
        name: read::text(wire, &["name"]).filter(|name| !name.is_empty())?.to_owned(),
        phase: RunPhase::parse(read::text(wire, &["status"]).unwrap_or_default()),
        message: read::owned(wire, &["message"]),
    })
}

/// Prints a status as the reference writes it: zero counts and empty texts are left out, `canary` and `blueGreen` are
/// always there.
pub fn print(memory: &Memory) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    let hash = |hash: &Option<PodHash>| hash.as_ref().map(|hash| Value::from(hash.as_str()));
    let some = |text: &str| (!text.is_empty()).then(|| Value::from(text));
    let count = |count: i32| (count != 0).then(|| Value::from(count));
    let flag = |flag: bool| flag.then_some(Value::Bool(true));
    put(
        "observedGeneration",
        memory.observed_generation.map(|generation| Value::from(generation.to_string())),
    );
    put("phase", memory.phase.map(|phase| Value::from(phase.to_string())));
    put("message", some(&memory.message));
    put("conditions", list(memory.conditions.iter().map(print_condition)));
    put("currentPodHash", hash(&memory.current));
    put("stableRS", hash(&memory.stable));
    put("currentStepHash", memory.step_hash.as_deref().map(Value::from));
    put("currentStepIndex", memory.step_index.map(Value::from));
    put("replicas", count(memory.counts.replicas));
    put("updatedReplicas", count(memory.counts.updated));
    put("readyReplicas", count(memory.counts.ready));
    put("availableReplicas", count(memory.counts.available));
    put("HPAReplicas", count(memory.counts.replicas));
    put("selector", some(&memory.selector));
    let pause = |pause: &Pause| json!({"reason": pause.reason.as_str(), "startTime": time(pause.since)});
    put("pauseConditions", list(memory.pauses.iter().map(pause)));
    put("controllerPause", flag(memory.controller_pause));
    put("abort", flag(memory.abort));
    put("abortedAt", memory.aborted_at.map(|at| Value::from(time(at))));
    put("promoteFull", flag(memory.promote_full));
    put("collisionCount", memory.collision_count.map(Value::from));
    put("canary", Some(print_canary(memory)));
    put("blueGreen", Some(json!({})));
    Value::Object(out)
}

fn list(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

fn print_canary(memory: &Memory) -> Value {
    let mut canary = Map::new();
    if let Some(weights) = &memory.weights {
        let side = |of: &WeightOf| {
            let mut side = Map::new();
            side.insert("weight".to_owned(), of.weight.percent().into());
            if let Some(hash) = &of.hash {
                side.insert("podTemplateHash".to_owned(), hash.as_str().into());
            }
            if !of.service.is_empty() {
                side.insert("serviceName".to_owned(), of.service.as_str().into());
            }
            Value::Object(side)
        };
        canary.insert(
            "weights".to_owned(),
            json!({"canary": side(&weights.canary), "stable": side(&weights.stable)}),
        );
    }
    let runs = [
        ("currentStepAnalysisRunStatus", &memory.step_run),
        ("currentBackgroundAnalysisRunStatus", &memory.background_run),
    ];
    for (key, run) in runs {
        if let Some(run) = run {
            let mut printed = json!({"name": run.name, "status": run.phase.as_str()});
            if !run.message.is_empty() {
                printed["message"] = run.message.as_str().into();
            }
            canary.insert(key.to_owned(), printed);
        }
    }
    Value::Object(canary)
}

fn print_condition(condition: &Condition) -> Value {
    json!({
        "type": condition.kind,
        "status": condition.status.to_string(),
        "reason": condition.reason,
        "message": condition.message,
        "lastUpdateTime": time(condition.last_update),
        "lastTransitionTime": time(condition.last_transition),
    })
}

/// A time as the wire has it: UTC, whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// The merge patch that turns the status that was read into the one that was decided; `None` when nothing changed.
pub fn patch(old: &Memory, new: &Memory) -> Option<Value> {
    super::merge::diff(&print(old), &print(new))
}

impl ConditionStatus {
    /// True for `True`.
    pub fn is_true(self) -> bool {
        self == Self::True
    }
}
