//! The faults, one after another, each with a rollout of its own.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serin::clock::Clock;

use crate::{
    Fallible, Row,
    proxy::{Asked, Fault},
    stage::Stage,
    wait,
};

/// From the moment at which something is possible to the moment at which it has arrived, on a machine that does other things too.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(2);
/// Largest gap between two attempts at a shed that is refused: the pauses of the queue, and the time that an attempt takes.
const PACE: SignedDuration = SignedDuration::from_secs(1);
/// Longest time until anything here has ended.
const LIMIT: Duration = Duration::from_secs(60);

/// What a fault is, and how it is judged.
struct Case {
    name: &'static str,
    fault: &'static str,
    does: &'static str,
    bad: Fault,
    /// What decides comes in the middle of the fault; otherwise nothing is decided in it, since nothing can be booked.
    decides: bool,
    lasts: Duration,
    judge: fn(&Stage, &Story) -> Fallible<String>,
}

/// What happened.
struct Story {
    name: &'static str,
    began: Timestamp,
    over: Timestamp,
    /// When Prometheus had answered that the canary is bad; a person's abort where it is none that decides.
    decided: Timestamp,
    /// When the request arrived that took the traffic away.
    shed: Timestamp,
    /// When the abort was seen in the Rollout's status.
    booked: Timestamp,
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const CASES: &[Case] = &[
    Case {
        name: "outage",
        fault: "refuses connections for 5 s",
        does: "tries the shed again at least twice a second, and leads on",
        bad: Fault::Refused,
        decides: true,
        lasts: seconds(5),
        judge: soon_after_the_end,
    },
    Case {
        name: "long-outage",
        fault: "refuses connections for 20 s",
        does: "the leader stops before another can lead and its process ends; whoever leads next measures and sheds",
        bad: Fault::Refused,
        decides: true,
        lasts: seconds(20),
        judge: another_leader,
    },
    Case {
        name: "silent",
        fault: "takes connections and never answers, 7 s",
        does: "sends the shed each second on another connection; other requests end after 5 s",
        bad: Fault::Silent,
        decides: true,
        lasts: seconds(7),
        judge: soon_after_the_end,
    },
    Case {
        name: "told-to-wait",
        fault: "429 with Retry-After: 2, 6 s",
        does: "other writes wait as asked, the shed does not",
        bad: Fault::Status(429, Some(2)),
        decides: true,
        lasts: seconds(6),
        judge: obeys_retry_after,
    },
    Case {
        name: "too-many",
        fault: "429 without Retry-After, 6 s",
        does: "growing pauses; for the shed half a second at most",
        bad: Fault::Status(429, None),
        decides: true,
        lasts: seconds(6),
        judge: keeps_its_pace,
    },
    Case {
        name: "errors",
        fault: "500 to everything, 6 s",
        does: "the same as for 429",
        bad: Fault::Status(500, None),
        decides: true,
        lasts: seconds(6),
        judge: keeps_its_pace,
    },
    Case {
        name: "unbooked",
        fault: "500 to everything, 7 s, before there is a bad sample",
        does: "books what was measured within 2 s, then measures again",
        bad: Fault::Status(500, None),
        decides: false,
        lasts: seconds(7),
        judge: measures_again,
    },
    Case {
        name: "slow",
        fault: "each answer 2 s late",
        does: "one request of a rollout at a time, a shed before all others",
        bad: Fault::Slow(seconds(2)),
        decides: true,
        lasts: seconds(8),
        judge: in_the_middle,
    },
    Case {
        name: "cut-watches",
        fault: "cuts all watches",
        does: "goes on from the last version",
        bad: Fault::CutWatches,
        decides: true,
        lasts: seconds(6),
        judge: in_the_middle,
    },
    Case {
        name: "gone",
        fault: "ends all watches with 410 Gone",
        does: "lists again",
        bad: Fault::Gone,
        decides: true,
        lasts: seconds(6),
        judge: in_the_middle,
    },
    Case {
        name: "mute-watches",
        fault: "watches fall silent and are not cut; a person aborts",
        does: "a watch that said nothing for 25 s is begun again; writes on what was seen before are refused, so nothing is raised",
        bad: Fault::MuteWatches,
        decides: false,
        lasts: seconds(30),
        judge: nothing_raised,
    },
];

/// Plays those that are wanted.
///
/// # Errors
/// When the stage falls apart. A case that fails is part of the answer.
pub(crate) async fn play(stage: &mut Stage, wanted: &impl Fn(&str) -> bool) -> Fallible<Vec<Row>> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| wanted(case.name)).collect();
    let (timed, others): (Vec<String>, Vec<String>) =
        cases.iter().map(|case| case.name.to_owned()).partition(|name| name == "mute-watches");
    if !others.is_empty() {
        stage.shop.deploy(&others, "").await?;
    }
    // Ends while nothing can be heard.
    if !timed.is_empty() {
        stage.shop.deploy(&timed, "6s").await?;
    }
    let mut rows = vec![];
    for case in cases {
        let measured = one(stage, case).await.map_err(|error| error.to_string());
        stage.begin(Fault::None);
        println!("faults: {} ... {}", case.name, if measured.is_ok() { "ok" } else { "FAILED" });
        rows.push(Row { fault: case.fault, does: case.does, measured });
        renewed(stage, SignedDuration::from_secs(3)).await?;
    }
    Ok(rows)
}

