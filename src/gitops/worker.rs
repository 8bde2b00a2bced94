//! The loop of the Git lane: hears of changes, keeps a queue of keys with their times, runs a pass for each that is
//! due. The objects in the API server are the memory; what is in here can be lost at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event, watcher},
};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    cluster::{Cluster, ClusterError, Key},
    heal::Rules,
    lane::Lanes,
    pass::{Again, Workshop, pass},
    pause::Pause,
    repo::Clones,
    transfer::Transfer,
};
use crate::{
    api::{
        http::WATCH_SECONDS,
        serin::{Phase, SelfHeal, SelfHealPolicy},
    },
    clock::Clock,
    telemetry::{Health, Heartbeat, Metrics, SelfHealFacts, logging::with_causes},
};

/// The loop turns this often, also when nothing is due.
const TURN: Duration = Duration::from_secs(10);
/// A loop that has not turned for so long hangs.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// Between two tries of a watch that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How the Git lane works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for the bare clones. Made if it is not there; its content may be lost at any time.
    pub clones: PathBuf,
    /// How transfers are run.
    pub transfer: Transfer,
    /// Whether `file://` and `git://` remotes may be used. For the demo and for tests: they know no credentials.
    pub allow_file_remotes: bool,
    /// Only this namespace; `None`: all.
    pub namespace: Option<String>,
    /// A failure that is older when it is first seen is left to people.
    pub max_age: Duration,
    /// How soon a Rollout is looked at again that is waited for.
    pub poll: Duration,
    /// Seeds the pauses between tries.
    pub seed: u64,
    /// Where SelfHeals are counted.
    pub metrics: Metrics,
    /// Told that the loop turns, and when what it watches was listed.
    pub health: Option<Health>,
}

impl Config {
    /// The defaults: all namespaces, no remotes without credentials, failures of the last day, a look each 5 s.
    pub fn new(clones: PathBuf, transfer: Transfer) -> Self {
        Self {
            clones,
            transfer,
            allow_file_remotes: false,
            namespace: None,
            max_age: Duration::from_hours(24),
            poll: Duration::from_secs(5),
            seed: 0,
            metrics: Metrics::of_role(env!("CARGO_PKG_VERSION"), "gitops"),
            health: None,
        }
    }
}

/// Why the Git lane cannot run at all. Everything else is tried again for ever.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the folder for clones, {0}, cannot be written")]
    Folder(PathBuf, #[source] std::io::Error),
}

/// Carries out reverts until `shutdown`.
///
/// # Errors
/// The folder for clones cannot be written. Not for an API server, a Git server or a kind that is not there: they are
/// waited for.
pub async fn run(
    client: Client,
    clock: Clock,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let clones = Clones::below(config.clones.clone()).bounded(config.transfer.most_bytes.saturating_mul(4));
    clones.prepare().map_err(|e| Error::Folder(config.clones.clone(), e))?;
    let workshop = Arc::new(Workshop {
        cluster: Cluster::new(client.clone(), clock),
        lanes: Lanes::new(clones, config.transfer.clone()),
        clock,
        rules: Rules {
            allow_file_remotes: config.allow_file_remotes,
            max_age_seconds: i64::try_from(config.max_age.as_secs()).unwrap_or(i64::MAX),
        },
        poll: config.poll,
    });
    tracing::info!(
        namespace = config.namespace.as_deref().unwrap_or("all"), clones = %config.clones.display(),
        "Ready to revert in Git, in namespaces: {}", config.namespace.as_deref().unwrap_or("all")
    );
    let (send, mut news) = mpsc::unbounded_channel();
    let mut watches = JoinSet::new();
    let unlisted = Unlisted::default();
    for kind in [Kind::SelfHeal, Kind::Policy] {
        unlisted.set(kind, Some(format!("{} is not listed yet", kind.resource().kind)));
        let watched = Watched { kind, unlisted: unlisted.clone(), send: send.clone() };
        watches.spawn(watched.run(client.clone(), config.namespace.clone(), clock));
    }
    let health = config.health.clone();
    let _gate = health.as_ref().map(|health| health.gate("watches", move || unlisted.first()));
    let heartbeat = health.as_ref().map(|health| health.heartbeat("reverts", LONGEST_TURN));
    let mut queue = Queue { config, workshop, keys: BTreeMap::new(), running: JoinSet::new() };
    loop {
        heartbeat.iter().for_each(Heartbeat::beat);
        let due = queue.start_due(clock.now());
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(change) = news.recv() => queue.heard(change, clock.now()),
            Some(Ok(ended)) = queue.running.join_next() => queue.ended(ended, clock.now()),
            () = wait(clock, due) => {}
            () = clock.sleep(TURN) => {}
        }
    }
}

