//! What this lane reads of a Rollout, taken from its JSON without trusting it: a field of another shape counts as
//! absent, so that no object can stop the others. No I/O. No clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::recipient::Recipient;
use crate::api::serin::Images;

/// Prefix of the annotations that subscribe channels.
const SUBSCRIBE: &str = "notifications.argoproj.io/subscribe.";
/// Most channels that one trigger of one Rollout tells; the rest are left out.
const MAX_RECIPIENTS: usize = 10;

/// What this lane reads of a Rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rollout {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Trigger to who is told; the empty trigger stands for the default ones.
    pub subscriptions: BTreeMap<String, BTreeSet<Recipient>>,
    /// `status.currentPodHash`: the version that the spec asks for.
    pub current: String,
    /// `status.stableRS`: the version that serves.
    pub stable: String,
    /// Images of the spec's pod template, so of `current`.
    pub images: Images,
    pub is_abort_wanted: bool,
    /// The message of the Progressing condition, present while its reason is RolloutAborted: the controller has
    /// booked the abort, and everything that it records of it is recorded.
    pub abort_message: Option<String>,
    pub aborted_at: Option<Timestamp>,
    /// Percent of the traffic that the canary has, as last observed; `None` without traffic routing.
    pub canary_weight: Option<i64>,
    pub pause: Option<Pause>,
    /// True while the condition Completed holds.
    pub is_completed: bool,
    pub has_traffic_routing: bool,
    /// Message of the newest analysis run in status, for instance why it was inconclusive.
    pub analysis_message: String,
}

/// The first of `status.pauseConditions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// `CanaryPauseStep`, `InconclusiveAnalysisRun`, ...
    pub reason: String,
    /// As on the wire.
    pub started_at: String,
}

impl Rollout {
    /// Reads a Rollout; never fails.
    pub(super) fn read(object: &Value) -> Self {
        let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
        let canary = &status["canary"];
        let progressing = condition(status, "Progressing");
        let pauses = status["pauseConditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        // Of several pauses the one that needs a person counts.
        let undecided = pauses.iter().find(|pause| pause["reason"] == "InconclusiveAnalysisRun");
        let pause = undecided.or(pauses.first()).unwrap_or(&Value::Null);
        let run_message = |name: &str| text(&canary[name]["message"]);
        Self {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            subscriptions: subscriptions(&metadata["annotations"]),
            current: text(&status["currentPodHash"]),
            stable: text(&status["stableRS"]),
            images: images(&spec["template"]["spec"]),
            is_abort_wanted: status["abort"].as_bool().unwrap_or(false),
            abort_message: progressing
                .filter(|found| found["reason"] == "RolloutAborted")
                .map(|found| text(&found["message"])),
            aborted_at: status["abortedAt"].as_str().and_then(|at| at.parse().ok()),
            canary_weight: canary["weights"]["canary"]["weight"].as_i64(),
            pause: pause["reason"]
                .as_str()
                .map(|reason| Pause { reason: reason.to_owned(), started_at: text(&pause["startTime"]) }),
            is_completed: condition(status, "Completed").is_some_and(|found| found["status"] == "True"),
            has_traffic_routing: spec["strategy"]["canary"]["trafficRouting"].is_object(),
            analysis_message: [
                run_message("currentStepAnalysisRunStatus"),
                run_message("currentBackgroundAnalysisRunStatus"),
            ]
            .into_iter()
            .find(|message| !message.is_empty())
            .unwrap_or_default(),
        }
    }

    /// Who subscribed to one of `triggers`; `is_default` adds those that named no trigger.
    pub(super) fn recipients(&self, triggers: &[&str], is_default: bool) -> BTreeSet<Recipient> {
        let named = triggers.iter().copied().chain(is_default.then_some(""));
        named
            .filter_map(|trigger| self.subscriptions.get(trigger))
            .flatten()
            .take(MAX_RECIPIENTS)
            .cloned()
            .collect()
    }
}

/// Keeps of a Rollout's JSON what [`Rollout::read`] reads, so that the store holds little.
pub(super) fn slim(object: &mut Value) {
    let kept = |from: &Value, names: &[&str]| -> Value {
        names.iter().filter_map(|&name| Some((name.to_owned(), from.get(name)?.clone()))).collect()
    };
    let pod = &object["spec"]["template"]["spec"];
    let containers = |list: &Value| -> Value {
        list.as_array().into_iter().flatten().map(|one| kept(one, &["name", "image"])).collect()
    };
    let spec = serde_json::json!({
        "template": {"spec": {
            "containers": containers(&pod["containers"]), "initContainers": containers(&pod["initContainers"]),
        }},
        "strategy": {"canary": if object["spec"]["strategy"]["canary"]["trafficRouting"].is_object() {
            serde_json::json!({"trafficRouting": {}})
        } else {
            Value::Null
        }},
    });
    let status = kept(
        &object["status"],
        &["currentPodHash", "stableRS", "abort", "abortedAt", "conditions", "pauseConditions", "canary"],
    );
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
        fields.insert("status".to_owned(), status);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|found| found["type"] == kind)
}

