//! The stage: everything that plays, started and stopped together.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    aside::Asides,
    cast::Cast,
    plot::{self, Interrupted, PERSON, Plot},
    prometheus::{Prometheus, Script},
    scenario::Scenario,
    troupe::{self, CONTROLLER_NAMESPACE, Props},
};
use crate::{
    api::http::{Body, Method, Request},
    clock::Clock,
    sim::{
        door::Door,
        engine::{self, Engine},
        fault::Interceptor,
        slack::SlackReceiver,
        store::Answer,
        world::World,
    },
};

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
    /// The Slack that is told.
    pub slack: Arc<SlackReceiver>,
    /// How long the play goes on after the ending was reached: whatever is done twice comes late.
    pub linger: Duration,
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
    pub slack: Arc<SlackReceiver>,
    pub asides: Asides,
    /// What the story waited for in vain; `None` where it came to its end.
    pub stuck: Option<String>,
    pub data_plane_delay: Duration,
}

/// When every story begins.
fn origin() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A stage on which everything runs until it is closed.
pub struct Stage {
    scenario: Scenario,
    cast: Cast,
    door: Door,
    repository: PathBuf,
    slack: Arc<SlackReceiver>,
    asides: Asides,
    prometheus: Prometheus,
    linger: Duration,
    data_plane_delay: Duration,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Stage {
    /// Sets the stage up. `watch` is called with the door as soon as it is open.
    ///
    /// # Errors
    /// The stage could not be set up.
    pub async fn open(
        options: Options,
        watch: impl FnOnce(&Door, &Asides, &Path),
    ) -> Result<Self, StageError> {
        let clock = Clock::scaled(origin(), options.speed);
        let mut world = World::new(origin());
        if let Some(interceptor) = options.interceptor {
            world.intercept(interceptor);
        }
        let door = Door::new(world, clock);
        let repository = options.folder.join("repo.git");
        let cast = options.cast;
        furnish(&door, &cast, &options.slack)?;

        let shutdown = CancellationToken::new();
        let asides = Asides::default();
        let script = Script {
            versions: [(cast.versions().1.to_owned(), plot::behaviour(options.scenario))].into(),
            virtual_service: cast.virtual_service.clone(),
        };
        let prometheus = Prometheus::start(door.clone(), script, asides.clone()).await?;
        let cast = seeded(cast, &repository, &prometheus.url)?;
        watch(&door, &asides, &repository);
        let mut tasks = JoinSet::new();
        tasks.spawn(door.clone().drive(shutdown.clone()));
        let mut config = engine::Config::new(repository.clone());
        config.namespace.clone_from(&cast.rollout.namespace);
        config.skips_unknown_kinds = true;
        tasks.spawn(Engine::new(config, clock.now()).drive(door.clone(), shutdown.clone(), |_| {}));
        let props = Props {
            metrics_url: prometheus.url.clone(),
            data_plane_delay: options.data_plane_delay,
            program: options.program,
            clones: options.clones,
        };
        troupe::start(&mut tasks, &door, &props, options.scenario.has_standby(), &shutdown);
        Ok(Self {
            scenario: options.scenario,
            cast,
            door,
            repository,
            slack: options.slack,
            asides,
            prometheus,
            linger: options.linger,
            data_plane_delay: options.data_plane_delay,
            shutdown,
            tasks,
        })
    }

    /// The world on this stage.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Cancelled when the stage is closed.
    pub fn closing(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Plays the story to its end. Afterwards everything runs on.
    ///
    /// # Errors
    /// The stage broke down.
    pub async fn act(&mut self) -> Result<Played, StageError> {
        let clock = self.door.clock();
        let mut plot = Plot {
            scenario: self.scenario,
            door: &self.door,
            clock,
            cast: &self.cast,
            repository: &self.repository,
            asides: &self.asides,
            prometheus: &mut self.prometheus,
        };
        let stuck = match plot.play().await {
            Ok(()) => None,
            Err(Interrupted::InVain(what)) => Some(what.to_owned()),
            Err(Interrupted::Stage(error)) => return Err(error),
        };
        clock.sleep(self.linger).await;
        Ok(Played {
            door: self.door.clone(),
            repository: self.repository.clone(),
            slack: self.slack.clone(),
            asides: self.asides.clone(),
            stuck,
            data_plane_delay: self.data_plane_delay,
        })
    }

    /// Stops everything.
    pub async fn close(mut self) {
        self.shutdown.cancel();
        let clock = self.door.clock();
        let stopped = async { while self.tasks.join_next().await.is_some() {} };
        let _ = clock.timeout(Duration::from_secs(60), stopped).await;
    }
}

/// Plays a story to its end and stops everything. `watch` is called with the door as soon as it is open.
///
/// # Errors
/// The stage could not be set up.
pub async fn play(options: Options, watch: impl FnOnce(&Door, &Asides, &Path)) -> Result<Played, StageError> {
    let mut stage = Stage::open(options, watch).await?;
    let played = stage.act().await?;
    stage.close().await;
    Ok(played)
}

/// Makes the repository, with its own address in the policy and the address of the stage's Prometheus in templates.
fn seeded(mut cast: Cast, repository: &Path, metrics_url: &str) -> Result<Cast, StageError> {
    let url = format!("file://{}", repository.display());
    for (_, text) in &mut cast.files {
        *text = text.replace("@REPOSITORY@", &url);
        for address in &cast.addresses {
            *text = text.replace(address, metrics_url);
        }
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
