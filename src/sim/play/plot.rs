//! What happens in each story besides serin: who pushes, aborts, promotes, and what goes away for how long.

use std::{path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    aside::Asides,
    cast::{Cast, tag},
    glance::{booked_weight, canary_pods, holder, is_healing_over, is_on, is_over, live_weight, status},
    prometheus::{Behaviour, Prometheus},
    scenario::Scenario,
    stage::StageError,
    troupe::{self, CONTROLLER, GITOPS, NOTIFIER, REPLICAS},
};
use crate::{
    api::http::{Body, Method, Request},
    clock::Clock,
    sim::{
        actors::{PodScript, Then},
        door::Door,
        engine,
        fault::{Effect, Fault},
        store::{Answer, Resource},
        world::World,
    },
};

/// Who makes what is there before the story begins, and does what people do.
pub(super) const PERSON: &str = "person";
/// Another writer of the VirtualService.
const TOOL: &str = "mesh-tool";
/// A story that has not gone on by then, and by what its steps pause, has gone wrong.
const LONGEST: SignedDuration = SignedDuration::from_mins(40);
/// How long Prometheus and Git are away.
const AWAY: Duration = Duration::from_mins(30);

/// Why a story does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// What was waited for did not come.
    #[error("the story waited in vain for {0}")]
    InVain(&'static str),
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Everything that a story can act on.
pub(super) struct Plot<'a> {
    pub(super) scenario: Scenario,
    pub(super) door: &'a Door,
    pub(super) clock: Clock,
    pub(super) cast: &'a Cast,
    pub(super) repository: &'a Path,
    pub(super) asides: &'a Asides,
    pub(super) prometheus: &'a mut Prometheus,
}

/// How the new version behaves when it is released.
pub(super) fn behaviour(scenario: Scenario) -> Behaviour {
    match scenario {
        Scenario::BadMetric
        | Scenario::GitDown
        | Scenario::FixedFirst
        | Scenario::Contested
        | Scenario::TakeoverByRestart => Behaviour::Bad,
        Scenario::Good
        | Scenario::BadPods
        | Scenario::PrometheusDown
        | Scenario::UserAbort
        | Scenario::Superseded => Behaviour::Good,
        Scenario::NoData => Behaviour::Silent,
    }
}

