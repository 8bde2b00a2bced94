//! Nobody answers: no verdict, bounded traces of it, back-off, and a return to measuring.

use super::fixture::*;
use crate::{
    decide::analysis::{MetricOutage, OutageMode, Phase, RunWake},
    domain::verdict::Verdict,
};

#[test]
fn an_outage_of_a_day_is_one_measurement_and_no_verdict() {
    let mut play = Play::of(run([metric("m")]));
    play.answer("m", value(0.01));
    let mut waits = vec![];
    for _ in 0..1500 {
        waits.push(play.wait("m"));
        assert_eq!(play.answer("m", outage()).phase(), Phase::Running);
    }
    assert_eq!(waits[..6], [60, 10, 20, 40, 60, 60]);
    let result = play.result("m");
    assert_eq!(
        (result.measurements.len(), result.count, result.error, result.consecutive_error),
        (2, 1, 0, 0)
    );
    assert_eq!(result.ordinal(), 1501);
    let last = play.last("m");
    assert_eq!((last.phase, last.message.as_str()), (Phase::Done(Verdict::Error), "connection refused"));
    assert_eq!(last.started_at, Some(at(60)));
    assert_eq!(last.finished_at, Some(play.now));
}

#[test]
fn an_outage_is_told_on_every_pass_until_it_is_over_also_after_a_restart() {
    let mut play = Play::of(run([metric("m"), metric("n")]));
    play.answer("m", outage());
    play.answer("m", outage());
    let told = MetricOutage {
        metric: "m".to_owned(),
        message: "connection refused".to_owned(),
        since: Some(at(0)),
        tries: 2,
        dry_run: false,
    };
    let step = play.pass();
    assert_eq!(step.outages, [told]);
    assert_eq!(step.wake, Some((at(30), RunWake::Measure { metric: "m".to_owned() })));
    play.now = at(100);
    assert_eq!(play.pass().wake, Some((at(120), RunWake::Overdue { metric: "m".to_owned() })));
    play.now = at(30);
    assert_eq!(play.answer("m", value(0.01)).outages, []);
    assert_eq!(play.wait("m"), 60);
    play.answer("m", outage());
    assert_eq!(play.last("m").outage_tries(), 1);
}

#[test]
fn one_metrics_outage_does_not_hold_up_anothers_verdict() {
    let mut play = Play::of(run([metric("m"), metric("n")]));
    play.answer("m", outage());
    assert_eq!(play.answer("n", value(0.5)).phase(), Phase::Done(Verdict::Failed));
}

#[test]
fn an_outage_neither_adds_to_a_row_of_errors_nor_ends_it() {
    let mut play = Play::of(run([metric("m")]));
    for _ in 0..4 {
        play.answer("m", refused());
        play.answer("m", outage());
    }
    assert_eq!(play.result("m").consecutive_error, 4);
    assert_eq!(play.answer("m", refused()).phase(), Phase::Done(Verdict::Error));
}

#[test]
fn the_references_way_counts_each_unanswered_query() {
    let mut play = Play::of(run([metric("m")]));
    play.mode = OutageMode::Reference;
    for _ in 0..4 {
        let step = play.answer("m", outage());
        assert_eq!((step.phase(), step.outages), (Phase::Running, vec![]));
    }
    assert_eq!(play.answer("m", outage()).phase(), Phase::Done(Verdict::Error));
    assert_eq!(
        play.run.status.message,
        "Metric \"m\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \
         \"Error Message: connection refused\""
    );
}

#[test]
fn a_message_of_any_length_is_stored_short() {
    let mut play = Play::of(run([metric("m")]));
    let message = "\u{e4}".repeat(100_000);
    play.answer("m", crate::decide::analysis::Outcome::Outage { message });
    assert!(play.last("m").message.len() < 2100);
}
