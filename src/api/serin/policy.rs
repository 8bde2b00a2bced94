//! `SelfHealPolicy`: where the versions of some Rollouts live in Git, and what serin may do there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cause;

/// Says where the versions of the selected Rollouts live in Git and what may be done there when one fails.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "SelfHealPolicy",
    plural = "selfhealpolicies",
    namespaced,
    derive = "PartialEq",
    doc = "Where the versions of some Rollouts of this namespace live in Git, and what may be done there when one fails.",
    printcolumn = r#"{"name":"Mode", "type":"string", "jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Repository", "type":"string", "jsonPath":".spec.git.url"}"#,
    printcolumn = r#"{"name":"Branch", "type":"string", "jsonPath":".spec.git.branch"}"#,
    printcolumn = r#"{"name":"Path", "type":"string", "jsonPath":".spec.target.path"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SelfHealPolicySpec {
    /// Which Rollouts of this namespace, by their labels. Empty or absent: all. A Rollout that two policies select
    /// is not reverted.
    #[serde(default)]
    pub rollout_selector: LabelSelector,
    /// The repository and branch that the GitOps engine applies.
    pub git: GitLocation,
    /// The file and the value in it.
    pub target: Target,
    /// What may be done. Default: `DryRun`.
    #[serde(default)]
    pub mode: Mode,
    /// For which causes. Default: `MetricFailed`.
    #[serde(default = "metric_failed")]
    #[schemars(length(max = 8))]
    pub on: Vec<Trigger>,
    /// Who the commit is from. Default: `SelfHeal Bot <selfheal-bot@serin.dev>`.
    #[serde(default)]
    pub author: Author,
    /// A ticket that the commit and the message name, for instance `OPS-1234`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub ticket: String,
    /// How much may be done.
    #[serde(default)]
    pub limits: Limits,
}

/// One branch of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitLocation {
    /// Address, for instance `https://git.example/shop/deploy.git` or `ssh://git@git.example/shop/deploy.git`. No
    /// token or password in it: credentials come from `secretRef`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Branch, for instance `main`.
    #[schemars(length(min = 1, max = 255))]
    pub branch: String,
    /// Secret of this namespace with the credential. Over `https://`: `password`, an access token, and `username`
    /// (default: `git`). Over `ssh://`: `identity`, the private key; `known_hosts`, the keys of the server; and
    /// `password`, the passphrase of the key if it has one. serin may read it once a RoleBinding of this namespace says
    /// so. Absent: a public repository, which can be read and not pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// Secret of this namespace with the certificate authority of an `https://` server, key `ca.crt`, as PEM. Then no
    /// other is trusted. Absent: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretReference>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Where in the repository the version stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// File from the root of the repository, for instance `apps/cart/rollout.yaml`. A plain file: not a link, not a
    /// folder, no `..`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// What kind of file it is.
    pub kind: TargetKind,
    /// Which value, where the kind alone does not say. `KustomizeImage`: the `name` of the entry in `images`; default:
    /// the repository of the image. `HelmValue`: the keys down to the tag, with dots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,
}

/// What kind of file holds the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
pub enum TargetKind {
    /// The Rollout's own manifest: the `image` of its containers.
    Manifest,
    /// A kustomization: the entry of `images`.
    KustomizeImage,
    /// A Helm values file.
    HelmValue,
}

/// What may be done in Git.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr,
)]
pub enum Mode {
    /// Prepare the change and show it in the status. Nothing is pushed.
    #[default]
    DryRun,
    /// Commit and push to the branch, fast-forward only.
    Push,
    /// Open a pull request.
    PullRequest,
    /// Push, and open a pull request where the branch is protected.
    Auto,
}

/// A cause for which Git may be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// A metric was measured and was bad.
    MetricFailed,
    /// No progress within `progressDeadlineSeconds`.
    ProgressDeadline,
    /// A person aborted.
    UserAbort,
}

impl Trigger {
    /// The trigger that a cause fires; `None` where Git is never touched for it.
    pub const fn of(cause: Cause) -> Option<Self> {
        match cause {
            Cause::MetricFailed => Some(Self::MetricFailed),
            Cause::ProgressDeadline => Some(Self::ProgressDeadline),
            Cause::UserAbort => Some(Self::UserAbort),
            Cause::NoData | Cause::MetricError | Cause::Superseded => None,
        }
    }
}

/// Who a commit is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Author {
    /// Name. Default: `SelfHeal Bot`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// E-mail address. Default: `selfheal-bot@serin.dev`.
    #[schemars(length(min = 1, max = 253))]
    pub email: String,
}

impl Default for Author {
    fn default() -> Self {
        Self { name: "SelfHeal Bot".into(), email: "selfheal-bot@serin.dev".into() }
    }
}

/// How much may be done in Git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Commits by this policy within an hour; more are `Blocked`. Default: 10. 0: none at all.
    #[schemars(range(min = 0, max = 1000))]
    pub per_hour: i32,
}

impl Default for Limits {
    fn default() -> Self {
        // Ten bad versions within an hour under one policy is no longer a bad release but a bad metric or a broken
        // platform, and Git is the wrong place to fight it.
        Self { per_hour: 10 }
    }
}

fn metric_failed() -> Vec<Trigger> {
    vec![Trigger::MetricFailed]
}
