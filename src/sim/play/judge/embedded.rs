//! A case from a story that was played on the embedded world.

use jiff::SignedDuration;

use super::case::{Case, Commit, Lost, Message, Names, Traffic};
use crate::sim::{
    engine,
    play::{
        cast::Cast,
        stage::Played,
        timeline::{Asked, Timeline},
        troupe::{CONTROLLER, REPLICAS},
    },
    store::{Key, Resource},
    world::World,
};

/// The author of commits that serin makes, by the story's policy.
const BOT: &str = "SelfHeal Bot";

impl Case {
    /// What there is to see of a story.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn of(played: &Played, cast: &Cast) -> Result<Self, git2::Error> {
        let history = engine::history(&played.repository)?;
        let asides = played.asides.so_far();
        let case = played.door.with(|world| {
            let requests = world.log().map(Asked::from);
            Self {
                names: names(cast),
                objects: objects(world),
                entries: Timeline::new(&cast.services.canary).take(requests, asides),
                commits: history.into_iter().map(commit).collect(),
                messages: vec![],
                traffic: traffic(world, cast),
                data_plane_delay: SignedDuration::try_from(played.data_plane_delay)
                    .unwrap_or(SignedDuration::MAX),
                shortened: 1,
                under_way: 0,
                stuck: played.stuck.clone(),
            }
        });
        let message = |sent: crate::sim::slack::Message| Message { text: sent.text, earlier: sent.earlier };
        Ok(Self { messages: played.slack.messages().into_iter().map(message).collect(), ..case })
    }
}

fn names(cast: &Cast) -> Names {
    Names {
        rollout: cast.rollout.clone(),
        virtual_service: cast.virtual_service.clone(),
        stable_service: cast.services.stable.clone(),
        canary_service: cast.services.canary.clone(),
        old_image: cast.old_image.clone(),
        new_image: cast.new_image.clone(),
        fixed_image: cast.fixed_image.clone(),
        controllers: std::iter::once(CONTROLLER).chain(REPLICAS).map(str::to_owned).collect(),
        bot: BOT.to_owned(),
    }
}

fn objects(world: &World) -> Vec<serde_json::Value> {
    let all = Resource::all().flat_map(|resource| world.store().objects(resource));
    all.map(|(_, object)| object.as_ref().clone()).collect()
}

fn commit(recorded: engine::Recorded) -> Commit {
    Commit {
        id: recorded.id.to_string(),
        author: recorded.author,
        at: recorded.at,
        message: recorded.message,
        patch: recorded.patch,
    }
}

fn traffic(world: &World, cast: &Cast) -> Traffic {
    let route = Key::new(&cast.virtual_service.namespace, &cast.virtual_service.name);
    let mesh = world.mesh();
    let history = mesh.history(&route);
    // Before the first version has pods nobody can be served.
    let is_served = |share: &crate::sim::actors::Share| share.can_serve && share.share > 0.0;
    let first = history.iter().position(|(_, shares)| shares.iter().any(is_served)).unwrap_or(0);
    let ends = history.iter().skip(first + 1).map(|(at, _)| *at).chain([world.now()]);
    let mut lost = vec![];
    for ((from, shares), to) in history.iter().skip(first).zip(ends) {
        lost.extend(shares.iter().filter(|share| share.share > 0.0 && !share.can_serve).map(|share| Lost {
            from: *from,
            lasted: to.duration_since(*from),
            share: share.share,
            destination: share.destination.clone(),
        }));
    }
    let served = mesh.served(&route);
    // Before the first version has pods nobody can be served, and nobody counts.
    let per_second = mesh.requests_per_second;
    let failed =
        lost.iter().fold(0.0, |sum, lost: &Lost| sum + lost.lasted.as_secs_f64() * lost.share * per_second);
    let last = mesh.serving(&route).iter().filter(|share| share.share > 0.0);
    Traffic {
        served: served
            .into_iter()
            .map(|(version, served)| (version, served.requests - served.failed))
            .collect(),
        failed,
        last: last.map(|share| share.version.clone()).collect(),
        lost,
    }
}
