//! The faults, each with a rollout, a stage and replicas of its own, some side by side.

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serin::clock::Clock;

use crate::{
    Fallible, Row,
    judge::{self, Judge},
    proxy::Fault,
    rate,
    stage::{Ground, Stage},
    wait,
};

/// Longest time until anything here has ended.
const LIMIT: Duration = Duration::from_secs(60);
/// Stages at a time: they mostly wait, but what they do has to be done in time on two processors.
const SIDE_BY_SIDE: usize = 4;

/// What a fault is, and how it is judged.
struct Case {
    name: &'static str,
    fault: &'static str,
    does: &'static str,
    bad: Fault,
    decides: Decides,
    replicas: usize,
    lasts: Duration,
    judge: Judge,
}

/// What happens to the canary while the API server is bad.
#[derive(Clone, Copy, PartialEq)]
enum Decides {
    /// Its metric is bad, once: every later answer is a good one.
    OneAnswer,
    /// Its metric is bad from then on.
    EveryAnswer,
    /// One good answer; the metric is bad after it.
    NextAnswer,
    /// A person aborts.
    Person,
}

/// What happened.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) began: Timestamp,
    pub(crate) over: Timestamp,
    /// When Prometheus had answered that the canary is bad; a person's abort where it is none that decides.
    pub(crate) decided: Timestamp,
    /// When the request arrived that took the traffic away.
    pub(crate) shed: Timestamp,
    /// When the abort was seen in the Rollout's status.
    pub(crate) booked: Timestamp,
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const CASES: &[Case] = &[
    Case {
        name: "outage",
        fault: "refuses connections for 5 s",
        does: "tries the shed again at least twice a second, and leads on; the one bad answer is not forgotten",
        bad: Fault::Refused,
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(5),
        judge: judge::soon_after_the_end,
    },
    Case {
        name: "long-outage",
        fault: "refuses connections for 20 s",
        does: "the leader stops before another can lead and its process ends; whoever leads next measures and sheds",
        bad: Fault::Refused,
        decides: Decides::EveryAnswer,
        replicas: 2,
        lasts: seconds(20),
        judge: judge::another_leader,
    },
    Case {
        name: "silent",
        fault: "takes connections and never answers, 7 s",
        does: "sends the shed each second on another connection; other requests end after 5 s",
        bad: Fault::Silent,
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(7),
        judge: judge::soon_after_the_end,
    },
    Case {
        name: "told-to-wait",
        fault: "429 with Retry-After: 2, 6 s",
        does: "other writes wait as asked, the shed does not",
        bad: Fault::Status(429, Some(2)),
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(6),
        judge: judge::obeys_retry_after,
    },
    Case {
        name: "too-many",
        fault: "429 without Retry-After, 6 s",
        does: "growing pauses; for the shed half a second at most",
        bad: Fault::Status(429, None),
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(6),
        judge: judge::keeps_its_pace,
    },
    Case {
        name: "errors",
        fault: "500 to everything, 6 s",
        does: "the same as for 429",
        bad: Fault::Status(500, None),
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(6),
        judge: judge::keeps_its_pace,
    },
    Case {
        name: "unbooked",
        fault: "500 to everything, 7 s, before there is a bad sample",
        does: "books what was measured within 2 s, then measures again",
        bad: Fault::Status(500, None),
        decides: Decides::NextAnswer,
        replicas: 1,
        lasts: seconds(7),
        judge: judge::measures_again,
    },
    Case {
        name: "slow",
        fault: "each answer 2 s late",
        does: "one request of a rollout at a time, a shed before all others",
        bad: Fault::Slow(seconds(2)),
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(8),
        judge: judge::in_the_middle,
    },
    Case {
        name: "cut-watches",
        fault: "cuts all watches",
        does: "goes on from the last version",
        bad: Fault::CutWatches,
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(6),
        judge: judge::in_the_middle,
    },
    Case {
        name: "gone",
        fault: "ends all watches with 410 Gone",
        does: "lists again",
        bad: Fault::Gone,
        decides: Decides::OneAnswer,
        replicas: 1,
        lasts: seconds(6),
        judge: judge::in_the_middle,
    },
    Case {
        name: "mute-watches",
        fault: "watches fall silent and are not cut; a person aborts",
        does: "a watch of Rollouts that said nothing for 10 s is begun again; writes on what was seen before are refused, so nothing is raised",
        bad: Fault::MuteWatches,
        decides: Decides::Person,
        replicas: 1,
        lasts: seconds(15),
        judge: judge::nothing_raised,
    },
];