async fn wait(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    SelfHeal,
    Policy,
}

impl Kind {
    fn resource(self) -> ApiResource {
        match self {
            Self::SelfHeal => ApiResource::erase::<SelfHeal>(&()),
            Self::Policy => ApiResource::erase::<SelfHealPolicy>(&()),
        }
    }
}

/// Which kinds have never been listed, and why.
#[derive(Clone, Default)]
struct Unlisted(Arc<Mutex<BTreeMap<Kind, String>>>);

impl Unlisted {
    /// `None`: it was listed. From then on failures are nobody's reason to call the process not ready.
    fn set(&self, kind: Kind, why: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(all.insert(kind, why)),
            None => drop(all.remove(&kind)),
        }
    }

    fn failed(&self, kind: Kind, error: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = all.get_mut(&kind) {
            *why = format!("{} cannot be listed: {error}", kind.resource().kind);
        }
    }

    fn first(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned()
    }
}

/// What a watch tells.
#[derive(Debug)]
enum Change {
    /// A SelfHeal is there, in this edition. Its status is ours alone and no part of the edition.
    There {
        key: Key,
        edition: (String, i64),
        facts: SelfHealFacts,
    },
    Gone {
        key: Key,
    },
    /// These and no others are there: what went away while no watch was open is not told otherwise.
    Listed {
        keys: BTreeSet<Key>,
    },
    /// A policy of this namespace changed: whoever waits there for a change is looked at again.
    Policy {
        namespace: String,
    },
}

/// One kind's watch.
struct Watched {
    kind: Kind,
    unlisted: Unlisted,
    send: mpsc::UnboundedSender<Change>,
}

impl Watched {
    /// Watches for ever.
    async fn run(self, client: Client, namespace: Option<String>, clock: Clock) {
        let resource = self.kind.resource();
        let api: Api<DynamicObject> = match &namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let events = watcher(api, watcher::Config::default().page_size(100).timeout(WATCH_SECONDS));
        let mut events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(events);
        let mut pause = Pause::new(0, &resource.plural);
        let mut failures = 0;
        let mut listed = BTreeSet::new();
        while let Some(event) = events.next().await {
            let change = match event {
                // Said before each list is asked for, and so no sign that anything works.
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(event) => self.take(event, &mut listed),
                Err(error) => {
                    failures += 1;
                    let why = with_causes(&error);
                    self.unlisted.failed(self.kind, &why);
                    // Once: an outage would fill the log with its tries.
                    if failures == 1 {
                        let kind = &resource.kind;
                        tracing::warn!(kind, error = %why, "The watch of {kind} failed, it is tried until it works again: {why}");
                    }
                    clock.sleep(pause.after(failures).min(LONGEST_PAUSE)).await;
                    continue;
                }
            };
            if std::mem::take(&mut failures) > 0 {
                let kind = &resource.kind;
                tracing::info!(kind, "The watch of {kind} works again");
            }
            if change.is_some_and(|change| self.send.send(change).is_err()) {
                return;
            }
        }
    }

    /// `listed` collects the keys of a list while it is read.
    fn take(&self, event: Event<DynamicObject>, listed: &mut BTreeSet<Key>) -> Option<Change> {
        match event {
            Event::Apply(object) => there(self.kind, &object),
            Event::Delete(object) => gone(self.kind, &object),
            Event::Init => None,
            Event::InitApply(object) => {
                listed.insert(key(&object));
                there(self.kind, &object)
            }
            Event::InitDone => {
                self.unlisted.set(self.kind, None);
                let keys = std::mem::take(listed);
                (self.kind == Kind::SelfHeal).then_some(Change::Listed { keys })
            }
        }
    }
}

fn key(object: &DynamicObject) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn there(kind: Kind, object: &DynamicObject) -> Option<Change> {
    Some(match kind {
        Kind::SelfHeal => {
            let edition = (object.uid().unwrap_or_default(), object.metadata.generation.unwrap_or_default());
            Change::There { key: key(object), edition, facts: facts(object) }
        }
        Kind::Policy => Change::Policy { namespace: object.namespace()? },
    })
}

fn facts(object: &DynamicObject) -> SelfHealFacts {
    let text = |path: &str| object.data.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let phase: Option<Phase> =
        object.data.pointer("/status/phase").and_then(|phase| Phase::deserialize(phase).ok());
    SelfHealFacts {
        rollout: text("/spec/rolloutRef/name").to_owned(),
        created: object.creation_timestamp().map(|at| at.0.to_string()).unwrap_or_default(),
        phase: phase.unwrap_or(Phase::Pending).into(),
    }
}

