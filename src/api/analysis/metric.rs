//! Metrics of a run, their arguments filled in: shapes, the reference's checks in its order, and the provider.
//! No I/O.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::Value;

use super::{arguments::Arguments, duration, field};

/// A metric whose fields have the right types; nothing is checked beyond that.
#[derive(Debug)]
pub(super) struct Shape {
    pub name: String,
    pub interval: Option<String>,
    pub initial_delay: Option<String>,
    /// 0 when absent, as in the reference.
    pub count: i64,
    pub success: Option<String>,
    pub failure: Option<String>,
    pub failure_limit: i64,
    pub inconclusive_limit: i64,
    pub consecutive_error_limit: Option<i64>,
    pub consecutive_success_limit: i64,
    /// Names of what is under `provider`; each key of `plugin` is one.
    pub providers: Vec<String>,
    pub prometheus: Value,
}

impl Shape {
    /// Reads a metric whose arguments are filled in. Secrets in it show as the reference's placeholder, except under
    /// `provider`, and in a condition they are refused.
    pub(super) fn parse(wire: &Value, arguments: &Arguments) -> Result<Self, String> {
        let checked =
            |key: &str| Ok::<_, String>(field::given(wire, key)?.map(|text| arguments.checked(text)));
        let condition = |key: &str| match field::given(wire, key)? {
            Some(text) if arguments.has_secret(text) => {
                Err(format!("{key} uses a secret argument, which is not supported"))
            }
            text => Ok(text.map(str::to_owned)),
        };
        let number = |key: &str| Ok::<_, String>(field::int_or_string(wire, key)?.unwrap_or_default());
        Ok(Self {
            name: checked("name")?.unwrap_or_default(),
            interval: checked("interval")?,
            initial_delay: checked("initialDelay")?,
            count: number("count")?,
            success: condition("successCondition")?,
            failure: condition("failureCondition")?,
            failure_limit: number("failureLimit")?,
            inconclusive_limit: number("inconclusiveLimit")?,
            consecutive_error_limit: field::int_or_string(wire, "consecutiveErrorLimit")?,
            consecutive_success_limit: number("consecutiveSuccessLimit")?,
            providers: providers(wire),
            prometheus: wire.pointer("/provider/prometheus").cloned().unwrap_or_default(),
        })
    }

    /// Number of judged measurements after which the metric ends; `None` is without end.
    pub(super) fn effective_count(&self) -> Option<i64> {
        match (self.count, &self.interval) {
            (0, None) => Some(1),
            (0, Some(_)) => None,
            (count, _) => Some(count),
        }
    }
}

fn providers(wire: &Value) -> Vec<String> {
    let mut names = vec![];
    let entries = wire.get("provider").and_then(Value::as_object).into_iter().flatten();
    for (name, body) in entries.filter(|(_, body)| !body.is_null()) {
        match body.as_object() {
            Some(plugins) if name == "plugin" => names.extend(plugins.keys().cloned()),
            _ => names.push(name.clone()),
        }
    }
    names
}

/// The parsed `interval` and `initialDelay` of a metric.
pub(super) type Times = (Option<SignedDuration>, Option<SignedDuration>);

/// The reference's checks in its order; the first that fails is told.
pub(super) fn validate(metrics: &[Shape]) -> Result<Vec<Times>, String> {
    if metrics.is_empty() {
        return Err("no metrics specified".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut all = vec![];
    for (index, metric) in metrics.iter().enumerate() {
        let wrong = |what: String| format!("metrics[{index}]: {what}");
        if !names.insert(metric.name.as_str()) {
            return Err(wrong(format!("duplicate name '{}'", metric.name)));
        }
        limits(metric).and_then(|()| count(metric)).map_err(&wrong)?;
        let times = times(metric).map_err(wrong)?;
        match metric.providers.as_slice() {
            [] => return Err(wrong("no provider specified".to_owned())),
            [_] => all.push(times),
            [..] => return Err(wrong("multiple providers specified".to_owned())),
        }
    }
    Ok(all)
}

fn limits(metric: &Shape) -> Result<(), String> {
    let wrong = if metric.consecutive_success_limit < 0 {
        "consecutiveSuccessLimit must be >= 0"
    } else if metric.failure_limit < -1 {
        "failureLimit must be >= 0, or -1 to be disabled"
    } else if metric.consecutive_success_limit == 0 && metric.failure_limit == -1 {
        "failureLimit and consecutiveSuccessLimit cannot both be disabled"
    } else if metric.inconclusive_limit < 0 {
        "inconclusiveLimit must be >= 0"
    } else if metric.consecutive_error_limit.is_some_and(|limit| limit < 0) {
        "consecutiveErrorLimit must be >= 0"
    } else {
        return Ok(());
    };
    Err(wrong.to_owned())
}

fn count(metric: &Shape) -> Result<(), String> {
    let (count, failures, row) = (metric.count, metric.failure_limit, metric.consecutive_success_limit);
    if count <= 0 {
        return Ok(());
    }
    if failures >= 0 && count < failures.saturating_add(row) {
        return Err(format!(
            "count ({count}) must be >= failureLimit + consecutiveSuccessLimit ({failures} + {row}) if both >= 0"
        ));
    }
    if failures < 0 && count < row {
        return Err("count must be >= consecutiveSuccessLimit".to_owned());
    }
    if count < metric.inconclusive_limit {
        return Err("count must be >= inconclusiveLimit".to_owned());
    }
    if count > 1 && metric.interval.is_none() {
        return Err("interval must be specified when count > 1".to_owned());
    }
    Ok(())
}

fn times(metric: &Shape) -> Result<Times, String> {
    let interval = metric.interval.as_deref().map(duration::parse).transpose();
    let interval = interval.map_err(|error| format!("invalid interval string: {error}"))?;
    let delay = metric.initial_delay.as_deref().map(duration::parse).transpose();
    let delay = delay.map_err(|error| format!("invalid startDelay string: {error}"))?;
    Ok((interval, delay))
}
