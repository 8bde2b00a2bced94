//! What the Git lane needs to know of a Rollout, read from its JSON. Reads any content; what is not there is absent.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::serin::{Images, Version};

/// A Rollout as far as a revert depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutFacts {
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    /// The version that its spec asks for; empty while the controller has not looked.
    pub current_hash: String,
    pub is_aborted: bool,
    /// Healthy, and the status is about the newest spec.
    pub is_healthy: bool,
    /// The images in its own pod template; empty where the template is elsewhere.
    pub images: Images,
}

impl RolloutFacts {
    /// Reads the facts.
    pub fn read(rollout: &Value) -> Self {
        let text = |pointer: &str| {
            rollout.pointer(pointer).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
        };
        let generation = rollout.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        let labels = rollout.pointer("/metadata/labels").and_then(Value::as_object);
        Self {
            uid: text("/metadata/uid"),
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            current_hash: text("/status/currentPodHash"),
            is_aborted: rollout.pointer("/status/abort").and_then(Value::as_bool).unwrap_or_default(),
            // The wire has the observed generation as text.
            is_healthy: text("/status/phase") == "Healthy"
                && text("/status/observedGeneration") == generation.to_string(),
            images: ["containers", "initContainers"]
                .iter()
                .filter_map(|list| {
                    rollout.pointer(&format!("/spec/template/spec/{list}")).and_then(Value::as_array)
                })
                .flatten()
                .filter_map(|container| {
                    Some((container.get("name")?.as_str()?.into(), container.get("image")?.as_str()?.into()))
                })
                .collect(),
        }
    }

    /// True where the Rollout's spec asks for this version.
    pub fn asks_for(&self, version: &Version) -> bool {
        let same = |(container, image): (&String, &String)| self.images.get(container) == Some(image);
        self.current_hash == version.hash || (!version.images.is_empty() && version.images.iter().all(same))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_read_as_the_wire_has_it() {
        let facts = RolloutFacts::read(&json!({
            "metadata": {"uid": "u", "generation": 7, "labels": {"team": "shop"}},
            "spec": {"template": {"spec": {
                "containers": [{"name": "app", "image": "app:v1"}, {"name": "no-image"}],
                "initContainers": [{"name": "init", "image": "init:v1"}]
            }}},
            "status": {"currentPodHash": "h", "abort": true, "phase": "Healthy", "observedGeneration": "7"}
        }));
        assert_eq!((facts.uid.as_str(), facts.current_hash.as_str()), ("u", "h"));
        assert!(facts.is_aborted && facts.is_healthy);
        assert_eq!(facts.images.keys().collect::<Vec<_>>(), ["app", "init"]);
        assert_eq!(facts.labels["team"], "shop");
    }

    #[test]
    fn a_status_of_an_older_spec_is_not_healthy_and_nonsense_is_absent() {
        let rollout =
            json!({"metadata": {"generation": 8}, "status": {"phase": "Healthy", "observedGeneration": "7"}});
        assert!(!RolloutFacts::read(&rollout).is_healthy);
        let nonsense =
            json!({"metadata": [], "spec": {"template": 7}, "status": {"abort": "yes", "currentPodHash": 3}});
        assert_eq!(RolloutFacts::read(&nonsense), RolloutFacts::default());
    }
}