impl Plot<'_> {
    /// Plays from an empty cluster to where nothing more is to happen. Returns when the new version was pushed.
    pub(super) async fn play(&mut self) -> Result<(), Interrupted> {
        let cast = self.cast;
        self.until("the first version to be healthy", |world| is_on(world, cast, &cast.old_image, "Healthy"))
            .await?;
        self.clock.sleep(Duration::from_secs(10)).await;
        self.push(&cast.new_image, "Release")?;
        match self.scenario {
            Scenario::BadMetric | Scenario::Good => {}
            Scenario::BadPods => self.bad_pods().await?,
            Scenario::NoData => self.no_data().await?,
            Scenario::PrometheusDown => self.prometheus_down().await?,
            Scenario::UserAbort => self.user_abort().await?,
            Scenario::GitDown => self.git_down().await?,
            Scenario::FixedFirst => self.fixed_first().await?,
            Scenario::Contested => self.contested().await?,
            Scenario::Superseded => self.superseded().await?,
            Scenario::TakeoverByRestart => self.takeover().await?,
        }
        let scenario = self.scenario;
        self.until("its ending", |world| is_over(world, cast, scenario)).await
    }

    /// The pods serve until more of them are asked for; then all of them crash, and go on crashing.
    async fn bad_pods(&mut self) -> Result<(), Interrupted> {
        self.until_served("the canary's first pods to serve").await?;
        let (cast, first) = (self.cast, self.canary_pods());
        self.until("more of the canary's pods", |world| canary_pods(world, cast) > first).await?;
        let image = cast.new_image.clone();
        self.door.with(|world| {
            let script = PodScript { image, ready_after: Duration::from_secs(1), then: Then::CrashLoop };
            world.break_pods(script);
        });
        self.act("pods", format!("every pod of {} crash-loops from now on", tag(&cast.new_image)));
        Ok(())
    }

    /// Nothing is measured; a person reads why it waits, puts the scraping right and promotes.
    async fn no_data(&mut self) -> Result<(), Interrupted> {
        let cast = self.cast;
        self.until("the pause", |world| {
            status(world, cast)["pauseConditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|pause| pause["reason"] == "InconclusiveAnalysisRun"))
        })
        .await?;
        self.clock.sleep(Duration::from_mins(3)).await;
        self.prometheus.set(cast.versions().1, Behaviour::Good);
        self.act(PERSON, "puts the scraping of the canary right: its series is there now");
        self.clock.sleep(Duration::from_mins(1)).await;
        self.act(PERSON, format!("kubectl argo rollouts promote {}", cast.rollout.name));
        self.patch_status(&json!({"status": {"pauseConditions": null}}))
    }

    async fn prometheus_down(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        self.prometheus.go().await;
        self.act("prometheus", "is gone: connections are refused");
        self.clock.sleep(AWAY).await;
        self.prometheus.come_back().await.map_err(StageError::from)?;
        self.act("prometheus", "is back after 30 minutes");
        Ok(())
    }

    async fn user_abort(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        self.clock.sleep(Duration::from_secs(20)).await;
        self.act(PERSON, format!("kubectl argo rollouts abort {}", self.cast.rollout.name));
        self.patch_status(&json!({"status": {"abort": true}}))
    }

    async fn git_down(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        let away = self.repository.with_extension("away");
        std::fs::rename(self.repository, &away).map_err(StageError::from)?;
        self.act("git", "is gone: nobody can fetch or push");
        let since = self.clock.now();
        let cast = self.cast;
        self.until("the abort", |world| live_weight(world, cast) == 0).await?;
        for minutes in [8, 16] {
            self.clock.sleep_until(later(since, Duration::from_mins(minutes))).await;
            [CONTROLLER, NOTIFIER, GITOPS].into_iter().for_each(|actor| troupe::kill(self.door, actor));
            self.act("serin", "all of its processes are killed; they are back in 10 s and remember nothing");
        }
        self.clock.sleep_until(later(since, AWAY)).await;
        std::fs::rename(&away, self.repository).map_err(StageError::from)?;
        self.act("git", "is back after 30 minutes");
        Ok(())
    }

    /// A person pushes the moment that the traffic goes back.
    async fn fixed_first(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        let cast = self.cast;
        self.until("the abort", |world| live_weight(world, cast) == 0).await?;
        self.push(&cast.fixed_image, "Fix the errors:")?;
        Ok(())
    }

    /// A tool that believes the weights to be its own: it raises a rejected canary, and lowers the next one four times.
    async fn contested(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        let cast = self.cast;
        self.until("the abort", |world| live_weight(world, cast) == 0).await?;
        self.clock.sleep(Duration::from_secs(1)).await;
        self.steer(cast.halfway)?;
        self.until("the raise to be cut", |world| live_weight(world, cast) == 0).await?;
        self.until("the revert", |world| {
            is_healing_over(world, "Synced") && is_on(world, cast, &cast.old_image, "Healthy")
        })
        .await?;
        self.clock.sleep(Duration::from_secs(30)).await;
        self.push(&cast.fixed_image, "Release")?;
        for _ in 0..4 {
            self.until_halfway().await?;
            self.clock.sleep(Duration::from_secs(10)).await;
            self.steer(cast.halfway / 4)?;
        }
        self.until("TrafficContested", |world| {
            let status = status(world, cast);
            let mut all = status["conditions"].as_array().into_iter().flatten();
            all.any(|one| one["type"] == "TrafficContested" && one["status"] == "True")
        })
        .await?;
        self.clock.sleep(Duration::from_mins(1)).await;
        self.act(PERSON, format!("reads the condition and has {TOOL} ignore the weights"));
        Ok(())
    }

    /// Another writer sets the canary's weight.
    fn steer(&self, canary: i64) -> Result<(), Interrupted> {
        let route = &self.cast.virtual_service;
        let routes = self.door.with(|world| {
            let found = world.store().object(Resource::VirtualServices, &route.namespace, &route.name);
            found.map(|routes| routes["spec"]["http"].clone()).unwrap_or_default()
        });
        let mut routes = routes;
        for entry in routes.as_array_mut().into_iter().flatten() {
            for destination in entry["route"].as_array_mut().into_iter().flatten() {
                let host =
                    destination["destination"]["host"].as_str().and_then(|host| host.split('.').next());
                if host == Some(&self.cast.services.canary) {
                    destination["weight"] = canary.into();
                } else if host == Some(&self.cast.services.stable) {
                    destination["weight"] = (100 - canary).into();
                }
            }
        }
        self.act(TOOL, format!("sets the canary's weight to {canary} %"));
        let path = format!(
            "/apis/networking.istio.io/v1alpha3/namespaces/{}/virtualservices/{}",
            route.namespace, route.name
        );
        self.patch(TOOL, path, &json!({"spec": {"http": routes}}))
    }

    async fn superseded(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        self.clock.sleep(Duration::from_secs(30)).await;
        self.push(&self.cast.fixed_image, "Release")?;
        Ok(())
    }

    /// The leader dies between the sample that decides and the request that would take the traffic away.
    async fn takeover(&mut self) -> Result<(), Interrupted> {
        self.until_halfway().await?;
        let leader = self.leader();
        self.door.with(|world| {
            world.plant(Fault {
                actor: Some(leader.to_owned()),
                verb: Some("patch".to_owned()),
                resource: Some("virtualservices".to_owned()),
                nth: 1,
                times: 1,
                effect: Effect::CrashBefore,
            });
        });
        self.until("the leader to be about to take the traffic away", |world| world.is_down(leader)).await?;
        self.act("serin", format!("{leader}, the leader, is killed as it is about to take the traffic away"));
        let killed = self.clock.now();
        let gone = self.door.with(|world| holder(world));
        let cast = self.cast;
        // The killed one may be back and be the faster: each start has another identity.
        self.until("another replica to lead", |world| !holder(world).is_empty() && holder(world) != gone)
            .await?;
        let (heir, gap) = (self.leader(), self.clock.now().duration_since(killed).as_secs_f64());
        self.act("serin", format!("{heir} leads: {gap:.1} s without a leader"));
        self.until("the traffic to go back", |world| live_weight(world, cast) == 0).await
    }

    fn leader(&self) -> &'static str {
        let holder = self.door.with(|world| holder(world));
        REPLICAS.into_iter().find(|actor| holder.starts_with(actor)).unwrap_or(CONTROLLER)
    }

    /// Waits until `holds`, looking at each change.
    async fn until(
        &self,
        what: &'static str,
        mut holds: impl FnMut(&World) -> bool,
    ) -> Result<(), Interrupted> {
        let mut changes = self.door.changes();
        let end = later(self.clock.now().saturating_add(LONGEST).unwrap_or(Timestamp::MAX), self.cast.pauses);
        loop {
            changes.borrow_and_update();
            if self.door.with(|world| holds(world)) {
                return Ok(());
            }
            if self.clock.now() >= end {
                return Err(Interrupted::InVain(what));
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = self.clock.sleep(Duration::from_secs(5)) => {}
            }
        }
    }

    async fn until_served(&self, what: &'static str) -> Result<(), Interrupted> {
        let cast = self.cast;
        self.until(what, |world| live_weight(world, cast) > 0 && booked_weight(world, cast) > 0).await
    }

    /// The middle of the rollout, in which most of what happens does.
    async fn until_halfway(&self) -> Result<(), Interrupted> {
        let cast = self.cast;
        let is_there = |weight: i64| weight >= cast.halfway;
        self.until("the middle of the rollout", |world| {
            is_there(live_weight(world, cast)) && is_there(booked_weight(world, cast))
        })
        .await
    }

    fn canary_pods(&self) -> i64 {
        self.door.with(|world| canary_pods(world, self.cast))
    }

    fn act(&self, who: &'static str, what: impl Into<String>) {
        self.asides.act(self.door, who, what);
    }

    /// A person commits the manifests with another image.
    fn push(&self, image: &str, verb: &str) -> Result<(), StageError> {
        let message = format!("{verb} {}", tag(image));
        let (path, text) = self.cast.with_image(image);
        let author =
            engine::Author { name: "Robin Example", email: "robin@example.com", at: self.clock.now() };
        self.act(PERSON, format!("pushes \"{message}\""));
        engine::commit(self.repository, &[(path, &text)], &message, author)?;
        Ok(())
    }

    /// As `kubectl argo rollouts` does it.
    fn patch_status(&self, patch: &Value) -> Result<(), Interrupted> {
        let rollout = &self.cast.rollout;
        let path = format!(
            "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts/{}/status",
            rollout.namespace, rollout.name
        );
        self.patch(PERSON, path, patch)
    }

    fn patch(&self, actor: &str, path: String, patch: &Value) -> Result<(), Interrupted> {
        let query = vec![("fieldManager".to_owned(), actor.to_owned())];
        let body = Body::Merge(patch.clone());
        let request = Request { method: Method::Patch, path: path.clone(), query, body };
        match self.door.request(&request, actor) {
            Answer::Response(response) if response.is_success() => Ok(()),
            Answer::Response(response) => {
                Err(StageError::Refused { path, message: response.message().to_owned() }.into())
            }
            Answer::Watch(_) | Answer::Crash => {
                Err(StageError::Refused { path, message: String::new() }.into())
            }
        }
    }
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
