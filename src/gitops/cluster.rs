//! What the Git lane asks of and tells the API server: single objects, read anew in every pass, and its own status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};

use super::{access::Values, rollout::RolloutFacts};
use crate::{
    api::serin::{SelfHeal, SelfHealPolicy, SelfHealStatus},
    clock::Clock,
};

/// The field manager of everything that is written here.
const MANAGER: &str = "serin-gitops";

/// The longest one request may take. A pass that fails on it is tried again.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Namespace and name of a SelfHeal.
pub type Key = (String, String);

/// Why the API server did not answer as it should. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("the API server gave no answer within {} s", REQUEST_LIMIT.as_secs())]
    TimedOut,
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("the pass panicked; this is a defect of serin")]
    Panicked,
}

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    clock: Clock,
}

/// A Secret of a namespace.
pub enum SecretFound {
    Missing,
    /// No role lets us read it.
    Forbidden,
    Read(Values),
}

/// The SelfHeal of a key.
pub enum Found {
    Gone,
    /// It is there, but not of the shape that this version knows.
    Unreadable(String),
    Read(Box<SelfHeal>),
}

impl Cluster {
    /// Asks through `client`.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
        let answer = self.clock.timeout(REQUEST_LIMIT, request).await;
        Ok(answer.ok_or(ClusterError::TimedOut)??)
    }

    fn api(&self, namespace: &str, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, kind)
    }

    /// Reads one SelfHeal.
    ///
    /// # Errors
    /// The server did not answer, or refused.
    pub async fn self_heal(&self, (namespace, name): &Key) -> Result<Found, ClusterError> {
        let api = self.api(namespace, &ApiResource::erase::<SelfHeal>(&()));
        let Some(object) = self.ask(api.get_opt(name)).await? else { return Ok(Found::Gone) };
        Ok(match object.try_parse::<SelfHeal>() {
            Ok(intent) => Found::Read(Box::new(intent)),
            Err(error) => Found::Unreadable(error.to_string()),
        })
    }

    /// Reads what matters of one Rollout; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::self_heal`].
    pub async fn rollout(&self, namespace: &str, name: &str) -> Result<Option<RolloutFacts>, ClusterError> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
        let api = self.api(namespace, &ApiResource::from_gvk_with_plural(&kind, "rollouts"));
        let Some(object) = self.ask(api.get_opt(name)).await? else { return Ok(None) };
        Ok(Some(RolloutFacts::read(&serde_json::to_value(&object).unwrap_or_default())))
    }

    /// Reads one Secret. The roles of `deploy/` grant that for no Secret; each namespace does it for its own.
    ///
    /// # Errors
    /// As [`Self::self_heal`], but not for a refusal.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<SecretFound, ClusterError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        match self.ask(api.get_opt(name)).await {
            Ok(None) => Ok(SecretFound::Missing),
            Ok(Some(secret)) => {
                let data = secret.data.unwrap_or_default();
                Ok(SecretFound::Read(data.into_iter().map(|(key, value)| (key, value.0)).collect()))
            }
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.code == 403 => {
                Ok(SecretFound::Forbidden)
            }
            Err(error) => Err(error),
        }
    }

    /// The policies of a namespace. One that is not of the shape that this version knows is left out and logged.
    ///
    /// # Errors
    /// As [`Self::self_heal`].
    pub async fn policies(&self, namespace: &str) -> Result<Vec<SelfHealPolicy>, ClusterError> {
        let api = self.api(namespace, &ApiResource::erase::<SelfHealPolicy>(&()));
        let list = self.ask(api.list(&ListParams::default())).await?;
        let mut policies = vec![];
        for object in list {
            let name = object.metadata.name.clone().unwrap_or_default();
            match object.try_parse::<SelfHealPolicy>() {
                Ok(policy) => policies.push(policy),
                Err(error) => tracing::warn!(
                    policy.namespace = namespace, policy.name = name, error = %error,
                    "SelfHealPolicy `{namespace}/{name}` cannot be read and is left out"
                ),
            }
        }
        policies.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Ok(policies)
    }

    /// How many commits were pushed by a policy of this namespace since `since`.
    ///
    /// # Errors
    /// As [`Self::self_heal`].
    pub async fn pushes(
        &self,
        namespace: &str,
        policy: &str,
        since: Timestamp,
    ) -> Result<usize, ClusterError> {
        let api = self.api(namespace, &ApiResource::erase::<SelfHeal>(&()));
        let list = self.ask(api.list(&ListParams::default())).await?;
        let statuses = list.into_iter().filter_map(|o| o.try_parse::<SelfHeal>().ok()?.status);
        Ok(statuses
            .filter(|s| s.policy == policy && s.pushed_at.as_ref().is_some_and(|at| at.0 > since))
            .count())
    }

    /// Writes the difference between two statuses; nothing where there is none.
    ///
    /// # Errors
    /// As [`Self::self_heal`].
    pub async fn write(
        &self,
        (namespace, name): &Key,
        old: &SelfHealStatus,
        new: &SelfHealStatus,
    ) -> Result<(), ClusterError> {
        let Some(patch) = super::status::patch(old, new) else { return Ok(()) };
        let api = self.api(namespace, &ApiResource::erase::<SelfHeal>(&()));
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        self.ask(api.patch_status(name, &parameters, &Patch::Merge(&patch))).await?;
        Ok(())
    }
}
