//! What a story is judged by, as plain values: whoever plays one, on the embedded world or on real parts, fills this in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    domain::Key,
    sim::play::timeline::{Asked, Entry},
};

/// From the death of a controller to its next start.
const BACK_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// What others can see of a story that was played. Nothing in it is what serin says of itself in logs.
#[derive(Clone, Debug)]
pub struct Case {
    pub names: Names,
    /// Every object at the end, whole.
    pub objects: Vec<Value>,
    /// What was asked of the API server, and what Prometheus answered, in order. Without answers of Prometheus (they are
    /// the first to be lost) the order of requests alone is judged.
    pub entries: Vec<Entry>,
    /// The branch's history, newest first.
    pub commits: Vec<Commit>,
    pub messages: Vec<Message>,
    pub traffic: Traffic,
    /// How long the mesh may lag behind.
    pub data_plane_delay: SignedDuration,
    /// How many times shorter the durations in the manifests, and with them the outages, are than in the README's story. At
    /// least 1.
    pub shortened: i32,
    /// How many requests may have been on their way when Prometheus answered: on a real network its answer is read a while after
    /// it was given, and what is under way then is not called back.
    pub under_way: usize,
    /// What the story waited for in vain; `None` where it came to its end.
    pub stuck: Option<String>,
}

/// What nobody can do faster for certain, whatever the manifests say.
const MACHINE: SignedDuration = SignedDuration::from_secs(10);

/// Who is who.
#[derive(Clone, Debug)]
pub struct Names {
    pub rollout: Key,
    pub virtual_service: Key,
    pub stable_service: String,
    pub canary_service: String,
    /// Images: before, released, and pushed by a person afterwards.
    pub old_image: String,
    pub new_image: String,
    pub fixed_image: String,
    /// The actors whose requests are the controller's.
    pub controllers: Vec<String>,
    /// The author of commits that serin makes.
    pub bot: String,
}

/// A commit.
#[derive(Clone, Debug)]
pub struct Commit {
    pub id: String,
    pub author: String,
    pub at: Timestamp,
    /// Subject and body.
    pub message: String,
    /// The change as a unified diff.
    pub patch: String,
}

/// A message in a channel.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it says now: the title in the first line.
    pub text: String,
    /// What it said before each edit, oldest first.
    pub earlier: Vec<String>,
}

/// What became of users' requests.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Requests by version (image tag).
    pub served: BTreeMap<String, f64>,
    /// Requests that nobody answered.
    pub failed: f64,
    /// Who served at the very end.
    pub last: BTreeSet<String>,
    /// Times in which a part of the requests met nobody.
    pub lost: Vec<Lost>,
}

/// A time in which a part of the requests met nobody.
#[derive(Clone, Debug)]
pub struct Lost {
    pub from: Timestamp,
    pub lasted: SignedDuration,
    /// Of all requests, 0 to 1.
    pub share: f64,
    /// Where they were sent.
    pub destination: String,
}

impl Case {
    /// The objects of a kind.
    pub(super) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// One object; null where it is not there.
    pub(super) fn one(&self, kind: &str, namespace: &str, name: &str) -> &Value {
        let is_meant = |object: &&Value| {
            let metadata = &object["metadata"];
            object["kind"] == kind && metadata["namespace"] == namespace && metadata["name"] == name
        };
        self.objects.iter().find(is_meant).unwrap_or(&Value::Null)
    }

    pub(super) fn rollout(&self) -> &Value {
        self.one("Rollout", &self.names.rollout.namespace, &self.names.rollout.name)
    }

    /// The values that the canary's weight had, one after the other.
    pub(super) fn weights(&self) -> Vec<(Timestamp, i64)> {
        let mut weights: Vec<(Timestamp, i64)> = vec![];
        for entry in self.entries.iter().filter(|entry| entry.asked().is_some()) {
            if let Some(weight) = entry.canary_weight
                && weights.last().is_none_or(|(_, last)| *last != weight)
            {
                weights.push((entry.at, weight));
            }
        }
        weights
    }

    /// How long nobody may have been there to act in this time: a controller that died is back after ten seconds.
    pub(super) fn nobody_there(&self, from: Timestamp, to: Timestamp) -> SignedDuration {
        let died = |asked: &Asked| {
            asked.status == 0
                && self.is_controller(&asked.actor)
                && asked.at + BACK_AFTER >= from
                && asked.at <= to
        };
        let deaths = self.entries.iter().filter_map(Entry::asked).filter(|asked| died(asked)).count();
        BACK_AFTER * i32::try_from(deaths).unwrap_or(i32::MAX)
    }

    /// A duration of the README's story as this case has it.
    pub(super) fn short(&self, time: SignedDuration) -> SignedDuration {
        time / self.shortened.max(1)
    }

    /// As [`Case::short`] for what must not take longer: never so short that a machine which does other things, too, is at fault.
    pub(super) fn at_most(&self, time: SignedDuration) -> SignedDuration {
        self.short(time).max(MACHINE)
    }

    pub(super) fn is_controller(&self, actor: &str) -> bool {
        self.names.controllers.iter().any(|name| name == actor)
    }
}
