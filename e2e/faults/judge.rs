//! How a fault is judged: by what was sent and in which order, and by times that tell one cause from another. A time limit here is
//! the largest pause that serin may make before what is judged, and room for a machine that does other things too.

use jiff::{SignedDuration, Timestamp};

use crate::{Fallible, cases::Story, proxy::Asked, stage::Stage};

/// Says what was measured, or why it is not what it should be.
pub(crate) type Judge = fn(&Stage<'_>, &Story) -> Fallible<String>;

/// From the moment at which something is possible to the moment at which it has arrived. Without hurry the next attempt after an
/// outage of some seconds is as many seconds away.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(2);
/// Largest gap between two attempts at a shed that is refused: the pauses of the queue, and the time that an attempt takes.
const PACE: SignedDuration = SignedDuration::from_secs(1);
/// From the last renewal to the end of the process: the renew deadline (10 s), and the last request of a pass (5 s at most, and it
/// must not be sent after the deadline).
const STOPS: SignedDuration = SignedDuration::from_secs(14);
/// Longest time until another leads after an outage: it may have seen the last renewal only afterwards, waits for the duration of
/// the Lease (15 s) from then on, and looks every 2 s.
const SUCCEEDS: SignedDuration = SignedDuration::from_secs(15 + 2 + 2);
/// A new leader reads everything, and asks for a measurement of its own.
const SETTLES: SignedDuration = SignedDuration::from_secs(5);

pub(crate) fn sheds(stage: &Stage<'_>, name: &str, since: Timestamp) -> Vec<Asked> {
    stage.asked(since).into_iter().filter(|asked| asked.is_shed_of(name)).collect()
}

fn ms(from: Timestamp, to: Timestamp) -> i128 {
    to.duration_since(from).as_millis()
}

fn at_most(what: &str, time: SignedDuration, limit: SignedDuration) -> Fallible {
    if time <= limit { Ok(()) } else { Err(format!("{what} took {time:#}, not at most {limit:#}").into()) }
}

/// Nobody gave the leadership up.
fn led_on(stage: &Stage<'_>, story: &Story) -> Fallible {
    stage.ended(story.began).map_or(Ok(()), |at| {
        Err(format!("a replica ended {} ms after the beginning", ms(story.began, at)).into())
    })
}

pub(crate) fn soon_after_the_end(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
    at_most("the shed after the end", story.shed.duration_since(story.over), AT_ONCE)?;
    led_on(stage, story)?;
    Ok(format!(
        "shed {} ms after the end, booked {} ms after it",
        ms(story.over, story.shed),
        ms(story.over, story.booked)
    ))
}

pub(crate) fn another_leader(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
    let renewals = stage.renewals();
    let last = renewals.iter().rfind(|(at, _)| *at < story.over);
    let (renewed, first) = last.ok_or("the Lease was never renewed")?;
    let ended = stage.ended(story.began).ok_or("no replica ended")?;
    at_most("the leader's end after its last renewal", ended.duration_since(*renewed), STOPS)?;
    let next = renewals.iter().find(|(at, _)| *at >= story.over);
    let (led, second) = next.ok_or("nobody led afterwards")?;
    if first == second {
        return Err(format!("{first} went on leading").into());
    }
    at_most("the next leader after the end", led.duration_since(story.over), SUCCEEDS)?;
    if story.shed < *led {
        return Err("the traffic was taken away by nobody who led".into());
    }
    at_most("the shed by the next leader", story.shed.duration_since(*led), SETTLES)?;
    Ok(format!(
        "process ended {} ms after its last renewal (others may lead after 15 s); another led {} ms after the end (17 s where it saw \
         the last renewal only then), shed {} ms after that",
        ms(*renewed, ended),
        ms(story.over, *led),
        ms(*led, story.shed)
    ))
}

/// The largest gap between two attempts at the shed while all are refused.
fn pace(stage: &Stage<'_>, story: &Story) -> Fallible<(usize, SignedDuration)> {
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

pub(crate) fn keeps_its_pace(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
    at_most("the shed after the end", story.shed.duration_since(story.over), AT_ONCE)?;
    led_on(stage, story)?;
    let (tries, largest) = pace(stage, story)?;
    Ok(format!(
        "{tries} attempts, at most {} ms apart; shed {} ms after the end",
        largest.as_millis(),
        ms(story.over, story.shed)
    ))
}

pub(crate) fn obeys_retry_after(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
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

pub(crate) fn measures_again(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
    let books = |asked: &Asked| {
        asked.at >= story.over
            && asked.is_write()
            && asked.path.contains("/analysisruns/")
            && asked.status == 200
    };
    let booked = stage.asked(story.began).into_iter().find(books).ok_or("nothing was booked")?.at;
    // The pause of a booking, and room.
    at_most("the booking after the end", booked.duration_since(story.over), AT_ONCE + AT_ONCE)?;
    // The interval of the metric, its jitter, and room.
    let again = story.decided.duration_since(booked);
    at_most("the next sample after the booking", again, AT_ONCE + SignedDuration::from_millis(1500))?;
    at_most("the shed after the bad sample", story.shed.duration_since(story.decided), AT_ONCE)?;
    led_on(stage, story)?;
    Ok(format!(
        "booked {} ms after the end, bad sample {} ms after that, shed {} ms after that",
        ms(story.over, booked),
        ms(booked, story.decided),
        ms(story.decided, story.shed)
    ))
}

pub(crate) fn in_the_middle(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
    if story.shed >= story.over {
        return Err(format!("the shed came {} ms after the end only", ms(story.over, story.shed)).into());
    }
    at_most("from the bad sample to the shed", story.shed.duration_since(story.decided), AT_ONCE)?;
    led_on(stage, story)?;
    Ok(format!(
        "shed {} ms after the bad sample, in the middle of it; booked {} ms after the end",
        ms(story.decided, story.shed),
        ms(story.over, story.booked).max(0)
    ))
}

pub(crate) fn nothing_raised(stage: &Stage<'_>, story: &Story) -> Fallible<String> {
    if story.shed >= story.over {
        return Err(format!("the shed came {} ms after the end only", ms(story.over, story.shed)).into());
    }
    led_on(stage, story)?;
    Ok(format!("no weight raised; shed {} ms after the abort", ms(story.decided, story.shed)))
}
