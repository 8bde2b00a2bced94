//! Objects as the oracle reads them: straight from the JSON that the world holds, by its own reading of the API.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::super::store::at;

pub(super) const HASH: &str = "rollouts-pod-template-hash";

/// The text at a pointer; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn flag(object: &Value, pointer: &str) -> bool {
    at(object, pointer).and_then(Value::as_bool).unwrap_or(false)
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A step as far as the laws need it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Weight(i64),
    /// In seconds; `None` without an end.
    Pause(Option<i64>),
    Analysis,
    Other,
}

/// A Rollout's wish and memory.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    pub(super) replicas: i64,
    pub(super) is_paused: bool,
    pub(super) steps: Vec<Step>,
    /// The step from which the background analysis runs.
    pub(super) background: Option<usize>,
    pub(super) stable: String,
    pub(super) current: String,
    pub(super) step_hash: String,
    pub(super) index: Option<usize>,
    pub(super) abort: bool,
    pub(super) promote_full: bool,
    pub(super) controller_pause: bool,
    /// Reason and start of each pause.
    pub(super) pauses: Vec<(String, Option<Timestamp>)>,
    pub(super) is_contested: bool,
    pub(super) phase: String,
}

impl Rollout {
    pub(super) fn read(object: &Value) -> Self {
        let canary = "/spec/strategy/canary";
        let pauses = list(object, "/status/pauseConditions").iter();
        let contested =
            |one: &&Value| text(one, "/type") == "TrafficContested" && text(one, "/status") == "True";
        Self {
            replicas: at(object, "/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
            is_paused: flag(object, "/spec/paused"),
            steps: list(object, &format!("{canary}/steps")).iter().map(step).collect(),
            background: object
                .pointer(&format!("{canary}/analysis"))
                .map(|analysis| usize::try_from(number(analysis, "/startingStep")).unwrap_or(0)),
            stable: text(object, "/status/stableRS").to_owned(),
            current: text(object, "/status/currentPodHash").to_owned(),
            step_hash: text(object, "/status/currentStepHash").to_owned(),
            index: object
                .pointer("/status/currentStepIndex")
                .and_then(Value::as_i64)
                .map(|index| usize::try_from(index).unwrap_or(0)),
            abort: flag(object, "/status/abort"),
            promote_full: flag(object, "/status/promoteFull"),
            controller_pause: flag(object, "/status/controllerPause"),
            pauses: pauses
                .map(|pause| (text(pause, "/reason").to_owned(), text(pause, "/startTime").parse().ok()))
                .collect(),
            is_contested: list(object, "/status/conditions").iter().any(|one| contested(&one)),
            phase: text(object, "/status/phase").to_owned(),
        }
    }

    pub(super) fn is_promoted(&self) -> bool {
        !self.stable.is_empty() && self.stable == self.current
    }

    /// The weight that the steps permit: the last one at or before the present step, all of it past the last.
    pub(super) fn weight_of_steps(&self) -> i64 {
        let index = self.index.unwrap_or(0);
        if self.promote_full || index >= self.steps.len() {
            return 100;
        }
        let upto = self.steps.iter().take(index + 1).rev();
        let weight = |step: &Step| if let Step::Weight(weight) = step { Some(*weight) } else { None };
        upto.filter_map(weight).next().unwrap_or(0)
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.pauses.iter().any(|(reason, _)| reason == "InconclusiveAnalysisRun")
    }
}

fn step(step: &Value) -> Step {
    if let Some(weight) = step.get("setWeight") {
        return Step::Weight(weight.as_i64().unwrap_or(0));
    }
    if let Some(pause) = step.get("pause") {
        let duration = pause.get("duration");
        let seconds = |value: &Value| match value.as_str() {
            Some(text) => text.trim_end_matches('s').parse().ok(),
            None => value.as_i64(),
        };
        return Step::Pause(duration.and_then(seconds));
    }
    if step.get("analysis").is_some() { Step::Analysis } else { Step::Other }
}

/// Who gets how much by a VirtualService: the shares of the routes' two sides, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// On the route where it is largest.
    pub(super) canary: i64,
    /// On the route where it is smallest.
    pub(super) canary_least: i64,
    pub(super) stable: i64,
}

