//! The kinds of `argoproj.io/v1alpha1` as types: Rollout, AnalysisTemplate, ClusterAnalysisTemplate, AnalysisRun and
//! Experiment. The CRDs in `crds/` are generated from them. No behaviour, no I/O.
//!
//! Every field is an `Option`: absent is never confused with zero, and an object that lacks what its user forgot still
//! parses, so that the error can be said in a condition. Fields that are not modelled are ignored here and kept by the
//! API server. What serin does not implement is a `Value`.

mod analysis;
mod analysis_status;
pub mod crd;
mod experiment;
mod provider;
mod rollout;
mod rollout_status;
mod scalar;
mod step;
mod traffic;

#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use analysis::{
    AnalysisRun, AnalysisRunSpec, AnalysisTemplate, AnalysisTemplateSpec, Argument, ArgumentSource, DryRun,
    FieldRef, MeasurementRetention, Metric, SecretKeyRef, TemplateRef, TtlStrategy,
};
pub use analysis_status::{AnalysisRunStatus, Measurement, MetricResult, RunSummary};
pub use experiment::{
    Experiment, ExperimentAnalysis, ExperimentAnalysisStatus, ExperimentSpec, ExperimentStatus,
    ExperimentTemplate, ExperimentTemplateStatus,
};
pub use provider::{
    MetricProvider, OAuth2, Prometheus, PrometheusAuthentication, QueryHeader, RangeQuery, Sigv4,
};
pub use rollout::{
    AntiAffinity, BackgroundAnalysis, CanaryStrategy, Metadata, PingPong, PreferredAntiAffinity,
    ReplicaProgressThreshold, RequiredAntiAffinity, RollbackWindow, Rollout, RolloutSpec, RunHistory,
    Strategy, WorkloadRef,
};
pub use rollout_status::{
    AnalysisRunRef, CanaryStatus, Condition, PauseCondition, RolloutDuration, RolloutStatus,
    StepPluginStatus, WeightDestination, Weights,
};
pub use scalar::{IntOrString, Time};
pub use step::{
    CanaryStep, ExperimentStep, ExperimentStepAnalysis, ExperimentStepService, ExperimentStepTemplate,
    HeaderMatch, Pause, PluginStep, RolloutArgument, RolloutArgumentSource, RouteMatch, SetCanaryScale,
    SetHeaderRoute, SetMirrorRoute, StepAnalysis, StringMatch,
};
pub use traffic::{
    DestinationRuleRef, Istio, ManagedRoute, TcpRoute, TlsRoute, TrafficRouting, VirtualServiceRef,
};

/// Why a JSON value is not what a type says: a spec error, to be shown to the object's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// The field, from the root of the parsed value: `spec.strategy.canary.steps[2].setWeight`; `.` is the root.
    pub path: String,
    /// What is there and what was expected, for instance ``invalid type: string "ten", expected an integer``.
    pub message: String,
}

/// Reads an object, or a part of one, as a type of this module (or any other).
///
/// # Errors
/// The first field of another type than the API gives it.
pub fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| FieldError {
        path: error.path().to_string(),
        message: plain(&error.inner().to_string()),
    })
}

/// serde's words for what it expected, as a person who writes YAML would say them.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 6] = [
        ("expected i64", "expected an integer"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
        ("expected struct", "expected an object,"),
        ("invalid type: map", "invalid type: object"),
        ("invalid type: sequence", "invalid type: list"),
    ];
    WORDS.iter().fold(message.to_owned(), |text, (serde, plain)| text.replace(serde, plain))
}

/// Declares structs of the API: JSON names in camel case, every field an `Option` that is left out when absent.
macro_rules! wire {
    ($( $(#[$about:meta])* pub struct $name:ident {
        $( $(#[$field_about:meta])* pub $field:ident: $kind:ty, )*
    } )*) => { $(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $( $(#[$field_about])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$kind>, )*
        }
    )* };
}

use wire;
