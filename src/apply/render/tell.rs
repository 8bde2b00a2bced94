//! Events and self-heal intents as requests.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{FIELD_MANAGER, Kind, Stage, Step, create, step};
use crate::{
    api::record,
    decide::plan::{About, Action, Event, Owner, Tell},
};

/// Room for the hash behind the name of the object that an event is about, in an object name's 253 characters.
const EVENT_NAME_CHARS: usize = 230;
/// More than people read, and less than a server refuses.
const MESSAGE_CHARS: usize = 1024;

pub(super) fn tell(tell: &Tell, owner: &Owner, now: Timestamp) -> Step {
    match tell {
        Tell::Event(told) => {
            let object = event(told, owner, now);
            step(Stage::Tell, Action::Event, create(Kind::Event, &owner.key.namespace, object))
        }
        Tell::SelfHeal(intent) => {
            let object = record::self_heal(owner, intent);
            let action = Action::SelfHeal(intent.name.clone());
            step(Stage::Tell, action, create(Kind::SelfHeal, &owner.key.namespace, object))
        }
    }
}

/// core/v1, as the reference has it. The name follows from what is told and when: sent twice, it is stored once.
fn event(event: &Event, owner: &Owner, now: Timestamp) -> Value {
    let (kind, name, uid, version) = match &event.about {
        About::Rollout => ("Rollout", &owner.key.name, &owner.uid.0, Some(&owner.resource_version)),
        About::Run { name, uid } => ("AnalysisRun", name, &uid.0, None),
    };
    let at = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let message: String = event.message.chars().take(MESSAGE_CHARS).collect();
    let mut involved = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "name": name,
        "namespace": owner.key.namespace,
        "uid": uid,
    });
    if let (Some(version), Some(involved)) = (version, involved.as_object_mut()) {
        involved.insert("resourceVersion".to_owned(), json!(version));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": event_name(name, &[uid, &event.reason, &message, &now.to_string()]),
            "namespace": owner.key.namespace,
        },
        "involvedObject": involved,
        "type": event.kind.to_string(),
        "reason": event.reason,
        "message": message,
        "source": { "component": FIELD_MANAGER },
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    })
}

fn event_name(about: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let about: String = about.chars().take(EVENT_NAME_CHARS).collect();
    format!("{about}.{digest}")
}
