//! The GitOps engine of the embedded world: it applies what the tip of a branch says, as Argo CD and Flux do, and
//! looks again at its poll interval. Deterministic: it does its work when it is told that its time has come.

use std::path::PathBuf;

use git2::{ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    door::Door,
    store::{Answer, Resource},
    world::World,
};
use crate::api::http::{Body, Method, Request, Response};

mod repository;

pub use repository::{Author, Recorded, commit, history, seed};

/// How an engine works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its field manager, and its name among the world's actors.
    pub name: String,
    /// The bare repository.
    pub repository: PathBuf,
    pub branch: String,
    /// Only files below this folder of the repository; empty: all.
    pub directory: String,
    /// How often the branch is looked at.
    pub poll: SignedDuration,
    /// Where objects without a namespace go.
    pub namespace: String,
    /// Applies again what differs from Git in the cluster, also when Git did not change.
    pub self_heal: bool,
    /// Whether VirtualServices are kept as in Git. Without it one is made where it is missing and then left alone, as
    /// with `ignoreDifferences` on its weights.
    pub with_virtual_service: bool,
    /// Leaves objects alone whose kind the world does not know, as if somebody else's engine applied them.
    pub skips_unknown_kinds: bool,
}

impl Config {
    /// Applies `main` of this repository to the namespace `default` every 5 s, and heals no differences.
    pub fn new(repository: PathBuf) -> Self {
        Self {
            name: "gitops-engine".into(),
            repository,
            branch: "main".into(),
            directory: String::new(),
            poll: SignedDuration::from_secs(5),
            namespace: "default".into(),
            self_heal: false,
            with_virtual_service: false,
            skips_unknown_kinds: false,
        }
    }
}

/// A commit that was applied whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub at: Timestamp,
    pub commit: Oid,
}

/// The engine.
#[derive(Clone, Debug)]
pub struct Engine {
    config: Config,
    due: Timestamp,
    applied: Vec<Applied>,
    failures: Vec<(Timestamp, String)>,
}

/// Failures kept; an engine whose repository stays broken fails at every poll.
const MAX_FAILURES: usize = 1000;

impl Engine {
    /// An engine that looks for the first time at `now`.
    pub fn new(config: Config, now: Timestamp) -> Self {
        Self { config, due: now, applied: vec![], failures: vec![] }
    }

    /// When it looks next.
    pub fn next_due(&self) -> Timestamp {
        self.due
    }

    /// Looks now, whatever the poll interval says: a webhook or a person asked.
    pub fn refresh(&mut self, now: Timestamp) {
        self.due = self.due.min(now);
    }

    /// Every commit that was applied whole, the oldest first; one that is applied again stands there again.
    pub fn applied(&self) -> &[Applied] {
        &self.applied
    }

    /// What went wrong, the oldest first.
    pub fn failures(&self) -> &[(Timestamp, String)] {
        &self.failures
    }

    /// Does what is due at `now`, by requests that `send` answers.
    pub fn run(&mut self, now: Timestamp, mut send: impl FnMut(&Request) -> Response) {
        if now < self.due {
            return;
        }
        self.due = now.saturating_add(self.config.poll).unwrap_or(Timestamp::MAX);
        match self.sync(&mut send) {
            Ok(Some(commit)) => self.applied.push(Applied { at: now, commit }),
            Ok(None) => {}
            Err(error) => {
                self.failures.push((now, error));
                if self.failures.len() > MAX_FAILURES {
                    self.failures.remove(0);
                }
            }
        }
    }

    /// As [`Self::run`], at the world's time and by its own door.
    pub fn run_in(&mut self, world: &mut World) {
        let name = self.config.name.clone();
        self.run(world.now(), |request| match world.handle(request, &name) {
            Answer::Response(response) => response,
            Answer::Watch(_) | Answer::Crash => Response { status: 503, body: Value::Null },
        });
    }

