//! The stage: everything that plays, started and stopped together.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    cast::{Cast, Scenario},
    prometheus::{self, Answers, Behaviour, Script},
};
use crate::{
    api::http::{Body, Method, Request},
    clock::Clock,
    control,
    decide::{analysis::OutageMode, observed::Settings},
    gitops, notify,
    observe::{self, sampler},
    sim::{
        door::Door,
        engine::{self, Engine},
        fault::Interceptor,
        slack::SlackReceiver,
        store::{Answer, Resource},
        world::World,
    },
    telemetry::Metrics,
};

/// The namespace of the controller's own objects.
const CONTROLLER_NAMESPACE: &str = "argo-rollouts";
/// Who makes what is there before the story begins, and commits the new version.
const PERSON: &str = "person";
/// A story that has not ended by then has gone wrong.
const LONGEST: SignedDuration = SignedDuration::from_mins(40);

/// How a story is played.
pub struct Options {
    pub scenario: Scenario,
    pub cast: Cast,
    /// How many times faster than the clock the world runs.
    pub speed: u32,
    /// The serin program: transfers of the Git lane run in children of it.
    pub program: PathBuf,
    /// Where the repository goes.
    pub folder: PathBuf,
    /// Where the Git lane keeps its clones.
    pub clones: PathBuf,
    /// Somebody between the clients and the store.
    pub interceptor: Option<Interceptor>,
    pub data_plane_delay: Duration,
}

/// Why a story could not be played. How it ended is not an error.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("Git: {0}")]
    Git(#[from] git2::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the world refused {path}: {message}")]
    Refused { path: String, message: String },
}

/// A story that was played: everything there is to judge it by.
pub struct Played {
    pub door: Door,
    pub repository: PathBuf,
    pub slack: Value,
    pub slack_text: String,
    pub slack_messages: usize,
    pub answers: Answers,
    /// When the story began, and when the new version was committed.
    pub began: Timestamp,
    pub committed: Option<Timestamp>,
    /// The ending came before the time was up.
    pub has_ended: bool,
    pub data_plane_delay: Duration,
}

/// When every story begins.
fn origin() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Plays a story to its end and stops everything. `watch` is called with the door as soon as it is open.
///
/// # Errors
/// The stage could not be set up.
pub async fn play(
    options: Options,
    watch: impl FnOnce(&Door, &Answers, &Path),
) -> Result<Played, StageError> {
    let clock = Clock::scaled(origin(), options.speed);
    let mut world = World::new(origin());
    if let Some(interceptor) = options.interceptor {
        world.intercept(interceptor);
    }
    let door = Door::new(world, clock);
    let repository = options.folder.join("repo.git");
    let slack = SlackReceiver::start()?;
    let cast = seeded(&options.cast, &repository)?;
    furnish(&door, &cast, &slack)?;

    let shutdown = CancellationToken::new();
    let _guard = shutdown.clone().drop_guard();
    let answers: Answers = Arc::new(Mutex::new(vec![]));
    let script = script(options.scenario, &cast);
    let metrics_url = prometheus::serve(door.clone(), script, Arc::clone(&answers), shutdown.clone()).await?;
    watch(&door, &answers, &repository);
    let mut tasks = JoinSet::new();
    tasks.spawn(door.clone().drive(shutdown.clone()));
    let mut config = engine::Config::new(repository.clone());
    config.namespace.clone_from(&cast.rollout.namespace);
    tasks.spawn(Engine::new(config, clock.now()).drive(door.clone(), shutdown.clone(), |_| {}));
    let delay = options.data_plane_delay;
    controller(&mut tasks, &door, clock, metrics_url, delay, &shutdown);
    gitops_lane(&mut tasks, &door, clock, options.program, options.clones, &shutdown);
    notifier(&mut tasks, &door, clock, &shutdown);

    let is_deployed = until(&door, clock.now(), |world| is_healthy_on(world, &cast, &cast.old_image)).await;
    let mut committed = None;
    if is_deployed {
        clock.sleep(Duration::from_secs(10)).await;
        let at = clock.now();
        let message = format!("Release {}", cast.versions().1);
        let author = engine::Author { name: "Robin Example", email: "robin@example.com", at };
        engine::commit(&repository, &[(&cast.updated.0, &cast.updated.1)], &message, author)?;
        committed = Some(at);
    }
    let has_ended = committed.is_some() && ended(&door, options.scenario, &cast, &slack, clock).await;
    shutdown.cancel();
    let stopped = async { while tasks.join_next().await.is_some() {} };
    let _ = clock.timeout(Duration::from_secs(60), stopped).await;
    Ok(Played {
        door,
        repository,
        slack: slack.dump(),
        slack_text: slack.render(),
        slack_messages: slack.messages().len(),
        answers,
        began: origin(),
        committed,
        has_ended,
        data_plane_delay: delay,
    })
}

fn script(scenario: Scenario, cast: &Cast) -> Script {
    let behaviour = match scenario {
        Scenario::BadMetric => Behaviour::Bad,
        Scenario::Good => Behaviour::Good,
    };
    Script {
        versions: [(cast.versions().1.to_owned(), behaviour)].into(),
        virtual_service: cast.virtual_service.clone(),
    }
}

/// Makes the repository, with its own address in the policy.
fn seeded(cast: &Cast, repository: &Path) -> Result<Cast, StageError> {
    let mut cast = cast.clone();
    let url = format!("file://{}", repository.display());
    for (_, text) in &mut cast.files {
        *text = text.replace("@REPOSITORY@", &url);
    }
    let files: Vec<(&str, &str)> =
        cast.files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let author = engine::Author { name: "Robin Example", email: "robin@example.com", at: origin() };
    engine::seed(repository, &files, author)?;
    Ok(cast)
}