/// Plays those that are wanted, the longest first.
pub(crate) async fn play(ground: &Ground, wanted: &impl Fn(&str) -> bool) -> Vec<Row> {
    let mut parts: Vec<(usize, Option<&Case>)> =
        CASES.iter().filter(|case| wanted(case.name)).map(Some).enumerate().collect();
    parts.sort_by_key(|(_, case)| case.map(|case| std::cmp::Reverse(case.lasts * case.replicas as u32)));
    if wanted(rate::NAME) {
        parts.insert(parts.len().min(2), (CASES.len(), None));
    }
    let rows = stream::iter(parts).map(async |(place, case)| {
        let (name, row) = match case {
            Some(case) => {
                let measured = one(ground, case).await.map_err(|error| error.to_string());
                (case.name, Row { fault: case.fault, does: case.does, measured })
            }
            None => (rate::NAME, rate::play(ground).await),
        };
        println!("faults: {name} ... {}", if row.measured.is_ok() { "ok" } else { "FAILED" });
        (place, row)
    });
    let mut rows: Vec<(usize, Row)> = rows.buffer_unordered(SIDE_BY_SIDE).collect().await;
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

async fn one(ground: &Ground, case: &Case) -> Fallible<String> {
    let stage = Stage::open(ground, case.name, case.replicas).await?;
    let names = [case.name.to_owned()];
    // A pause that would end while nothing can be heard.
    let pause = if case.decides == Decides::Person { "6s" } else { "" };
    stage.shop.deploy(&names, pause).await?;
    stage.shop.release(&names, "v2").await?;
    if case.decides != Decides::Person {
        ground.metrics.hold(&names, LIMIT).await?;
    }
    // The Lease's patience is measured from here.
    renewed(&stage, SignedDuration::from_millis(300)).await?;
    let began = Clock::Wall.now();
    stage.begin(case.bad);
    if case.decides != Decides::Person {
        wait::pause(Duration::from_millis(200)).await;
    }
    match case.decides {
        Decides::OneAnswer => ground.metrics.fail_once(&names),
        Decides::EveryAnswer => ground.metrics.fail(&names),
        Decides::NextAnswer => {
            ground.metrics.pass(&names);
            wait::pause(Duration::from_millis(500)).await;
            ground.metrics.fail_once(&names);
        }
        Decides::Person => stage.shop.abort(case.name).await?,
    }
    wait::pause(case.lasts).await;
    stage.begin(Fault::None);
    let over = Clock::Wall.now();
    let (_, booked) = stage.shop.until_ended(case.name, LIMIT).await?;
    let decided = match case.decides {
        Decides::Person => Some(began),
        Decides::OneAnswer | Decides::EveryAnswer | Decides::NextAnswer => {
            ground.metrics.failed_at(case.name)
        }
    };
    let shed = judge::sheds(&stage, case.name, began).into_iter().find(|asked| asked.status == 200);
    let story = Story {
        name: case.name,
        began,
        over,
        decided: decided.ok_or("the metric was never asked for")?,
        shed: shed.ok_or("no shed was answered with 200")?.at,
        booked,
    };
    let raised = stage.asked(began).into_iter().find(|asked| asked.raises(case.name, 20));
    match raised {
        Some(raised) => Err(format!("the canary was raised at {}: {raised:?}", raised.at).into()),
        None => (case.judge)(&stage, &story),
    }
}

/// Waits until a replica has renewed the Lease no longer than `age` ago.
async fn renewed(stage: &Stage<'_>, age: SignedDuration) -> Fallible {
    wait::until("the Lease to be renewed", LIMIT, async || {
        let now = Clock::Wall.now();
        let is_fresh = stage.renewals().last().is_some_and(|(at, _)| now.duration_since(*at) < age);
        if is_fresh { Ok(()) } else { Err("not renewed".into()) }
    })
    .await
}
