//! The loop of the Git lane: hears of changes, keeps a queue of keys with their times, runs a pass for each that is
//! due. The objects in the API server are the memory; what is in here can be lost at any time.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event, watcher},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

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
        serin::{SelfHeal, SelfHealPolicy},
    },
    clock::Clock,
};

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
    for kind in [Kind::SelfHeal, Kind::Policy] {
        watches.spawn(watch(client.clone(), kind, config.namespace.clone(), clock, send.clone()));
    }
    let mut queue = Queue { config, workshop, keys: BTreeMap::new(), running: JoinSet::new() };
    loop {
        let due = queue.start_due(clock.now());
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(change) = news.recv() => queue.heard(change, clock.now()),
            Some(Ok(ended)) = queue.running.join_next() => queue.ended(ended, clock.now()),
            () = wait(clock, due) => {}
        }
    }
}

async fn wait(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    SelfHeal,
    Policy,
}

/// What a watch tells.
#[derive(Debug)]
enum Change {
    /// A SelfHeal is there, in this edition. Its status is ours alone and no part of the edition.
    There {
        key: Key,
        edition: (String, i64),
    },
    Gone {
        key: Key,
    },
    /// A policy of this namespace changed: whoever waits there for a change is looked at again.
    Policy {
        namespace: String,
    },
}

/// Watches one kind for ever.
async fn watch(
    client: Client,
    kind: Kind,
    namespace: Option<String>,
    clock: Clock,
    send: mpsc::UnboundedSender<Change>,
) {
    let resource = match kind {
        Kind::SelfHeal => ApiResource::erase::<SelfHeal>(&()),
        Kind::Policy => ApiResource::erase::<SelfHealPolicy>(&()),
    };
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let events = watcher(api, watcher::Config::default().page_size(100).timeout(WATCH_SECONDS));
    let mut events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(events);
    let mut pause = Pause::new(0, &resource.plural);
    let mut failures = 0;
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => there(kind, &object),
            Ok(Event::Delete(object)) => gone(kind, &object),
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => {
                failures += 1;
                tracing::warn!(kind = resource.kind, error = %error, "Watching {} failed; tried again", resource.kind);
                clock.sleep(pause.after(failures)).await;
                continue;
            }
        };
        failures = 0;
        if change.is_some_and(|change| send.send(change).is_err()) {
            return;
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
            Change::There { key: key(object), edition }
        }
        Kind::Policy => Change::Policy { namespace: object.namespace()? },
    })
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
            Change::There { key, edition } => {
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
            Change::Gone { key } => {
                self.keys.remove(&key);
            }
            Change::Policy { namespace } => {
                let there = self.keys.iter_mut().filter(|((n, _), _)| *n == namespace);
                for (_, place) in there {
                    place.due = Some(now);
                }
            }
        }
    }

    /// Starts a pass for every key that is due and has none; says when the next one is.
    fn start_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        for (key, place) in &mut self.keys {
            if !place.is_running && place.due.is_some_and(|due| due <= now) {
                place.is_running = true;
                place.due = None;
                let (workshop, key, mut pause) = (self.workshop.clone(), key.clone(), place.pause.clone());
                self.running.spawn(async move {
                    let ended = AssertUnwindSafe(pass(&workshop, &key, &mut pause)).catch_unwind().await;
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