/// Namespaces, and where Slack is.
fn furnish(door: &Door, cast: &Cast, slack: &SlackReceiver) -> Result<(), StageError> {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let own = format!("/api/v1/namespaces/{CONTROLLER_NAMESPACE}");
    let service = format!("token: $slack-token\napiURL: {}\n", slack.url);
    let objects = [
        ("/api/v1/namespaces".to_owned(), namespace(&cast.rollout.namespace)),
        ("/api/v1/namespaces".to_owned(), namespace(CONTROLLER_NAMESPACE)),
        (
            format!("{own}/configmaps"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argo-rollouts-notification-configmap"},
                "data": {"service.slack": service}}),
        ),
        (
            format!("{own}/secrets"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argo-rollouts-notification-secret"},
                "stringData": {"slack-token": crate::sim::slack::TOKEN}}),
        ),
    ];
    for (path, object) in objects {
        let request =
            Request { method: Method::Post, path: path.clone(), query: vec![], body: Body::Json(object) };
        match door.request(&request, PERSON) {
            Answer::Response(response) if response.is_success() => {}
            Answer::Response(response) => {
                return Err(StageError::Refused { path, message: response.message().to_owned() });
            }
            Answer::Watch(_) | Answer::Crash => {
                return Err(StageError::Refused { path, message: String::new() });
            }
        }
    }
    Ok(())
}

fn controller(
    tasks: &mut JoinSet<()>,
    door: &Door,
    clock: Clock,
    metrics_url: String,
    data_plane_delay: Duration,
    shutdown: &CancellationToken,
) {
    let config = control::Config {
        scope: observe::Scope {
            namespace: None,
            instance_id: String::new(),
            istio_version: "v1alpha3".to_owned(),
        },
        settings: Settings { data_plane_delay, outage: OutageMode::Hold },
        sampler: sampler::Settings { address: Some(metrics_url), seed: 1 },
        passes: 10,
        resync: Duration::from_secs(900),
        lease: None,
        // On the stage the notifier is a process of its own, so that the store tells their requests apart.
        notify: None,
        page: control::Page::new(Metrics::new(env!("CARGO_PKG_VERSION"))),
        health: None,
    };
    let run = control::run(door.client("controller"), clock, config, shutdown.clone());
    tasks.spawn(async move {
        if let Err(error) = run.await {
            tracing::error!(%error, "the controller ended");
        }
    });
}

fn gitops_lane(
    tasks: &mut JoinSet<()>,
    door: &Door,
    clock: Clock,
    program: PathBuf,
    clones: PathBuf,
    shutdown: &CancellationToken,
) {
    let mut config = gitops::Config::new(clones, gitops::transfer::Transfer::by(program));
    config.allow_file_remotes = true;
    let run = gitops::run(door.client("gitops"), clock, config, shutdown.clone());
    tasks.spawn(async move {
        if let Err(error) = run.await {
            tracing::error!(%error, "the Git lane ended");
        }
    });
}

fn notifier(tasks: &mut JoinSet<()>, door: &Door, clock: Clock, shutdown: &CancellationToken) {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let config = notify::Config::new(CONTROLLER_NAMESPACE, metrics);
    tasks.spawn(notify::run(door.client("notify"), clock, config, shutdown.clone()));
}

/// Waits until `holds`, looking at each change; false when the longest time has passed.
async fn until(door: &Door, from: Timestamp, mut holds: impl FnMut(&World) -> bool) -> bool {
    let clock = door.clock();
    let mut changes = door.changes();
    let end = from.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
    loop {
        if door.with(|world| holds(world)) {
            return true;
        }
        if clock.now() >= end {
            return false;
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = clock.sleep(Duration::from_secs(5)) => {}
        }
    }
}

async fn ended(door: &Door, scenario: Scenario, cast: &Cast, slack: &SlackReceiver, clock: Clock) -> bool {
    let image = match scenario {
        Scenario::BadMetric => &cast.old_image,
        Scenario::Good => &cast.new_image,
    };
    until(door, clock.now(), |world| {
        is_healthy_on(world, cast, image)
            && is_tidy(world, cast)
            && match scenario {
                Scenario::Good => true,
                Scenario::BadMetric => is_healed(world) && says_synced(slack),
            }
    })
    .await
}

/// The Rollout is Healthy and its spec names this image.
fn is_healthy_on(world: &World, cast: &Cast, image: &str) -> bool {
    let rollout = world.store().object(Resource::Rollouts, &cast.rollout.namespace, &cast.rollout.name);
    rollout.is_some_and(|rollout| {
        let generation = rollout["metadata"]["generation"].as_i64().unwrap_or(0).to_string();
        rollout["spec"]["template"]["spec"]["containers"][0]["image"] == image
            && rollout["status"]["phase"] == "Healthy"
            && rollout["status"]["observedGeneration"] == generation.as_str()
    })
}

/// Only one version has pods left.
fn is_tidy(world: &World, cast: &Cast) -> bool {
    let sets = world
        .store()
        .objects(Resource::ReplicaSets)
        .filter(|(key, _)| key.namespace == cast.rollout.namespace);
    sets.filter(|(_, set)| set["spec"]["replicas"].as_i64() != Some(0)).count() == 1
}

fn is_healed(world: &World) -> bool {
    let mut heals = world.store().objects(Resource::SelfHeals).peekable();
    heals.peek().is_some() && heals.all(|(_, heal)| heal["status"]["phase"] == "Synced")
}

/// The message was edited once Git was done, or there is none to edit.
fn says_synced(slack: &SlackReceiver) -> bool {
    let messages = slack.messages();
    !messages.is_empty() && messages.iter().all(|message| !message.earlier.is_empty())
}
