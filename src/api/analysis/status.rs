//! The status of an AnalysisRun on the wire: read whatever is there, print exactly what the reference prints.
//! No I/O.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    api::merge,
    decide::analysis::{Measurement, MetricResult, Phase, RunStatus, Summary},
};

/// Reads a status. What is absent or of another type counts as empty, so any JSON is a status.
pub fn parse_status(wire: &Value) -> RunStatus {
    RunStatus {
        phase: phase(wire),
        message: text(wire, "message"),
        metric_results: list(wire, "metricResults").map(parse_result).collect(),
        started_at: time(wire, "startedAt"),
        completed_at: time(wire, "completedAt"),
        run_summary: wire.get("runSummary").map(parse_summary).unwrap_or_default(),
        dry_run_summary: wire.get("dryRunSummary").filter(|it| it.is_object()).map(parse_summary),
    }
}

/// Prints a status: `phase` and `runSummary` always, zero counters and empty texts never, times in whole seconds.
pub fn print_status(status: &RunStatus) -> Value {
    let mut out = Map::new();
    out.insert("phase".into(), status.phase.as_str().into());
    put_text(&mut out, "message", &status.message);
    let results: Vec<Value> = status.metric_results.iter().map(print_result).collect();
    put_list(&mut out, "metricResults", results);
    put_time(&mut out, "startedAt", status.started_at);
    put_time(&mut out, "completedAt", status.completed_at);
    out.insert("runSummary".into(), print_summary(&status.run_summary));
    if let Some(summary) = &status.dry_run_summary {
        out.insert("dryRunSummary".into(), print_summary(summary));
    }
    Value::Object(out)
}

/// The merge patch, `{"status": ...}`, that books `new` on a run whose status was read as `old`; `None` when nothing
/// changed. AnalysisRuns have no status subresource, so it goes to the object itself. Keys of `old` that serin does
/// not know stay as they are, except inside `metricResults`, which a merge patch replaces whole.
pub fn status_patch(old: Option<&Value>, new: &RunStatus) -> Option<Value> {
    let known = old.map(|wire| {
        let mut known = print_status(&parse_status(wire));
        if let Value::Object(known) = &mut known {
            known.retain(|key, _| wire.get(key).is_some());
        }
        known
    });
    let before = known.unwrap_or_else(|| json!({}));
    merge::diff(&before, &print_status(new)).map(|change| json!({ "status": change }))
}

fn parse_result(wire: &Value) -> MetricResult {
    MetricResult {
        name: text(wire, "name"),
        phase: phase(wire),
        measurements: list(wire, "measurements").map(parse_measurement).collect(),
        message: text(wire, "message"),
        count: number(wire, "count"),
        successful: number(wire, "successful"),
        failed: number(wire, "failed"),
        inconclusive: number(wire, "inconclusive"),
        error: number(wire, "error"),
        consecutive_error: number(wire, "consecutiveError"),
        consecutive_success: number(wire, "consecutiveSuccess"),
        dry_run: wire.get("dryRun").and_then(Value::as_bool).unwrap_or_default(),
        metadata: metadata(wire),
    }
}

fn print_result(result: &MetricResult) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), result.name.as_str().into());
    out.insert("phase".into(), result.phase.as_str().into());
    let measurements: Vec<Value> = result.measurements.iter().map(print_measurement).collect();
    put_list(&mut out, "measurements", measurements);
    put_text(&mut out, "message", &result.message);
    put_number(&mut out, "count", result.count);
    put_number(&mut out, "successful", result.successful);
    put_number(&mut out, "failed", result.failed);
    put_number(&mut out, "inconclusive", result.inconclusive);
    put_number(&mut out, "error", result.error);
    put_number(&mut out, "consecutiveError", result.consecutive_error);
    put_number(&mut out, "consecutiveSuccess", result.consecutive_success);
    if result.dry_run {
        out.insert("dryRun".into(), true.into());
    }
    put_metadata(&mut out, &result.metadata);
    Value::Object(out)
}

fn parse_measurement(wire: &Value) -> Measurement {
    Measurement {
        phase: phase(wire),
        message: text(wire, "message"),
        started_at: time(wire, "startedAt"),
        finished_at: time(wire, "finishedAt"),
        value: text(wire, "value"),
        metadata: metadata(wire),
        resume_at: time(wire, "resumeAt"),
    }
}

fn print_measurement(measurement: &Measurement) -> Value {
    let mut out = Map::new();
    out.insert("phase".into(), measurement.phase.as_str().into());
    put_text(&mut out, "message", &measurement.message);
    put_time(&mut out, "startedAt", measurement.started_at);
    put_time(&mut out, "finishedAt", measurement.finished_at);
    put_text(&mut out, "value", &measurement.value);
    put_metadata(&mut out, &measurement.metadata);
    put_time(&mut out, "resumeAt", measurement.resume_at);
    Value::Object(out)
}

fn parse_summary(wire: &Value) -> Summary {
    Summary {
        count: number(wire, "count"),
        successful: number(wire, "successful"),
        failed: number(wire, "failed"),
        inconclusive: number(wire, "inconclusive"),
        error: number(wire, "error"),
    }
}

fn print_summary(summary: &Summary) -> Value {
    let mut out = Map::new();
    put_number(&mut out, "count", summary.count);
    put_number(&mut out, "successful", summary.successful);
    put_number(&mut out, "failed", summary.failed);
    put_number(&mut out, "inconclusive", summary.inconclusive);
    put_number(&mut out, "error", summary.error);
    Value::Object(out)
}

fn phase(wire: &Value) -> Phase {
    Phase::parse(wire.get("phase").and_then(Value::as_str).unwrap_or_default())
}

fn text(wire: &Value, key: &str) -> String {
    wire.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(wire: &Value, key: &str) -> i64 {
    wire.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn time(wire: &Value, key: &str) -> Option<Timestamp> {
    wire.get(key)?.as_str()?.parse().ok()
}

fn list<'a>(wire: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    wire.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn metadata(wire: &Value) -> BTreeMap<String, String> {
    let entries = wire.get("metadata").and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn put_text(out: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        out.insert(key.into(), text.into());
    }
}

fn put_number(out: &mut Map<String, Value>, key: &str, number: i64) {
    if number != 0 {
        out.insert(key.into(), number.into());
    }
}

fn put_list(out: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        out.insert(key.into(), list.into());
    }
}

fn put_time(out: &mut Map<String, Value>, key: &str, time: Option<Timestamp>) {
    if let Some(time) = time {
        let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
        out.insert(key.into(), whole.to_string().into());
    }
}

fn put_metadata(out: &mut Map<String, Value>, metadata: &BTreeMap<String, String>) {
    if !metadata.is_empty() {
        let entries = metadata.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        out.insert("metadata".into(), Value::Object(entries.collect()));
    }
}
