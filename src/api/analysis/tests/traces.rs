//! What the reference controller was seen to write, value for value: shapes, texts, counters.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    api::analysis::{parse_run, print_status, status_patch},
    decide::analysis::{OutageMode, Outcome, Sample, step},
    domain::value::MetricValue,
};

/// Plays `answers`, one vector each, against a run with `metric` as the reference played them, and returns the
/// object as the store ends up with it. Serin's own marks are taken out.
fn played(metric: Value, answers: &[&[f64]]) -> Value {
    let mut object = json!({
        "metadata": {"name": "shop-bb846f444-2", "namespace": "shop", "uid": "u"},
        "spec": {"args": [{"name": "service-name", "value": "shop-canary"}], "metrics": [metric]},
        "status": {"phase": "", "runSummary": {}},
    });
    let mut now: Timestamp = "2026-11-21T11:05:07Z".parse().unwrap();
    pass(&mut object, &BTreeMap::new(), now);
    for numbers in answers {
        let run = parse_run(&object);
        let want = step(&run, &BTreeMap::new(), now, OutageMode::Hold).wants.remove(0);
        now = now.max(want.due);
        let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
        let outcome = Outcome::Value {
            value: MetricValue::Floats(numbers.to_vec()),
            text: format!("[{}]", texts.join(",")),
        };
        let fraction = SignedDuration::from_millis(700);
        let sample = Sample {
            ordinal: want.ordinal,
            started_at: now,
            finished_at: now + fraction,
            outcome,
            metadata: BTreeMap::new(),
        };
        pass(&mut object, &BTreeMap::from([(want.metric, sample)]), now + fraction);
    }
    let status = object.get_mut("status").unwrap();
    for result in status["metricResults"].as_array_mut().unwrap() {
        strip(result);
        result["measurements"].as_array_mut().unwrap().iter_mut().for_each(strip);
    }
    status.clone()
}

fn pass(object: &mut Value, samples: &BTreeMap<String, Sample>, now: Timestamp) {
    let step = step(&parse_run(object), samples, now, OutageMode::Hold);
    if let Some(patch) = status_patch(object.get("status"), &step.status) {
        json_patch::merge(object, &patch);
    }
    assert_eq!(object["status"], print_status(&step.status));
}

fn strip(holder: &mut Value) {
    let holder = holder.as_object_mut().unwrap();
    if let Some(Value::Object(metadata)) = holder.get_mut("metadata") {
        metadata.retain(|key, _| !key.starts_with("serin.dev/"));
        if metadata.is_empty() {
            holder.remove("metadata");
        }
    }
}

fn metric(more: Value) -> Value {
    let mut metric = json!({
        "failureLimit": 2, "interval": "2s", "name": "error-rate", "successCondition": "result[0] < 0.05",
        "provider": {"prometheus": {
            "address": "http://127.0.0.1:19090",
            "authentication": {"basicAuth": {}, "oauth2": {}, "sigv4": {}},
            "query": "errors{run=\"trace\"}",
        }},
    });
    json_patch::merge(&mut metric, &more);
    metric
}

fn measured(phase: &str, second: u32, value: &str) -> Value {
    let at = format!("2026-11-21T11:05:{second:02}Z");
    json!({"phase": phase, "startedAt": at, "finishedAt": at, "value": value})
}

#[test]
fn a_background_run_that_fails() {
    let (good, bad): (&[f64], &[f64]) = (&[0.01], &[0.08]);
    let status = played(metric(json!({})), &[good, good, good, bad, bad, bad]);
    let expected = json!({
        "phase": "Failed",
        "message": "Metric \"error-rate\" assessed Failed due to failed (3) > failureLimit (2)",
        "startedAt": "2026-11-21T11:05:07Z",
        "completedAt": "2026-11-21T11:05:17Z",
        "runSummary": {"count": 1, "failed": 1},
        "dryRunSummary": {},
        "metricResults": [{
            "name": "error-rate", "phase": "Failed", "count": 6, "successful": 3, "failed": 3,
            "metadata": {"ResolvedPrometheusQuery": "errors{run=\"trace\"}"},
            "measurements": [
                measured("Successful", 7, "[0.01]"), measured("Successful", 9, "[0.01]"),
                measured("Successful", 11, "[0.01]"), measured("Failed", 13, "[0.08]"),
                measured("Failed", 15, "[0.08]"), measured("Failed", 17, "[0.08]"),
            ],
        }],
    });
    assert_eq!(status, expected);
}

#[test]
fn an_inline_run_that_succeeds() {
    let status = played(metric(json!({"count": 2})), &[&[0.01], &[0.01]]);
    let expected = json!({
        "phase": "Successful",
        "startedAt": "2026-11-21T11:05:07Z",
        "completedAt": "2026-11-21T11:05:09Z",
        "runSummary": {"count": 1, "successful": 1},
        "dryRunSummary": {},
        "metricResults": [{
            "name": "error-rate", "phase": "Successful", "count": 2, "successful": 2, "consecutiveSuccess": 2,
            "metadata": {"ResolvedPrometheusQuery": "errors{run=\"trace\"}"},
            "measurements": [measured("Successful", 7, "[0.01]"), measured("Successful", 9, "[0.01]")],
        }],
    });
    assert_eq!(status, expected);
}

#[test]
fn a_run_without_data_and_without_a_policy() {
    let empty: &[f64] = &[];
    let status = played(metric(json!({"count": 10})), &[empty; 5]);
    let text = "could not evaluate successCondition \"result[0] < 0.05\": metric result is nil or empty: \
                no data returned from the metric provider";
    let error = |second: u32| {
        let at = format!("2026-11-21T11:05:{second:02}Z");
        json!({"phase": "Error", "startedAt": at, "finishedAt": at, "message": text})
    };
    let expected = json!({
        "phase": "Error",
        "message": format!(
            "Metric \"error-rate\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \
             \"Error Message: {text}\""
        ),
        "startedAt": "2026-11-21T11:05:07Z",
        "completedAt": "2026-11-21T11:05:47Z",
        "runSummary": {"count": 1, "error": 1},
        "dryRunSummary": {},
        "metricResults": [{
            "name": "error-rate", "phase": "Error", "error": 5, "consecutiveError": 5, "message": text,
            "metadata": {"ResolvedPrometheusQuery": "errors{run=\"trace\"}"},
            "measurements": [error(7), error(17), error(27), error(37), error(47)],
        }],
    });
    assert_eq!(status, expected);
}
