//! The journeys, the lanes they are played in, and their order.

use std::{fs, process::ExitCode};

use serin::{clock::instant, sim::play::scenario::Scenario};

use crate::{
    Fallible,
    audit::Audit,
    namespace, report,
    roles::{Serin, Setup},
    settings::Settings,
    stack::Stack,
};

mod case;
mod churn;
mod install;
mod judge;
mod parts;
mod plot;
mod privilege;
mod scene;
mod served;
mod shop;
mod story;

pub(crate) use install::create_definitions;

use scene::{Scene, Twist};

/// Journeys that share a stack, and are played one after the other.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    /// True for the lane that shows the lab's own parts, the installation and the roles.
    is_first: bool,
    /// Each with a serin of its own; in the first lane they share one.
    stories: &'static [(Scenario, Twist)],
}

/// The lane without an istiod: what is played where none can be built is shown to be as good.
const STAND_IN: &str = "stand-in";

/// In the order in which they are begun: the longest first.
pub(crate) const LANES: [Lane; 6] = [
    Lane { name: "contested", is_first: false, stories: &[(Scenario::Contested, Twist::None)] },
    Lane {
        name: "outages",
        is_first: false,
        stories: &[
            (Scenario::PrometheusDown, Twist::None),
            (Scenario::GitDown, Twist::None),
            (Scenario::TakeoverByRestart, Twist::None),
        ],
    },
    Lane {
        name: "people",
        is_first: false,
        stories: &[
            (Scenario::BadPods, Twist::None),
            (Scenario::NoData, Twist::None),
            (Scenario::UserAbort, Twist::None),
            (Scenario::FixedFirst, Twist::None),
        ],
    },
    Lane {
        name: "first",
        is_first: true,
        stories: &[
            (Scenario::Good, Twist::None),
            (Scenario::BadMetric, Twist::None),
            (Scenario::BadMetric, Twist::NoMarks),
            (Scenario::Superseded, Twist::None),
        ],
    },
    // Its changes cost the API server as much as a story, so it comes when others are over.
    Lane { name: "churn", is_first: false, stories: &[(Scenario::BadMetric, Twist::Churn)] },
    Lane { name: STAND_IN, is_first: false, stories: &[(Scenario::BadMetric, Twist::StandIn)] },
];

/// Those of the first lane besides its stories, in the order in which they are played.
const DEPLOYMENT: &str = "parts: a deployment goes ready, an unknown image does not";
const LOAD: &str = "parts: requests follow the VirtualService";
const PROMETHEUS: &str = "parts: Prometheus measures a version's errors";
const ROLES: &str = "parts: a role refuses what it does not grant";
const DEFINITIONS: &str = "install: the definitions are accepted without a warning";
const DEPLOYMENTS: &str = "install: the Deployments are valid and restricted";
const FOREIGN: &str = "install: serin leaves alone what it does not know";
const SPARE: &str = "roles: grant nothing that no story uses";
const WITHOUT: &str = "roles: without a right the story fails";
const BESIDE: [&str; 9] =
    [DEPLOYMENT, LOAD, PROMETHEUS, ROLES, DEFINITIONS, DEPLOYMENTS, FOREIGN, SPARE, WITHOUT];

impl Lane {
    /// Whether a journey of it is asked for.
    pub(crate) fn is_wanted(&self, words: &[String]) -> bool {
        let beside = BESIDE.iter().filter(|_| self.is_first).any(|name| is_wanted(name, words));
        beside || self.stories.iter().any(|(scenario, twist)| is_wanted(&name(*scenario, *twist), words))
    }
}

fn is_wanted(name: &str, words: &[String]) -> bool {
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

/// The name of a story.
fn name(scenario: Scenario, twist: Twist) -> String {
    match twist {
        Twist::None => format!("story: {scenario}"),
        Twist::NoMarks => format!("story: {scenario} where the mark is refused"),
        Twist::Churn => format!("story: {scenario} under churn"),
        Twist::StandIn => format!("story: {scenario} with the mesh stand-in"),
    }
}

/// Plays every journey of this process's lane that was asked for, on one stack.
///
/// # Errors
/// When the stack does not come up. A journey that fails is part of the answer.
pub(crate) fn run(settings: Settings) -> Fallible<ExitCode> {
    namespace::furnish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(settings))
}

/// The journeys that were asked for, and whether one failed.
struct Program {
    only: Vec<String>,
    has_failed: bool,
}