async fn one(stage: &Stage, case: &Case) -> Fallible<String> {
    let names = [case.name.to_owned()];
    stage.shop.release(&names, "v2").await?;
    let aborted = case.bad == Fault::MuteWatches;
    if !aborted {
        stage.metrics.hold(&names, LIMIT).await?;
    }
    // The Lease's patience is measured from here.
    renewed(stage, SignedDuration::from_millis(300)).await?;
    let began = Clock::Wall.now();
    stage.begin(case.bad);
    if aborted {
        stage.shop.abort(case.name).await?;
    } else {
        wait::pause(Duration::from_millis(200)).await;
        if !case.decides {
            stage.metrics.pass(&names);
            wait::pause(Duration::from_millis(500)).await;
        }
        stage.metrics.fail(&names);
    }
    wait::pause(case.lasts).await;
    stage.begin(Fault::None);
    let over = Clock::Wall.now();
    let (_, booked) = stage.shop.until_ended(case.name, LIMIT).await?;
    let decided = if aborted { Some(began) } else { stage.metrics.failed_at(case.name) };
    let shed = sheds(stage, case.name, began).into_iter().find(|asked| asked.status == 200);
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
        None => (case.judge)(stage, &story),
    }
}

/// Waits until a replica has renewed the Lease no longer than `age` ago.
async fn renewed(stage: &Stage, age: SignedDuration) -> Fallible {
    wait::until("the Lease to be renewed", LIMIT, async || {
        let now = Clock::Wall.now();
        let is_fresh = stage.last_renewal(now).is_some_and(|at| now.duration_since(at) < age);
        if is_fresh { Ok(()) } else { Err("not renewed".into()) }
    })
    .await
}

fn sheds(stage: &Stage, name: &str, since: Timestamp) -> Vec<Asked> {
    stage.asked(since).into_iter().filter(|asked| asked.is_shed_of(name)).collect()
}

fn ms(from: Timestamp, to: Timestamp) -> i128 {
    to.duration_since(from).as_millis()
}

fn at_most(what: &str, time: SignedDuration, limit: SignedDuration) -> Fallible {
    if time <= limit { Ok(()) } else { Err(format!("{what} took {time:#}, not at most {limit:#}").into()) }
}

fn soon_after_the_end(stage: &Stage, story: &Story) -> Fallible<String> {
    at_most("the shed after the end", story.shed.duration_since(story.over), AT_ONCE)?;
    led_on(stage, story)?;
    Ok(format!(
        "shed {} ms after the end, booked {} ms after it",
        ms(story.over, story.shed),
        ms(story.over, story.booked)
    ))
}