fn gone(kind: Kind, object: &DynamicObject) -> Option<Change> {
    Some(match kind {
        Kind::SelfHeal => Change::Gone { key: key(object) },
        Kind::Policy => Change::Policy { namespace: object.namespace()? },
    })
}

/// One key's place in the queue.
#[derive(Debug)]
struct Place {
    edition: (String, i64),
    /// When it is due; `None`: when something changes.
    due: Option<Timestamp>,
    is_running: bool,
    /// Failed or waiting passes in a row.
    failures: u32,
    pause: Pause,
}

type Ended = (Key, Result<Again, ClusterError>, Pause);

struct Queue {
    config: Config,
    workshop: Arc<Workshop>,
    keys: BTreeMap<Key, Place>,
    running: JoinSet<Ended>,
}

impl Queue {
    fn heard(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::There { key, edition, facts } => {
                self.config.metrics.self_heal(&key.0, &key.1, Some(facts));
                let seed = self.config.seed;
                let place = self.keys.entry(key).or_insert_with_key(|(namespace, name)| Place {
                    edition: (String::new(), -1),
                    due: None,
                    is_running: false,
                    failures: 0,
                    pause: Pause::new(seed, &format!("{namespace}/{name}")),
                });
                // Our own writes of the status are heard too; they change no edition.
                if place.edition != edition {
                    place.edition = edition;
                    place.due = Some(now);
                }
            }
            Change::Gone { key } => self.lost(&key),
            Change::Listed { keys } => {
                let gone: Vec<Key> = self.keys.keys().filter(|key| !keys.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| self.lost(key));
            }
            Change::Policy { namespace } => {
                let there = self.keys.iter_mut().filter(|((n, _), _)| *n == namespace);
                for (_, place) in there {
                    place.due = Some(now);
                }
            }
        }
    }

    fn lost(&mut self, key: &Key) {
        self.config.metrics.self_heal(&key.0, &key.1, None);
        self.keys.remove(key);
    }

    /// Starts a pass for every key that is due and has none; says when the next one is.
    fn start_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        for (key, place) in &mut self.keys {
            if !place.is_running && place.due.is_some_and(|due| due <= now) {
                place.is_running = true;
                place.due = None;
                let (workshop, key, mut pause) = (self.workshop.clone(), key.clone(), place.pause.clone());
                self.running.spawn(async move {
                    let span = tracing::info_span!(
                        target: "trace",
                        "revert",
                        self_heal.namespace = key.0,
                        self_heal.name = key.1
                    );
                    let pass = AssertUnwindSafe(pass(&workshop, &key, &mut pause)).catch_unwind();
                    let ended = pass.instrument(span).await;
                    (key, ended.unwrap_or(Err(ClusterError::Panicked)), pause)
                });
            }
        }
        self.keys.values().filter(|place| !place.is_running).filter_map(|place| place.due).min()
    }

    fn ended(&mut self, (key, result, pause): Ended, now: Timestamp) {
        let Some(place) = self.keys.get_mut(&key) else { return };
        place.is_running = false;
        place.pause = pause;
        let wait = match result {
            Ok(Again::OnChange) => {
                place.failures = 0;
                None
            }
            Ok(Again::After(wait)) => {
                place.failures = 0;
                Some(wait)
            }
            Ok(Again::BackOff) => {
                place.failures += 1;
                Some(place.pause.after(place.failures))
            }
            Ok(Again::Seldom) => {
                place.failures += 1;
                Some(place.pause.for_a_person(place.failures))
            }
            Err(error) => {
                place.failures += 1;
                let wait = place.pause.after(place.failures);
                tracing::warn!(
                    self_heal.namespace = key.0, self_heal.name = key.1, error = %error, wait_ms = wait.as_millis(),
                    "The pass over `{}/{}` failed; tried again", key.0, key.1
                );
                Some(wait)
            }
        };
        let due = wait
            .map(|wait| now.saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)));
        tracing::debug!(
            self_heal.namespace = key.0,
            self_heal.name = key.1,
            wait_ms = wait.map(|wait| wait.as_millis()),
            "The pass over `{}/{}` ended",
            key.0,
            key.1
        );
        // What was heard meanwhile makes it due earlier.
        let due = due.map(|due| due.unwrap_or(Timestamp::MAX));
        place.due = place.due.into_iter().chain(due).min();
    }
}