fn images(pod: &Value) -> Images {
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array());
    let all = lists.into_iter().flatten().flatten();
    all.filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["image"].as_str()?.to_owned())))
        .collect()
}

/// `subscribe.<trigger>.<service>: a;b`, and `subscribe.<service>` for the default triggers.
fn subscriptions(annotations: &Value) -> BTreeMap<String, BTreeSet<Recipient>> {
    let mut found: BTreeMap<String, BTreeSet<Recipient>> = BTreeMap::new();
    for (key, value) in annotations.as_object().into_iter().flatten() {
        let Some(rest) = key.strip_prefix(SUBSCRIBE) else { continue };
        let (trigger, service) = rest.rsplit_once('.').unwrap_or(("", rest));
        let recipients = Recipient::of(service, value.as_str().unwrap_or_default());
        if !recipients.is_empty() {
            found.entry(trigger.to_owned()).or_default().extend(recipients);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn subscriptions_are_the_references_annotations() {
        let found = subscriptions(&json!({
            "notifications.argoproj.io/subscribe.on-rollout-aborted.slack": "deploys; #sre ;;",
            "notifications.argoproj.io/subscribe.slack": "all",
            "notifications.argoproj.io/subscribe.on-rollout-aborted.teams": "no",
            "notifications.argoproj.io/subscribe.on-rollout-paused.slack": 7,
            "notifications.argoproj.io/subscribe.on-rollout-completed.slack-ops": "",
            "notifications.argoproj.io/subscribe.slack-ops": "",
            "other": "x",
        }));
        let channel = |name: &str| Recipient::Channel(name.to_owned());
        let webhook = Recipient::Webhook("slack-ops".to_owned());
        assert_eq!(found["on-rollout-aborted"], BTreeSet::from([channel("deploys"), channel("#sre")]));
        assert_eq!(found[""], BTreeSet::from([channel("all"), webhook.clone()]));
        assert_eq!(found["on-rollout-completed"], BTreeSet::from([webhook]));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_slim_rollout_reads_the_same() {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": "cart", "uid": "u1", "annotations": {
                "notifications.argoproj.io/subscribe.slack": "all"}},
            "spec": {"replicas": 10, "strategy": {"canary": {"steps": [], "trafficRouting": {"istio": {}}}},
                "template": {"spec": {"containers": [{"name": "app", "image": "app:v2", "env": [1]}]}}},
            "status": {"currentPodHash": "b", "stableRS": "g", "abort": true, "abortedAt": "2026-01-01T00:09:12Z",
                "replicas": 10, "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "t"}],
                "conditions": [{"type": "Progressing", "reason": "RolloutAborted", "message": "why"},
                    {"type": "Completed", "status": "False"}],
                "canary": {"weights": {"canary": {"weight": 0}},
                    "currentBackgroundAnalysisRunStatus": {"message": "bad"}}},
        });
        let before = Rollout::read(&object);
        slim(&mut object);
        assert_eq!(Rollout::read(&object), before);
        assert!(object["spec"].get("replicas").is_none() && object["status"].get("replicas").is_none());
        assert_eq!(before.images, Images::from([("app".to_owned(), "app:v2".to_owned())]));
        assert_eq!(before.abort_message.as_deref(), Some("why"));
        assert_eq!(before.canary_weight, Some(0));
        assert_eq!(before.analysis_message, "bad");
        assert!(before.has_traffic_routing && before.is_abort_wanted && !before.is_completed);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        let keys = prop_oneof![
            Just("metadata"),
            Just("spec"),
            Just("status"),
            Just("canary"),
            Just("template"),
            Just("conditions"),
            Just("pauseConditions"),
            Just("annotations"),
            Just("weights")
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(keys.clone(), inner, 0..5)
                    .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_content_is_read(mut object in any_json().prop_filter("an object", Value::is_object)) {
            let _ = Rollout::read(&object);
            slim(&mut object);
            let _ = Rollout::read(&object);
        }
    }
}
