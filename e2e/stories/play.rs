//! One play on the stage: what is planted in it, and everything there is to see afterwards.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use serin::sim::{
    door::Door,
    fault::{Effect, Fault, Interceptor, Point},
    play::{
        cast::Cast,
        judge::{Case, judge},
        scenario::Scenario,
        stage::{self, Options, Played},
    },
    slack::{self, SlackReceiver},
};

use crate::gate::{self, Gate, Transfers};

/// On which side of an effect a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Moment {
    /// The effect does not come about.
    Before,
    /// It does, and the process does not hear of it.
    After,
}

/// Something that serin does to the outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doing {
    Request(Point),
    /// Number of the transfer, from 1, and what it is.
    Transfer(u32, String),
    /// Number of the call to Slack, from 1, and its method.
    Call(u32, String),
}

impl Doing {
    /// As the world books a death here.
    pub(crate) fn point(&self) -> Point {
        match self {
            Self::Request(point) => point.clone(),
            Self::Transfer(nth, _) => gate::point(*nth),
            Self::Call(nth, _) => {
                Point { actor: "notify".to_owned(), verb: "call", resource: "slack".to_owned(), nth: *nth }
            }
        }
    }
}

/// Makes an interceptor from the repository's path and Slack's address.
pub(crate) type Liar = Box<dyn FnOnce(PathBuf, String) -> Interceptor>;

/// What is played.
pub(crate) struct Play {
    pub(crate) scenario: Scenario,
    pub(crate) cast: Cast,
    /// Somebody who is told where repository and Slack are, and then stands between clients and store.
    pub(crate) liar: Option<Liar>,
    pub(crate) crash: Option<(Doing, Moment)>,
}

/// A play that is over.
pub(crate) struct Seen {
    pub(crate) played: Played,
    pub(crate) case: Case,
    /// What the judge found wrong.
    pub(crate) wrong: Vec<String>,
    pub(crate) transfers: Vec<String>,
    pub(crate) calls: Vec<String>,
    pub(crate) slack: Arc<SlackReceiver>,
    _folder: tempfile::TempDir,
}

impl Play {
    /// The story of the README, undisturbed.
    pub(crate) fn of(scenario: Scenario) -> Self {
        Self { scenario, cast: Cast::built_in(scenario).unwrap(), liar: None, crash: None }
    }

    /// Plays it on a runtime of its own whose time is virtual.
    pub(crate) fn run(self) -> Seen {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(self.play())
    }

    async fn play(self) -> Seen {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::in_folder(folder.path());
        let slack = Arc::new(SlackReceiver::start().unwrap());
        let transfers = Transfers::default();
        let options = Options {
            scenario: self.scenario,
            cast: self.cast.clone(),
            speed: 1,
            program: gate.program.clone(),
            folder: folder.path().to_owned(),
            clones: folder.path().join("clones"),
            interceptor: self.liar.map(|liar| liar(folder.path().join("repo.git"), slack.url.clone())),
            data_plane_delay: Duration::from_secs(10),
            slack: slack.clone(),
            linger: Duration::from_mins(1),
        };
        let (crash, done) = (self.crash, transfers.clone());
        let plant = |door: &Door| {
            let at_transfer = match &crash {
                Some((Doing::Transfer(nth, _), moment)) => Some((*nth, *moment)),
                Some((Doing::Request(_) | Doing::Call(..), _)) | None => None,
            };
            tokio::spawn(gate.keep(door.clone(), at_transfer, done));
            match &crash {
                Some((Doing::Request(point), moment)) => {
                    let effect = match moment {
                        Moment::Before => Effect::CrashBefore,
                        Moment::After => Effect::CrashAfter,
                    };
                    door.with(|world| world.plant(Fault::at(point, effect)));
                }
                Some((doing @ Doing::Call(nth, _), moment)) => {
                    hang(&slack, *nth, *moment);
                    tokio::spawn(kill_at_call(door.clone(), slack.clone(), doing.point()));
                }
                Some((Doing::Transfer(..), _)) | None => {}
            }
        };
        let played = stage::play(options, |door, _, _| plant(door)).await.unwrap();
        let mut case = Case::of(&played, &self.cast).unwrap();
        // A process that is back has everything to do at once: what is under way when the sample comes is not taken back.
        case.under_way = usize::from(crash.is_some());
        let wrong = judge(&case, self.scenario);
        let transfers = transfers.lock().unwrap().clone();
        let calls = slack.calls();
        Seen { played, case, wrong, transfers, calls, slack, _folder: folder }
    }
}

/// Has Slack give no answer to its `nth` call.
fn hang(slack: &SlackReceiver, nth: u32, moment: Moment) {
    let mut next: VecDeque<_> = (1..nth).map(|_| None).collect();
    next.push_back(Some(match moment {
        Moment::Before => slack::Fault::Hang,
        Moment::After => slack::Fault::HangAfter,
    }));
    slack.set_faults(slack::Faults { next, ..slack::Faults::default() });
}

async fn kill_at_call(door: Door, slack: Arc<SlackReceiver>, point: Point) {
    let mut calls = slack.watch_calls();
    if calls.wait_for(|count| *count >= u64::from(point.nth)).await.is_ok() {
        door.with(|world| world.kill(point));
    }
}