impl Split {
    /// `None` where the object has no route with both sides.
    pub(super) fn read(object: &Value, canary: &str, stable: &str) -> Option<Self> {
        let mut shares = vec![];
        for route in list(object, "/spec/http") {
            let weight = |one: &Value| i128::from(number(one, "/weight").max(0));
            let of = |host: &str| -> i128 {
                let mine = list(route, "/route").iter().filter(|one| text(one, "/destination/host") == host);
                mine.map(weight).sum()
            };
            let whole: i128 = list(route, "/route").iter().map(weight).sum();
            let percent = |part: i128| {
                if whole > 0 { i64::try_from((part * 100 + whole - 1) / whole).unwrap_or(100) } else { 0 }
            };
            let has =
                |host: &str| list(route, "/route").iter().any(|one| text(one, "/destination/host") == host);
            if has(canary) && has(stable) {
                shares.push((percent(of(canary)), percent(of(stable))));
            }
        }
        let canary = shares.iter().map(|(canary, _)| *canary);
        Some(Self {
            canary: canary.clone().max()?,
            canary_least: canary.min()?,
            stable: shares.iter().map(|(_, stable)| *stable).max()?,
        })
    }
}

/// Every weight of every route, for sums.
pub(super) fn weights(object: &Value) -> Vec<Vec<i64>> {
    let of_route = |route: &Value| list(route, "/route").iter().map(|one| number(one, "/weight")).collect();
    list(object, "/spec/http").iter().map(of_route).collect()
}

/// The object without what serin may change on it: weights, its mark, and what the server keeps about writes.
pub(super) fn without_ours(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !key.starts_with("shed.serin.dev/"));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    for route in object.pointer_mut("/spec/http").and_then(Value::as_array_mut).into_iter().flatten() {
        for one in route.get_mut("route").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(one) = one.as_object_mut() {
                one.remove("weight");
            }
        }
    }
    object
}

/// A ReplicaSet.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) hash: String,
    pub(super) replicas: i64,
    pub(super) created: i64,
    pub(super) available: i64,
    pub(super) is_going: bool,
    pub(super) owner: String,
}

impl Set {
    pub(super) fn read(object: &Value) -> Self {
        Self {
            hash: text(object, &format!("/metadata/labels/{HASH}")).to_owned(),
            replicas: at(object, "/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
            created: number(object, "/status/replicas"),
            available: number(object, "/status/availableReplicas"),
            is_going: at(object, "/metadata/deletionTimestamp").is_some(),
            owner: owner(object).to_owned(),
        }
    }
}

/// A ReplicaSet's pod template without the hash.
pub(super) fn template(set: &Value) -> Value {
    let mut template = at(set, "/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    template
}

/// The uid of the controller among an object's owners.
pub(super) fn owner(object: &Value) -> &str {
    let controller = |one: &&Value| flag(one, "/controller");
    list(object, "/metadata/ownerReferences")
        .iter()
        .find(controller)
        .map(|one| text(one, "/uid"))
        .unwrap_or_default()
}

/// The hash that a Service selects; `None` where its selector has none.
pub(super) fn selected(object: &Value) -> Option<&str> {
    at(object, &format!("/spec/selector/{HASH}")).and_then(Value::as_str)
}

/// The hash that each subset of a DestinationRule leads to; empty where it leads to every version.
pub(super) fn subsets(object: &Value) -> BTreeMap<String, String> {
    let hash = |one: &Value| text(one, &format!("/labels/{HASH}")).to_owned();
    list(object, "/spec/subsets").iter().map(|one| (text(one, "/name").to_owned(), hash(one))).collect()
}

/// An AnalysisRun.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) hash: String,
    /// The index of the step it is for; `None` for the background.
    pub(super) step: Option<usize>,
    pub(super) phase: String,
    pub(super) is_terminated: bool,
    /// Measurements by metric: successful, failed.
    pub(super) counts: BTreeMap<String, (i64, i64)>,
}

impl Run {
    /// It has not come to an end.
    pub(super) fn is_going(&self) -> bool {
        !["Successful", "Failed", "Error", "Inconclusive"].contains(&self.phase.as_str())
    }

    pub(super) fn read(object: &Value) -> Self {
        let results = list(object, "/status/metricResults").iter();
        let count = |one: &Value| {
            (text(one, "/name").to_owned(), (number(one, "/successful"), number(one, "/failed")))
        };
        Self {
            hash: text(object, &format!("/metadata/labels/{HASH}")).to_owned(),
            step: text(object, "/metadata/labels/step-index").parse().ok(),
            phase: text(object, "/status/phase").to_owned(),
            is_terminated: flag(object, "/spec/terminate"),
            counts: results.map(count).collect(),
        }
    }
}

/// `⌈replicas · percent / 100⌉`.
pub(super) fn needed(replicas: i64, percent: i64) -> i64 {
    (replicas.max(0) * percent.max(0) + 99) / 100
}
