//! An AnalysisRun as it was asked for: metrics, limits, queries and what to do without data. No I/O. No clock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::status::RunStatus;
use crate::{
    domain::value::MetricValue,
    expr::{self, Condition},
};

/// Number of measurements kept for a metric when the run does not say.
pub const DEFAULT_RETENTION: usize = 10;

/// An AnalysisRun, parsed. A spec that does not hold together is a state of `metrics`, not a failure to parse.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of the object.
    pub name: String,
    /// Its namespace; Secret arguments are read from here.
    pub namespace: String,
    /// Its uid; never reused.
    pub uid: String,
    /// When it was created; absent only in an object no server has seen.
    pub created_at: Option<Timestamp>,
    /// True once somebody asked to stop measuring (`spec.terminate`).
    pub terminate: bool,
    /// True while the object is being deleted: it is not judged any more.
    pub deleting: bool,
    /// The metrics in the order of the spec, or why there are none.
    pub metrics: Result<Vec<Metric>, SpecError>,
    /// What is known so far.
    pub status: RunStatus,
    /// When to delete the run after it has ended.
    pub ttl: Ttl,
}

/// Why a run cannot be carried out. It ends with the verdict Error and this text as its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// An argument has no value, or `{{...}}` names none.
    #[error("Unable to resolve metric arguments: {0}")]
    Arguments(String),
    /// A metric, dry-run rule, retention rule or policy is not valid, or asks for something not supported.
    #[error("Analysis spec invalid: {0}")]
    Invalid(String),
}

/// One metric with its arguments filled in.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Unique in the run.
    pub name: String,
    /// Pause between measurements, from the end of one to the start of the next.
    pub interval: Option<SignedDuration>,
    /// Pause before the first measurement, from the start of the run.
    pub initial_delay: Option<SignedDuration>,
    /// Number of judged measurements after which the metric ends; `None` is without end. May be negative on the
    /// wire, which ends the metric after its first measurement.
    pub count: Option<i64>,
    /// True where it holds when the value is good.
    pub success: Option<Criterion>,
    /// True where it holds when the value is bad.
    pub failure: Option<Criterion>,
    /// Bad measurements that are tolerated; -1 tolerates all.
    pub failure_limit: i64,
    /// Inconclusive measurements that are tolerated.
    pub inconclusive_limit: i64,
    /// Errors in a row that are tolerated; 4 where the run says nothing.
    pub consecutive_error_limit: i64,
    /// Good measurements in a row that end the metric early; 0 is off.
    pub consecutive_success_limit: i64,
    /// True where the metric decides nothing.
    pub dry_run: bool,
    /// Newest measurements that are kept, at least 1.
    pub retention: usize,
    /// What is asked, or why nothing can be asked: then each measurement is an Error with this text.
    pub query: Result<Query, String>,
    /// What an answer without data means; `None` means what the reference makes of it.
    pub no_data: Option<NoData>,
}

/// A condition with its text. One that does not parse makes each measurement an Error.
#[derive(Clone, Debug)]
pub struct Criterion {
    /// As written, for instance `result < 0.05`.
    pub text: String,
    /// Parsed once.
    pub parsed: Result<Condition, expr::Error>,
}

/// `serin.dev/metric-policy` for one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoData {
    /// What an answer without data becomes.
    pub outcome: OnNoData,
    /// How long answers without data are waited for, uncounted, before `outcome` applies. `None`: not at all, but
    /// with `Ignore` for ever. After the time `Ignore` becomes `Inconclusive`: no data never ends as Successful.
    pub timeout: Option<SignedDuration>,
}

/// What an empty answer, or NaN, becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoData {
    /// An Error, limited by `consecutiveErrorLimit`.
    #[default]
    Error,
    /// Inconclusive, limited by `inconclusiveLimit`: the rollout pauses.
    Inconclusive,
    /// Recorded, not counted.
    Ignore,
    /// Failed, limited by `failureLimit`: the rollout aborts; Git is left alone.
    Failed,
}

/// What is asked of Prometheus. Comparable, so that equal questions can share one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query {
    /// Base URL with scheme and host, no trailing `/`. `None`: the address the sampler was started with; without
    /// one it answers `Refused { "prometheus address is not configured" }`.
    pub address: Option<Text>,
    /// The expression.
    pub promql: Text,
    /// Time for one answer, 30 s where the run says nothing; more than zero.
    pub timeout: SignedDuration,
    /// Set for a range query.
    pub range: Option<Range>,
    /// Set in this order, each replacing what was there.
    pub headers: Vec<(String, Text)>,
    /// User name and password; a header `Authorization` wins.
    pub basic_auth: Option<(Text, Text)>,
    /// True: the server's certificate is not checked.
    pub insecure: bool,
}

/// Bounds of a range query, read when it is sent: times as texts such as `now() - duration("1h")`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// From when.
    pub start: String,
    /// Until when.
    pub end: String,
    /// Distance of the points.
    pub step: SignedDuration,
}

/// Text that may hold secrets: they are filled in by the sampler, right before it asks, and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub Vec<Part>);

/// A piece of a `Text`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Literally this.
    Plain(String),
    /// The value of a key of a Secret in the run's namespace.
    Secret(SecretRef),
}

/// A key of a Secret in the run's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in its `data`.
    pub key: String,
}

/// `spec.ttlStrategy`: seconds to keep the run after it ended; the first that applies counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl {
    /// After any end.
    pub after_completion: Option<i64>,
    /// After Failed.
    pub after_failure: Option<i64>,
    /// After Successful.
    pub after_success: Option<i64>,
}

/// One answer to a `Want`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The want's ordinal; a sample with another one is ignored.
    pub ordinal: u32,
    /// When the query was sent, by the program's clock.
    pub started_at: Timestamp,
    /// When the answer was there, by the same clock.
    pub finished_at: Timestamp,
    /// The answer.
    pub outcome: Outcome,
    /// Stored with the measurement, for instance `warnings`.
    pub metadata: BTreeMap<String, String>,
}

/// What asking came to. The sampler has replaced every secret in a message by `*****`.
///
/// The line between the last three decides whether a rollout aborts: whatever may pass by itself is an `Outage`.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// An answer. `text` is the value as the wire shows it, for instance `0.08` or `[0.08]`.
    Value { value: MetricValue, text: String },
    /// The backend answered that the query, or who asks, is not acceptable (400, 401, 403, 404, 422): an Error
    /// measurement, as in the reference.
    Refused { message: String },
    /// Nobody answered, in time or at all, or with 429 or 5xx: no verdict about anything.
    Outage { message: String },
    /// A Secret or its key does not exist: the run ends with Error, as in the reference. A Secret that could not
    /// be read just now is an `Outage`.
    Unresolved { message: String },
}

impl Text {
    /// Text without secrets.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Part::Plain(text.into())])
    }

    /// The text with `*****` for each secret.
    pub fn masked(&self) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Plain(text) => text.as_str(),
                Part::Secret(_) => "*****",
            })
            .collect()
    }

    /// The secrets it needs, in order.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.0.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Secret(secret) => Some(secret),
        })
    }
}

impl Query {
    /// The secrets it needs, in order, with repetitions.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let auth = self.basic_auth.iter().flat_map(|(user, password)| [user, password]);
        let headers = self.headers.iter().map(|(_, value)| value);
        self.address.iter().chain([&self.promql]).chain(headers).chain(auth).flat_map(Text::secrets)
    }
}
