//! The annotation `serin.dev/metric-policy`: what an answer without data means, metric by metric. No I/O.
//!
//! ```yaml
//! error-rate: {onNoData: Inconclusive, noDataTimeout: 10m}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration;
use crate::decide::analysis::{NoData, OnNoData};

/// Key of the annotation, on templates and, merged, on the runs made from them.
pub const METRIC_POLICY: &str = "serin.dev/metric-policy";

/// The annotation as written: metric name to policy.
pub(super) type Policies = BTreeMap<String, Policy>;

/// The policy of one metric as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Policy {
    /// What an empty answer or NaN becomes; Error when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_no_data: Option<Named>,
    /// Go duration, not negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_data_timeout: Option<String>,
    /// Part of the format, refused so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_requests: Option<MinRequests>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Named {
    Error,
    Inconclusive,
    Ignore,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MinRequests {
    query: String,
    count: u64,
}

/// Reads the annotation's text; empty text is no policy. `is_metric` tells which names exist.
///
/// # Errors
/// A message that names the metric and the field: no YAML, an unknown key or value, an unknown metric, a duration
/// that is none, or something not supported yet.
pub(super) fn parse(text: &str, is_metric: impl Fn(&str) -> bool) -> Result<Policies, String> {
    if text.trim().is_empty() {
        return Ok(Policies::new());
    }
    let policies: Policies =
        serde_saphyr::from_str(text).map_err(|error| format!("annotation {METRIC_POLICY}: {error}"))?;
    for (metric, policy) in &policies {
        let wrong = |what: String| format!("annotation {METRIC_POLICY}: {metric}{what}");
        if !is_metric(metric) {
            return Err(wrong(": there is no metric of this name".to_owned()));
        }
        policy.no_data().map_err(wrong)?;
    }
    Ok(policies)
}

/// The annotation's text for a run.
///
/// # Errors
/// None that these types can cause; the message of the YAML writer.
pub(super) fn print(policies: &Policies) -> Result<String, String> {
    serde_saphyr::to_string(policies).map_err(|error| format!("annotation {METRIC_POLICY}: {error}"))
}

impl Policy {
    /// The policy as the engine knows it.
    pub(super) fn no_data(&self) -> Result<NoData, String> {
        if self.min_requests.is_some() {
            return Err(".minRequests is not supported yet".to_owned());
        }
        let timeout = self.no_data_timeout.as_deref().map(duration::parse).transpose();
        let timeout = timeout.map_err(|error| format!(".noDataTimeout: {error}"))?;
        if timeout.is_some_and(|timeout| timeout.is_negative()) {
            return Err(".noDataTimeout must not be negative".to_owned());
        }
        let outcome = match self.on_no_data {
            None | Some(Named::Error) => OnNoData::Error,
            Some(Named::Inconclusive) => OnNoData::Inconclusive,
            Some(Named::Ignore) => OnNoData::Ignore,
            Some(Named::Failed) => OnNoData::Failed,
        };
        Ok(NoData { outcome, timeout })
    }
}
