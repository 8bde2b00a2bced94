//! Secret arguments: read live, right before they are used, and never shown.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::{
    clock::Clock,
    decide::analysis::{Outcome, Part, Query, SecretRef, Text},
};

const LIMIT: Duration = Duration::from_secs(5);

/// The values that one query needs.
#[derive(Default)]
pub(super) struct Secrets {
    values: BTreeMap<SecretRef, String>,
}

impl Secrets {
    /// Reads what `query` needs from `namespace`.
    ///
    /// # Errors
    /// `Unresolved` where a Secret or a key does not exist, `Outage` where it could not be read just now.
    pub(super) async fn read(
        client: &Client,
        clock: Clock,
        namespace: &str,
        query: &Query,
    ) -> Result<Self, Outcome> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let mut values = BTreeMap::new();
        for wanted in query.secrets() {
            if values.contains_key(wanted) {
                continue;
            }
            let secret = clock.timeout(LIMIT, api.get_opt(&wanted.name)).await;
            values.insert(wanted.clone(), value(secret, wanted)?);
        }
        Ok(Self { values })
    }

    /// The text with its secrets.
    pub(super) fn fill(&self, text: &Text) -> String {
        let part = |part: &Part| match part {
            Part::Plain(text) => text.clone(),
            Part::Secret(secret) => self.values.get(secret).cloned().unwrap_or_default(),
        };
        text.0.iter().map(part).collect()
    }

    pub(super) fn mask(&self, text: String) -> String {
        let known = self.values.values().filter(|value| !value.is_empty());
        known.fold(text, |text, value| text.replace(value.as_str(), "*****"))
    }
}

fn value(secret: Option<kube::Result<Option<Secret>>>, wanted: &SecretRef) -> Result<String, Outcome> {
    let SecretRef { name, key } = wanted;
    let outage =
        |why: String| Outcome::Outage { message: format!("secret '{name}' could not be read: {why}") };
    let secret = secret.ok_or_else(|| outage("no answer within 5 s".to_owned()))?;
    let secret = secret.map_err(|error| outage(error.to_string()))?;
    let secret =
        secret.ok_or_else(|| Outcome::Unresolved { message: format!("secrets \"{name}\" not found") })?;
    let data = secret.data.unwrap_or_default();
    let bytes = data.get(key).ok_or_else(|| Outcome::Unresolved {
        message: format!("key '{key}' does not exist in secret '{name}'"),
    })?;
    Ok(String::from_utf8_lossy(&bytes.0).into_owned())
}