impl Program {
    fn is_wanted(&self, name: &str) -> bool {
        is_wanted(name, &self.only)
    }

    /// Plays a journey if it is wanted.
    async fn play(&mut self, name: &str, journey: impl Future<Output = Fallible>) {
        if self.is_wanted(name) {
            self.always(name, journey).await;
        }
    }

    /// Plays a journey if it is wanted, or others need it.
    async fn play_if(&mut self, is_needed: bool, name: &str, journey: impl Future<Output = Fallible>) {
        if is_needed || self.is_wanted(name) {
            self.always(name, journey).await;
        }
    }

    /// Plays what the others stand on.
    async fn always(&mut self, name: &str, journey: impl Future<Output = Fallible>) {
        let started = instant();
        let failure = journey.await.err().map(|error| error.to_string());
        self.has_failed |= failure.is_some();
        report::result(&report::Result { name: name.into(), time: started.elapsed(), failure });
    }
}

async fn play(mut settings: Settings) -> Fallible<ExitCode> {
    let started = instant();
    let mut program = Program { only: settings.only.clone(), has_failed: false };
    let keep = settings.keep;
    let wanted = settings.lane.clone().unwrap_or_default();
    let lane = LANES.iter().find(|lane| lane.name == wanted);
    let lane = lane.ok_or_else(|| format!("there is no lane {wanted}"))?;
    if wanted == STAND_IN {
        settings.istiod = None;
    }
    let mut stack = Stack::start(settings).await?;
    report::say(&format!(
        "lab: lane {wanted}: control plane, Prometheus, Git and {} ready ({:.1} s); logs in {}",
        stack.mesh.what(),
        started.elapsed().as_secs_f64(),
        stack.folder.display()
    ));
    if lane.is_first {
        parts(&mut program, &stack).await;
        with_serin(&mut program, &stack, lane).await;
        program.play(WITHOUT, privilege::nothing_to_spare(&stack)).await;
    } else {
        for (scenario, twist) in lane.stories {
            program.play(&name(*scenario, *twist), story::alone(&stack, *scenario, *twist)).await;
        }
    }
    let alive = stack.alive();
    program.always(&format!("parts: nothing ended by itself in lane {wanted}"), async { alive }).await;
    if program.has_failed || keep {
        report::say(&format!("lab: lane {wanted}: logs are kept in {}", stack.folder.display()));
    } else {
        let folder = stack.folder.clone();
        drop(stack);
        // What is left behind of a folder under the system's temporary files does no harm.
        let _ = fs::remove_dir_all(folder);
    }
    Ok(crate::lanes::code(!program.has_failed))
}

async fn parts(program: &mut Program, stack: &Stack) {
    program.play(DEPLOYMENT, parts::deployment(stack)).await;
    program.play(LOAD, parts::load(stack)).await;
    program.play(PROMETHEUS, parts::prometheus(stack)).await;
    program.play(ROLES, parts::roles(stack)).await;
    program.play(DEFINITIONS, install::definitions(stack)).await;
    program.play(DEPLOYMENTS, install::deployments(stack)).await;
}

/// What is played on one serin, so that its roles can be compared with all that it asked for.
async fn with_serin(program: &mut Program, stack: &Stack, lane: &Lane) {
    let is_all = program.is_wanted(SPARE);
    let mut stories = lane.stories.iter().map(|(scenario, twist)| name(*scenario, *twist));
    if !is_all && !program.is_wanted(FOREIGN) && !stories.any(|name| program.is_wanted(&name)) {
        return;
    }
    let audit = Audit::from_now(&stack.control_plane.audit_log());
    let mut serin = match Serin::start(stack, Setup::default()).await {
        Ok(serin) => serin,
        Err(error) => return program.always("story: serin comes up", async { Err(error) }).await,
    };
    program.play_if(is_all, FOREIGN, install::left_alone(stack)).await;
    for (scenario, twist) in lane.stories {
        let name = name(*scenario, *twist);
        let namespace = name.replace("story: ", "shop-").replace(' ', "-");
        let scene = Scene { scenario: *scenario, namespace, twist: *twist };
        program.play_if(is_all, &name, story::play(stack, &mut serin, scene)).await;
    }
    program.play(SPARE, async { privilege::nothing_spare(stack, &audit?) }).await;
    program.always("story: serin ends and gives its Leases back", serin.stop(stack)).await;
}