/// Nobody gave the leadership up.
fn led_on(stage: &Stage, story: &Story) -> Fallible {
    let ended = stage.replicas.iter().flat_map(|replica| replica.ended()).find(|at| *at >= story.began);
    ended.map_or(Ok(()), |at| {
        Err(format!("a replica ended {} ms after the beginning", ms(story.began, at)).into())
    })
}

fn another_leader(stage: &Stage, story: &Story) -> Fallible<String> {
    let renewed = stage.last_renewal(story.began).ok_or("the Lease was never renewed")?;
    let ended = stage.replicas.iter().flat_map(|replica| replica.ended()).find(|at| *at >= story.began);
    let ended = ended.ok_or("no replica ended")?;
    at_most(
        "the leader's end after its last renewal",
        ended.duration_since(renewed),
        SignedDuration::from_secs(14),
    )?;
    at_most("the shed after the end", story.shed.duration_since(story.over), SignedDuration::from_secs(10))?;
    Ok(format!(
        "process ended {} ms after its last renewal (others may lead after 15 s); shed {} ms after the end",
        ms(renewed, ended),
        ms(story.over, story.shed)
    ))
}

/// The largest gap between two attempts at the shed while all are refused.
fn pace(stage: &Stage, story: &Story) -> Fallible<(usize, SignedDuration)> {
    let tries: Vec<Timestamp> = sheds(stage, story.name, story.began)
        .iter()
        .map(|asked| asked.at)
        .filter(|at| *at <= story.shed)
        .collect();
    let largest =
        tries.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().ok_or("one attempt only")?;
    at_most("the largest gap between two attempts", largest, PACE)?;
    Ok((tries.len(), largest))
}

fn keeps_its_pace(stage: &Stage, story: &Story) -> Fallible<String> {
    at_most("the shed after the end", story.shed.duration_since(story.over), AT_ONCE)?;
    led_on(stage, story)?;
    let (tries, largest) = pace(stage, story)?;
    Ok(format!(
        "{tries} attempts, at most {} ms apart; shed {} ms after the end",
        largest.as_millis(),
        ms(story.over, story.shed)
    ))
}

fn obeys_retry_after(stage: &Stage, story: &Story) -> Fallible<String> {
    let measured = keeps_its_pace(stage, story)?;
    let during = |asked: &Asked| asked.at < story.over && asked.is_write() && asked.status == 429;
    let others: Vec<Timestamp> = stage
        .asked(story.began)
        .into_iter()
        .filter(|asked| during(asked) && !asked.is_shed_of(story.name))
        .map(|asked| asked.at)
        .collect();
    // One that was under way when another was refused.
    let early =
        others.windows(2).filter(|pair| pair[1].duration_since(pair[0]) < SignedDuration::from_millis(1900));
    match early.count() {
        0 | 1 => Ok(format!("{measured}; {} other writes meanwhile", others.len())),
        count => Err(format!("{count} writes came before the server wanted them: {others:?}").into()),
    }
}

fn measures_again(stage: &Stage, story: &Story) -> Fallible<String> {
    at_most("the shed after the end", story.shed.duration_since(story.over), SignedDuration::from_secs(4))?;
    led_on(stage, story)?;
    Ok(format!(
        "bad sample {} ms after the end, shed {} ms after that",
        ms(story.over, story.decided),
        ms(story.decided, story.shed)
    ))
}

fn in_the_middle(stage: &Stage, story: &Story) -> Fallible<String> {
    at_most(
        "from the bad sample to the shed",
        story.shed.duration_since(story.decided),
        SignedDuration::from_secs(5),
    )?;
    led_on(stage, story)?;
    Ok(format!(
        "shed {} ms after the bad sample, in the middle of it; booked {} ms after the end",
        ms(story.decided, story.shed),
        ms(story.over, story.booked).max(0)
    ))
}

fn nothing_raised(stage: &Stage, story: &Story) -> Fallible<String> {
    at_most(
        "from the abort to the shed",
        story.shed.duration_since(story.decided),
        SignedDuration::from_secs(30),
    )?;
    led_on(stage, story)?;
    Ok(format!("no weight raised; shed {} ms after the abort", ms(story.decided, story.shed)))
}