    /// Does what is due until `shutdown`, telling `seen` after each look.
    pub async fn drive(
        mut self,
        door: Door,
        shutdown: CancellationToken,
        mut seen: impl FnMut(&Self) + Send,
    ) {
        let clock = door.clock();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock.sleep_until(self.due) => {}
            }
            door.with(|world| self.run_in(world));
            seen(&self);
        }
    }

    /// Applies the tip if it is new or has to be kept. The commit, if it was applied and is not the last one.
    fn sync(&self, send: &mut impl FnMut(&Request) -> Response) -> Result<Option<Oid>, String> {
        let repository = Repository::open(&self.config.repository).map_err(|e| e.message().to_owned())?;
        let reference = format!("refs/heads/{}", self.config.branch);
        let tip = repository.refname_to_id(&reference).map_err(|e| e.message().to_owned())?;
        let is_new = self.applied.last().is_none_or(|applied| applied.commit != tip);
        if !is_new && !self.config.self_heal {
            return Ok(None);
        }
        let mut failures = vec![];
        for object in documents(&repository, tip, &self.config.directory)? {
            if self.config.skips_unknown_kinds && resource(&object).is_none() {
                continue;
            }
            if let Err(failure) = self.keep(&object, is_new, send) {
                failures.push(failure);
            }
        }
        match failures.is_empty() {
            true => Ok(is_new.then_some(tip)),
            false => Err(failures.join("; ")),
        }
    }

    /// Applies one object where that is called for.
    fn keep(
        &self,
        object: &Value,
        is_new: bool,
        send: &mut impl FnMut(&Request) -> Response,
    ) -> Result<(), String> {
        let path = self.path(object)?;
        let is_left_alone = object.get("kind").and_then(Value::as_str) == Some("VirtualService")
            && !self.config.with_virtual_service;
        if !is_new || is_left_alone {
            let get = Request { method: Method::Get, path: path.clone(), query: vec![], body: Body::Empty };
            let live = send(&get);
            if live.is_success() && (is_left_alone || holds(&live.body, object)) {
                return Ok(());
            }
        }
        let query = vec![
            ("fieldManager".to_owned(), self.config.name.clone()),
            ("force".to_owned(), "true".to_owned()),
        ];
        let body = Body::Apply(object.clone());
        let answer = send(&Request { method: Method::Patch, path: path.clone(), query, body });
        if answer.is_success() {
            return Ok(());
        }
        Err(format!("{path}: {} {}", answer.status, answer.message()))
    }

    fn path(&self, object: &Value) -> Result<String, String> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let resource = resource(object)
            .ok_or_else(|| format!("no kind `{kind}` in `{version}`; the engine cannot apply it"))?;
        let definition = resource.definition();
        let root = if definition.group.is_empty() { "/api" } else { "/apis" };
        let namespace = match text("/metadata/namespace") {
            "" => &self.config.namespace,
            namespace => namespace,
        };
        let scope = if definition.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        Ok(format!("{root}/{version}{scope}/{}/{name}", definition.plural))
    }
}

fn resource(object: &Value) -> Option<Resource> {
    Resource::of_kind(object["apiVersion"].as_str()?, object["kind"].as_str()?)
}

/// All objects in the YAML and JSON files at a commit, in the order in which they are applied: what others refer to
/// first, Rollouts last, otherwise as the files have them.
fn documents(repository: &Repository, tip: Oid, directory: &str) -> Result<Vec<Value>, String> {
    let error = |e: git2::Error| e.message().to_owned();
    let tree = repository.find_commit(tip).and_then(|commit| commit.tree()).map_err(error)?;
    let mut files = vec![];
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        let path = format!("{folder}{}", entry.name().unwrap_or_default());
        let below =
            directory.is_empty() || path.starts_with(&format!("{}/", directory.trim_end_matches('/')));
        let ending = path.rsplit('.').next().unwrap_or_default();
        if below && entry.kind() == Some(ObjectType::Blob) && ["yaml", "yml", "json"].contains(&ending) {
            files.push((path, entry.id()));
        }
        TreeWalkResult::Ok
    })
    .map_err(error)?;
    files.sort();
    let mut objects: Vec<Value> = vec![];
    for (path, id) in files {
        let blob = repository.find_blob(id).map_err(error)?;
        let text = std::str::from_utf8(blob.content()).map_err(|e| format!("{path}: {e}"))?;
        let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|e| format!("{path}: {e}"))?;
        objects.extend(values.into_iter().filter(|value| !value.is_null()));
    }
    objects.sort_by_key(|object| match object.get("kind").and_then(Value::as_str) {
        Some("Namespace" | "CustomResourceDefinition") => 0,
        Some("Rollout") => 2,
        Some(_) | None => 1,
    });
    Ok(objects)
}

/// True where `live` says everything that `wanted` says.
fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| live.get(key).is_some_and(|live| holds(live, value)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| holds(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests;
