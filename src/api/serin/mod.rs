//! The kinds of the group `serin.dev`: what serin remembers and what it is told, beyond the kinds of Argo.
//! Shapes only. No I/O, no behaviour.
//!
//! Field docs are what `kubectl explain` prints. Every list and string has an upper bound, because the server's
//! cost estimates multiply by them and because these objects are written by programs.

use std::collections::BTreeMap;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

mod policy;
mod record;
mod self_heal;

pub use policy::{
    Author, GitLocation, Limits, Mode, SecretReference, SelfHealPolicy, SelfHealPolicySpec, Target,
    TargetKind, Trigger,
};
pub use record::{
    ControllerRecord, Delivery, Denied, LedgerEntry, NotifyRecord, Provenance, RolloutRecord,
    RolloutRecordSpec, RolloutRecordStatus, WeightReassert,
};
pub use self_heal::{Phase, SelfHeal, SelfHealSpec, SelfHealStatus};

/// Container name to image reference, as in the pod template, for instance `app: registry.example/app:v1.1.0`.
pub type Images = BTreeMap<String, String>;

/// The definitions of this group, in the order in which they are written to `crds/`.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![RolloutRecord::crd(), SelfHealPolicy::crd(), SelfHeal::crd()]
}

/// A Rollout of the same namespace, and which one of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutReference {
    /// Name of the Rollout.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `metadata.uid` of the Rollout. A Rollout that was deleted and made again is another one.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// One version of a Rollout's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Pod template hash, the value of the label `rollouts-pod-template-hash`.
    #[schemars(length(min = 1, max = 63))]
    pub hash: String,
    /// Container name to image. Containers and init containers; names are unique among both.
    #[schemars(schema_with = "images_schema")]
    pub images: Images,
}

/// Why a rollout was ended before it was complete.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
)]
pub enum Cause {
    /// A metric was measured and was bad more often than its limit allows.
    MetricFailed,
    /// A metric's limit was passed, but not by real numbers alone: answers were empty or NaN. Never reverted in Git.
    NoData,
    /// A metric could not be measured more often than its limit allows. Never reverted in Git.
    MetricError,
    /// The rollout made no progress within `progressDeadlineSeconds`.
    ProgressDeadline,
    /// A person aborted it.
    UserAbort,
    /// A newer version arrived before it was complete. Never reverted in Git.
    Superseded,
}

/// What was measured, in the words and numbers that a person reads in the AnalysisRun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Evidence {
    /// Name of the AnalysisRun.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// Name of the metric in that run.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metric: String,
    /// The last measured value, exactly as the AnalysisRun has it, for instance `0.08`.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The condition that decided, as the template has it, for instance `result < 0.05`.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub limit: String,
    /// The query with its arguments filled in. Arguments from Secrets are left out.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// How many measurements the metric had, the last one included.
    #[schemars(range(min = 0))]
    pub samples: i32,
    /// Percent of the traffic that the failed version had when it was decided.
    #[schemars(range(min = 0, max = 100))]
    pub weight: i32,
    /// When the rollout of the failed version began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the measurement that decided was finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Time>,
}

/// Schema of [`Images`]: a schema derived from the type would have no bounds.
fn images_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 1024 }
    })
}

/// A list of conditions in the form that every Kubernetes kind has, merged by `type` in server-side apply.
fn conditions_schema(generator: &mut SchemaGenerator) -> Schema {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    let condition = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"]
    })
}

#[cfg(test)]
mod tests;
