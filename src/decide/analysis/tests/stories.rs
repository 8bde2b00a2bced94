//! The story of the main job, and verdicts booked from a shed mark.

use super::fixture::*;
use crate::{
    decide::analysis::{
        Cause, Evidence, Mark, Metric, Phase, RunEvent, RunStatus, book_failed, newest_measurement_at, step,
    },
    domain::verdict::Verdict,
};

fn error_rate() -> Metric {
    Metric { failure_limit: 3, ..metric("error-rate") }
}

#[test]
fn failure_limit_three_fails_on_the_fourth_bad_sample() {
    let mut play = Play::of(run([error_rate()]));
    play.answer("error-rate", value(0.01));
    for _ in 0..3 {
        assert_eq!(play.answer("error-rate", value(0.08)).phase(), Phase::Running);
    }
    let step = play.answer("error-rate", value(0.08));
    assert_eq!(step.phase(), Phase::Done(Verdict::Failed));
    let finished = step.finished.unwrap();
    assert_eq!(
        finished.message,
        "Metric \"error-rate\" assessed Failed due to failed (4) > failureLimit (3)"
    );
    assert_eq!(finished.cause, Cause::MetricFailed);
    let evidence = Evidence {
        metric: "error-rate".to_owned(),
        value: "0.08".to_owned(),
        limit: "result < 0.05".to_owned(),
        query: "errors".to_owned(),
        samples: 5,
        failed: 4,
        failure_limit: 3,
        started_at: Some(at(0)),
        failed_at: Some(at(240)),
    };
    assert_eq!(finished.evidence, Some(evidence));
    // The verdict is read from the status alone on every later pass.
    assert_eq!(play.pass().finished.unwrap().cause, Cause::MetricFailed);
    assert_eq!(play.pass().events, []);
}

#[test]
fn the_evidence_names_a_failure_condition_as_what_should_have_held() {
    let metric = Metric { success: None, failure: Some(criterion("result > 0.05")), ..metric("m") };
    let finished = Play::of(run([metric])).answer("m", value(0.08)).finished.unwrap();
    assert_eq!(finished.evidence.unwrap().limit, "not (result > 0.05)");
}

fn mark() -> Mark {
    Mark {
        metric: "error-rate".to_owned(),
        verdict: Verdict::Failed,
        value: "0.08".to_owned(),
        message: String::new(),
        no_data: false,
        at: at(240),
    }
}

#[test]
fn a_verdict_booked_from_the_mark_is_the_verdict_of_the_lost_sample() {
    let mut lost = Play::of(run([error_rate()]));
    lost.answer("error-rate", value(0.01));
    for _ in 0..3 {
        lost.answer("error-rate", value(0.08));
    }
    assert!(newest_measurement_at(&lost.run.status) < Some(mark().at));
    lost.now = at(250);
    let booked = book_failed(&lost.run, &mark(), lost.now).unwrap().status;
    let before = lost.run.clone();
    let told = lost.answer("error-rate", value(0.08)).status;
    let same_end = RunStatus { completed_at: told.completed_at, ..booked.clone() };
    let mut told = told;
    for measurement in &mut told.metric_results[0].measurements {
        measurement.started_at = measurement.started_at.min(Some(at(240)));
        measurement.finished_at = measurement.finished_at.min(Some(at(240)));
    }
    assert_eq!(same_end, told);
    assert_eq!(newest_measurement_at(&booked), Some(at(240)));
    let mut after = before;
    after.status = booked;
    let again = step(&after, &Default::default(), at(250), Default::default());
    assert_eq!(again.finished.unwrap().cause, Cause::MetricFailed);
    assert_eq!(book_failed(&after, &mark(), at(250)), None);
}

#[test]
fn a_mark_is_booked_also_where_the_counters_do_not_explain_it() {
    let fresh = run([error_rate(), metric("other")]);
    let step = book_failed(&fresh, &mark(), at(250)).unwrap();
    assert_eq!(step.events, [RunEvent::Run { verdict: Verdict::Failed }]);
    let booked = step.status;
    assert_eq!(booked.phase, Phase::Done(Verdict::Failed));
    assert_eq!(
        booked.message,
        "Metric \"error-rate\" assessed Failed at 2026-01-01T00:04:00Z, by the shed mark"
    );
    assert_eq!(booked.completed_at, Some(at(250)));
    assert_eq!(booked.metric("error-rate").unwrap().phase, Phase::Done(Verdict::Failed));
    let unknown = Mark { metric: "gone".to_owned(), ..mark() };
    assert_eq!(book_failed(&fresh, &unknown, at(250)), None);
    let dry = run([Metric { dry_run: true, ..error_rate() }]);
    assert_eq!(book_failed(&dry, &mark(), at(250)), None);
    let mild = Mark { verdict: Verdict::Inconclusive, ..mark() };
    assert_eq!(book_failed(&fresh, &mild, at(250)), None);
}

#[test]
fn a_mark_of_an_error_keeps_its_cause() {
    let error = Mark {
        verdict: Verdict::Error,
        value: String::new(),
        message: "no data: query `errors` returned NaN".to_owned(),
        no_data: true,
        ..mark()
    };
    let fresh = run([error_rate()]);
    let finished = book_failed(&fresh, &error, at(250)).unwrap().finished.unwrap();
    assert_eq!((finished.verdict, finished.cause), (Verdict::Error, Cause::NoData));
}
