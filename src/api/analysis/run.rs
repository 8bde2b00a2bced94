//! An AnalysisRun object becomes a `Run`: total, whatever the object holds. No I/O.

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{
    arguments::Arguments,
    field,
    metric::{self, Shape, Times},
    policy::{self, METRIC_POLICY},
    prometheus,
    status::parse_status,
};
use crate::{
    decide::analysis::{Criterion, DEFAULT_RETENTION, Metric, NoData, Run, SpecError, Ttl},
    expr::Condition,
};

/// Most measurements of one metric that are kept, whatever the run asks for: a status must stay small enough to be
/// stored.
const MOST_RETAINED: usize = 200;
/// Errors in a row that are tolerated where the metric does not say.
const DEFAULT_CONSECUTIVE_ERROR_LIMIT: i64 = 4;
/// Largest compiled size of a `metricName` rule, in bytes.
const RULE_BYTES: usize = 1 << 20;

/// Reads an AnalysisRun. A spec that does not hold together is `Err` in `metrics`, nothing else fails.
pub fn parse_run(object: &Value) -> Run {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let flag = |path: &str| object.pointer(path).and_then(Value::as_bool).unwrap_or_default();
    let seconds = |key: &str| object.pointer("/spec/ttlStrategy")?.get(key)?.as_i64();
    Run {
        name: text("/metadata/name").to_owned(),
        namespace: text("/metadata/namespace").to_owned(),
        uid: text("/metadata/uid").to_owned(),
        created_at: text("/metadata/creationTimestamp").parse::<Timestamp>().ok(),
        terminate: flag("/spec/terminate"),
        deleting: object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()),
        metrics: metrics(object),
        status: object.get("status").map(parse_status).unwrap_or_default(),
        ttl: Ttl {
            after_completion: seconds("secondsAfterCompletion"),
            after_failure: seconds("secondsAfterFailure"),
            after_success: seconds("secondsAfterSuccess"),
        },
    }
}

fn metrics(object: &Value) -> Result<Vec<Metric>, SpecError> {
    let nothing = Value::Null;
    let spec = object.get("spec").unwrap_or(&nothing);
    let raw = field::list(spec, "metrics").map_err(SpecError::Invalid)?;
    let arguments = Arguments::parse(spec).map_err(SpecError::Arguments)?;
    let filled: Result<Vec<Value>, String> = raw.iter().map(|metric| arguments.fill(metric)).collect();
    let filled = filled.map_err(SpecError::Arguments)?;
    let shapes: Result<Vec<Shape>, String> = filled
        .iter()
        .enumerate()
        .map(|(i, wire)| Shape::parse(wire, &arguments).map_err(|what| format!("metrics[{i}].{what}")))
        .collect();
    checked(object, spec, raw, shapes, &arguments).map_err(SpecError::Invalid)
}

fn checked(
    object: &Value,
    spec: &Value,
    raw: &[Value],
    shapes: Result<Vec<Shape>, String>,
    arguments: &Arguments,
) -> Result<Vec<Metric>, String> {
    let shapes = shapes?;
    let times = metric::validate(&shapes)?;
    let names: Vec<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
    let dry_run = dry_run(spec, &names)?;
    let retention = retention(spec, &names)?;
    let no_data = no_data(object, raw, &names)?;
    let mut metrics = vec![];
    for (index, (shape, times)) in shapes.iter().zip(times).enumerate() {
        let metric = build(shape, times, arguments).map_err(|what| format!("metrics[{index}]: {what}"))?;
        metrics.push(Metric {
            dry_run: dry_run.get(index).copied().unwrap_or_default(),
            retention: retention.get(index).copied().unwrap_or(DEFAULT_RETENTION),
            no_data: no_data.get(index).copied().flatten(),
            ..metric
        });
    }
    Ok(metrics)
}

fn build(shape: &Shape, (interval, initial_delay): Times, arguments: &Arguments) -> Result<Metric, String> {
    if let Some(other) = shape.providers.iter().find(|name| *name != "prometheus") {
        return Err(format!("provider \"{other}\" is not supported yet, only prometheus is"));
    }
    let criterion =
        |text: &Option<String>| text.clone().map(|text| Criterion { parsed: Condition::parse(&text), text });
    Ok(Metric {
        name: shape.name.clone(),
        interval,
        initial_delay,
        count: shape.effective_count(),
        success: criterion(&shape.success),
        failure: criterion(&shape.failure),
        failure_limit: shape.failure_limit,
        inconclusive_limit: shape.inconclusive_limit,
        consecutive_error_limit: shape.consecutive_error_limit.unwrap_or(DEFAULT_CONSECUTIVE_ERROR_LIMIT),
        consecutive_success_limit: shape.consecutive_success_limit,
        dry_run: false,
        retention: DEFAULT_RETENTION,
        query: prometheus::parse(&shape.prometheus, arguments)?,
        no_data: None,
    })
}

/// Which metrics decide nothing, in their order.
fn dry_run(spec: &Value, names: &[&str]) -> Result<Vec<bool>, String> {
    let mut all = vec![false; names.len()];
    for (index, rule) in field::list(spec, "dryRun")?.iter().enumerate() {
        let hits = matching(rule, names).ok_or_else(|| unmatched("dryRun", index))?;
        for (mark, _) in all.iter_mut().zip(hits).filter(|(_, hit)| *hit) {
            *mark = true;
        }
    }
    Ok(all)
}

/// How many measurements of each metric are kept, in their order; later rules win.
fn retention(spec: &Value, names: &[&str]) -> Result<Vec<usize>, String> {
    let mut all = vec![DEFAULT_RETENTION; names.len()];
    for (index, rule) in field::list(spec, "measurementRetention")?.iter().enumerate() {
        let hits = matching(rule, names).ok_or_else(|| unmatched("measurementRetention", index))?;
        let limit = field::integer(rule, "limit")?.unwrap_or_default();
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(DEFAULT_RETENTION);
        for (kept, _) in all.iter_mut().zip(hits).filter(|(_, hit)| *hit) {
            *kept = limit.min(MOST_RETAINED);
        }
    }
    Ok(all)
}

fn unmatched(list: &str, index: usize) -> String {
    format!("{list}[{index}]: Rule didn't match any metric name(s)")
}

/// Which names the rule's unanchored expression matches; `None` when none, or when it is no expression.
fn matching(rule: &Value, names: &[&str]) -> Option<Vec<bool>> {
    let text = rule.get("metricName").and_then(Value::as_str).unwrap_or_default();
    let regex: Regex = RegexBuilder::new(text).size_limit(RULE_BYTES).build().ok()?;
    let hits: Vec<bool> = names.iter().map(|name| regex.is_match(name)).collect();
    hits.contains(&true).then_some(hits)
}

/// The policies of the run's annotation, in the order of the metrics. A name counts as written in the spec or with
/// its arguments filled in.
fn no_data(object: &Value, raw: &[Value], names: &[&str]) -> Result<Vec<Option<NoData>>, String> {
    let annotations = object.pointer("/metadata/annotations");
    let text = annotations.and_then(|all| all.get(METRIC_POLICY)).and_then(Value::as_str).unwrap_or_default();
    let written: Vec<&str> =
        raw.iter().map(|metric| metric.get("name").and_then(Value::as_str).unwrap_or_default()).collect();
    let policies = policy::parse(text, |name| written.contains(&name) || names.contains(&name))?;
    let of = |(written, name): (&&str, &&str)| {
        let policy = policies.get(*written).or_else(|| policies.get(*name));
        policy.map(|policy| policy.no_data()).transpose()
    };
    written.iter().zip(names).map(of).collect()
}
