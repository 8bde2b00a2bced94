//! `--qps`: many rollouts want to write far more than they may, and one canary turns bad.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serin::clock::Clock;

use crate::{
    Fallible, Row,
    proxy::Asked,
    stage::{Ground, Stage},
    wait,
};

pub(crate) const NAME: &str = "qps";
const CANARY: &str = "qps-canary";
const BUSY_NAME: &str = "busy-";
/// Rollouts that are busy.
const BUSY: usize = 30;
const RATE: u32 = 5;
/// Longest time from the bad sample to the shed. The line before it is some ten times as long.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(2);
/// How long the line of other writes must go on after the shed, to show that it was there.
const AFTER: Duration = Duration::from_secs(5);

/// Plays it.
pub(crate) async fn play(ground: &Ground) -> Row {
    Row {
        fault: "is well, but --qps 5 --burst 5 and 30 busy rollouts",
        does: "sheds and the bookings of measurements pass by the line",
        measured: one(ground).await.map_err(|error| error.to_string()),
    }
}

/// A replica in a hurry deploys all, then makes way for one that may ask 5 times a second.
async fn one(ground: &Ground) -> Fallible<String> {
    let mut stage = Stage::open(ground, NAME, 1).await?;
    let busy: Vec<String> = (0..BUSY).map(|number| format!("{BUSY_NAME}{number}")).collect();
    let canary = [CANARY.to_owned()];
    stage.shop.deploy(&[&busy[..], &canary].concat(), "").await?;
    stage.shop.release(&canary, "v2").await?;
    stage.dismiss().await?;
    let rate = format!("--qps={RATE}");
    stage.start("qps-slow", &[&rate, "--burst=5"]).await?;
    // Until it has looked at everything, and found nothing to do.
    wait::pause(Duration::from_secs(3)).await;
    crowd(&stage, &busy).await
}

async fn crowd(stage: &Stage<'_>, busy: &[String]) -> Fallible<String> {
    let began = Clock::Wall.now();
    stage.shop.change(busy, "v2").await?;
    wait::pause(Duration::from_secs(3)).await;
    stage.ground.metrics.fail(&[CANARY.to_owned()]);
    let (_, booked) = stage.shop.until_ended(CANARY, Duration::from_secs(30)).await?;
    let decided = stage.ground.metrics.failed_at(CANARY).ok_or("the metric was never asked for")?;
    let shed = stage.asked(began).into_iter().find(|asked| asked.is_shed_of(CANARY)).ok_or("no shed")?.at;
    wait::pause(AFTER).await;
    let asked = stage.asked(began);
    let limited = |from: Timestamp, to: Timestamp| {
        // Of the busy ones only: what follows a shed passes by the line, too.
        let is_busy = |asked: &Asked| {
            asked.path.contains(BUSY_NAME) || String::from_utf8_lossy(&asked.body).contains(BUSY_NAME)
        };
        let counts = |asked: &&Asked| {
            asked.is_write()
                && is_busy(asked)
                && !asked.path.contains("/analysisruns/")
                && (from..to).contains(&asked.at)
        };
        asked.iter().filter(counts).count()
    };
    let took = shed.duration_since(decided);
    if took > AT_ONCE {
        return Err(format!("the shed came {took:#} after the bad sample").into());
    }
    let after = limited(booked, booked + SignedDuration::try_from(AFTER)?);
    let wanted = usize::try_from(u64::from(RATE) * AFTER.as_secs())?;
    // The one that was due as the window began, and as it ended.
    if !(wanted - 5..=wanted + 2).contains(&after) {
        return Err(format!(
            "{after} other writes in {} s, not {wanted}: the line was not there",
            AFTER.as_secs()
        )
        .into());
    }
    Ok(format!(
        "shed {} ms after the bad sample; {} other writes before it, {after} in the {} s after it",
        took.as_millis(),
        limited(began, shed),
        AFTER.as_secs()
    ))
}
