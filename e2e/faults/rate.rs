//! `--qps`: many rollouts want to write far more than they may, and one canary turns bad.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use serin::clock::Clock;

use crate::{
    Fallible, Row,
    proxy::Asked,
    server::api_of,
    stage::{LEASE, Stage},
    wait,
};

pub(crate) const NAME: &str = "qps";
const CANARY: &str = "qps-canary";
/// Rollouts that are busy.
const BUSY: usize = 30;
const RATE: u32 = 5;
/// How long the line of other writes must go on after the shed, to show that it was there.
const AFTER: Duration = Duration::from_secs(5);

/// Plays it: the replicas of the other cases make way for one that may ask 5 times a second.
///
/// # Errors
/// When the stage falls apart.
pub(crate) async fn play(stage: &mut Stage) -> Fallible<Row> {
    let busy: Vec<String> = (0..BUSY).map(|number| format!("busy-{number}")).collect();
    let canary = [CANARY.to_owned()];
    stage.shop.deploy(&[&busy[..], &canary].concat(), "").await?;
    stage.shop.release(&canary, "v2").await?;
    stage.replicas.clear();
    let leases = api_of(&stage.server.client, "serin-system", "coordination.k8s.io/v1", "Lease");
    leases.delete(LEASE, &DeleteParams::default()).await?;
    let rate = format!("--qps={RATE}");
    stage.start("serin-q", &[&rate, "--burst=5"]).await?;
    // Until it has looked at everything, and found nothing to do.
    wait::pause(Duration::from_secs(3)).await;
    let measured = crowd(stage, &busy).await.map_err(|error| error.to_string());
    Ok(Row {
        fault: "is well, but --qps 5 --burst 5 and 30 busy rollouts",
        does: "sheds and the bookings of measurements pass by the line",
        measured,
    })
}

async fn crowd(stage: &Stage, busy: &[String]) -> Fallible<String> {
    let began = Clock::Wall.now();
    stage.shop.change(busy, "v2").await?;
    wait::pause(Duration::from_secs(3)).await;
    stage.metrics.fail(&[CANARY.to_owned()]);
    let (_, booked) = stage.shop.until_ended(CANARY, Duration::from_secs(30)).await?;
    let decided = stage.metrics.failed_at(CANARY).ok_or("the metric was never asked for")?;
    let shed = stage.asked(began).into_iter().find(|asked| asked.is_shed_of(CANARY)).ok_or("no shed")?.at;
    wait::pause(AFTER).await;
    let asked = stage.asked(began);
    let limited = |from: Timestamp, to: Timestamp| {
        let counts = |asked: &&Asked| {
            asked.is_write()
                && !asked.is_shed_of(CANARY)
                && !asked.path.contains("/analysisruns/")
                && (from..to).contains(&asked.at)
        };
        asked.iter().filter(counts).count()
    };
    let took = shed.duration_since(decided);
    if took > SignedDuration::from_secs(1) {
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
