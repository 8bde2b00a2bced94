//! How a story ended, as facts that must not depend on what happened on the way.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serin::sim::{engine, store::Resource};

use crate::play::Seen;

/// Facts by name.
pub(crate) fn ending(seen: &Seen) -> BTreeMap<String, Value> {
    let mut facts = BTreeMap::new();
    objects(seen, &mut facts);
    let history = engine::history(&seen.played.repository).unwrap();
    // The first one holds the repository's own address.
    for (age, commit) in history.iter().rev().enumerate().skip(1) {
        facts.insert(
            format!("commit {age}"),
            json!([commit.author, commit.message.lines().next(), commit.patch]),
        );
    }
    for (nth, message) in seen.slack.messages().iter().enumerate() {
        let texts = message.blocks.to_string();
        let is_reverted = history.iter().any(|commit| texts.contains(&commit.id.to_string()[..10]));
        facts.insert(
            format!("message {nth}"),
            json!([message.channel, message.metadata["event_type"], is_reverted]),
        );
    }
    facts
}

fn objects(seen: &Seen, facts: &mut BTreeMap<String, Value>) {
    let kinds = [
        (
            Resource::Rollouts,
            vec![
                "/spec/template",
                "/status/phase",
                "/status/stableRS",
                "/status/currentPodHash",
                "/status/abort",
            ],
        ),
        (Resource::ReplicaSets, vec!["/spec/replicas", "/status/readyReplicas", "/spec/template"]),
        (Resource::Services, vec!["/spec"]),
        (Resource::VirtualServices, vec!["/spec", "/metadata/annotations"]),
        (Resource::AnalysisRuns, vec!["/status/phase", "/status/metricResults/0/failed"]),
        (
            Resource::SelfHeals,
            vec!["/spec/bad", "/spec/good", "/spec/cause", "/status/phase", "/status/reason"],
        ),
        (
            Resource::RolloutRecords,
            vec!["/status/controller/cause", "/status/notify/ledger/0/state", "/status/notify/ledger/1"],
        ),
    ];
    seen.played.door.with(|world| {
        for (resource, fields) in &kinds {
            for (key, object) in world.store().objects(*resource) {
                for field in fields {
                    let value = object.pointer(field).cloned().unwrap_or_default();
                    facts.insert(format!("{resource:?} {} {field}", key.name), value);
                }
            }
        }
    });
}
