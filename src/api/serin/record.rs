//! `RolloutRecord`: what serin remembers of a Rollout that has no place in the Rollout itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Evidence, Images, RolloutReference, images_schema};

/// What serin remembers of the Rollout of the same name. Owned by it. Nothing in here is needed to keep traffic
/// safe: without it, a Rollout is served in full.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "RolloutRecord",
    namespaced,
    status = "RolloutRecordStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "What serin remembers of the Rollout of the same name. Nothing in here is needed to keep traffic safe.",
    printcolumn = r#"{"name":"Cause", "type":"string", "jsonPath":".status.controller.cause"}"#,
    printcolumn = r#"{"name":"Metric", "type":"string", "jsonPath":".status.controller.evidence.metric"}"#,
    printcolumn = r#"{"name":"Value", "type":"string", "jsonPath":".status.controller.evidence.value"}"#,
    printcolumn = r#"{"name":"Weight", "type":"integer", "jsonPath":".status.controller.evidence.weight"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutRecordSpec {
    /// The Rollout that is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_ref: Option<RolloutReference>,
}

/// What is remembered. Each field has one writer and one field manager.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutRecordStatus {
    /// Written by the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerRecord>,
    /// Written by the notifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyRecord>,
}

/// What the controller remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerRecord {
    /// Why the last version that did not get through was ended. Absent once a later version got through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What was measured then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Versions that became stable, the newest last, and where they came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub provenance: Vec<Provenance>,
    /// Versions that failed and are not to be tried again, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub denied: Vec<Denied>,
    /// Weights that somebody else lowered and serin set again, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub weight_reasserts: Vec<WeightReassert>,
    /// Names of the SelfHeals that were made for this Rollout, the newest last. One that is listed is not made
    /// again, even when somebody deleted it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 253)))]
    pub self_heals: Vec<String>,
}

/// A version that became stable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Pod template hash.
    #[schemars(length(max = 63))]
    pub hash: String,
    /// Container name to image.
    #[schemars(schema_with = "images_schema")]
    pub images: Images,
    /// Git revision that the GitOps engine had applied when the version was first seen. Empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub revision: String,
    /// Where that revision was read, for instance `Application argocd/cart`. Empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub source: String,
    /// When the version became stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_at: Option<Time>,
}

/// A version that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// Pod template hash.
    #[schemars(length(max = 63))]
    pub hash: String,
    /// Container name to image.
    #[schemars(schema_with = "images_schema")]
    pub images: Images,
    /// Why it failed.
    pub cause: Cause,
    /// When it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_at: Option<Time>,
}

/// A weight that somebody else lowered and serin set again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightReassert {
    /// When it was set again.
    pub at: Option<Time>,
    /// Name of the VirtualService.
    #[schemars(length(max = 253))]
    pub virtual_service: String,
    /// Percent that was found.
    #[schemars(range(min = 0, max = 100))]
    pub found: i32,
    /// Percent that was set.
    #[schemars(range(min = 0, max = 100))]
    pub set: i32,
    /// Field manager that had lowered it. Empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub manager: String,
}

/// What the notifier remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NotifyRecord {
    /// Messages that were sent or are being sent, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub ledger: Vec<LedgerEntry>,
}

/// One message to one recipient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Identity of the message; the message carries it too, so that it can be found again after a crash.
    #[schemars(length(max = 253))]
    pub key: String,
    /// Whom it goes to, as the annotation has it, for instance `#deploys`.
    #[schemars(length(max = 253))]
    pub recipient: String,
    /// Slack's id of the channel, known from the first answer on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub channel: String,
    /// Slack's id of the message, known from the first answer on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub ts: String,
    /// How far the message has come.
    pub state: Delivery,
    /// Hash of the text last sent; another text means that the message is to be edited.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub digest: String,
    /// How often it was tried.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempts: i32,
    /// Why it has not been sent, in one sentence. Empty: no failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// When it was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
pub enum Delivery {
    /// About to be sent. Found after a restart: it may or may not have arrived.
    Sending,
    /// Sent, and it may change when Git is done.
    Sent,
    /// Sent for the last time.
    Final,
    /// Given up; `reason` says why.
    Refused,
}
