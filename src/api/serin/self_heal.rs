//! `SelfHeal`: the wish to have a failed version reverted in Git, and how far that has come.

#![expect(
    unreachable_pub,
    reason = "the schema derive leaves a copy of the struct where nobody can reach it"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Evidence, RolloutReference, Version, conditions_schema};

/// The wish to have one failed version of one Rollout reverted in Git. The controller makes it, named
/// `<rollout>-<bad hash>`; `serin gitops` carries it out. Never changed after it was made: if it exists and is
/// finished, there is no second revert of that version.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "SelfHeal",
    namespaced,
    status = "SelfHealStatus",
    derive = "PartialEq",
    doc = "The wish to have one failed version of one Rollout reverted in Git, and how far that has come.",
    validation = Rule::new("self.spec == oldSelf.spec").message("the spec of a SelfHeal never changes"),
    printcolumn = r#"{"name":"Phase", "type":"string", "jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason", "type":"string", "jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Commit", "type":"string", "jsonPath":".status.commit"}"#,
    printcolumn = r#"{"name":"Rollout", "type":"string", "jsonPath":".spec.rolloutRef.name", "priority":1}"#,
    printcolumn = r#"{"name":"Cause", "type":"string", "jsonPath":".spec.cause", "priority":1}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SelfHealSpec {
    /// The Rollout whose version failed.
    pub rollout_ref: RolloutReference,
    /// The version that failed.
    pub bad: Version,
    /// The version to go back to: the stable one at that time.
    pub good: Version,
    /// Why the version failed. A policy says for which causes Git is touched.
    pub cause: Cause,
    /// What was measured. Absent where nothing was, for instance when a person aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// How far the revert has come. Written by `serin gitops` alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfHealStatus {
    /// Where the revert stands. `Synced`, `Superseded` and `NotNeeded` are final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why, in one word, for instance `RemoteUnreachable`.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why, in a sentence, and what to do about it.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Object id of the commit that reverts the version.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// Address of the pull request.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pull_request: String,
    /// The change as a unified diff; cut off at 8 KiB.
    #[schemars(length(max = 8192))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
    /// How often a change was prepared and sent, or tried to be. Counted before each try.
    #[schemars(range(min = 0))]
    pub attempts: i32,
    /// Name of the policy that decided.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// When the commit was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Time>,
    /// `GitReverted`: True once Git holds the good version again, False while it does not, Unknown while Git
    /// cannot be asked.
    #[schemars(schema_with = "conditions_schema")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a revert stands.
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
pub enum Phase {
    /// Waits for something outside: Git, the Rollout, or its turn.
    Pending,
    /// No policy selects the Rollout, or none that reverts for this cause. Looked at again when a policy changes.
    NoPolicy,
    /// The change was prepared and stands in `diff`; the policy says not to push it.
    DryRun,
    /// The change is being prepared or sent.
    Working,
    /// The branch has the commit; the cluster does not run the good version yet.
    Pushed,
    /// A pull request is open.
    PullRequestOpen,
    /// The branch has the commit and the Rollout is healthy on the good version.
    Synced,
    /// Git or the Rollout holds a third version: somebody went on. Nothing is done.
    Superseded,
    /// It cannot be done without a person; `message` says what is in the way.
    Blocked,
    /// Git or the Rollout holds the good version already, and not by our commit.
    NotNeeded,
}

impl Phase {
    /// True where nothing is left to do, now or later.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Synced | Self::Superseded | Self::NotNeeded => true,
            Self::Pending
            | Self::NoPolicy
            | Self::DryRun
            | Self::Working
            | Self::Pushed
            | Self::PullRequestOpen
            | Self::Blocked => false,
        }
    }
}
