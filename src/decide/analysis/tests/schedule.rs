//! When a metric is measured, how much is kept, when a run is deleted.

use std::collections::BTreeMap;

use super::fixture::*;
use crate::{
    decide::analysis::{
        Cause, Measurement, Metric, Outcome, Phase, RunWake, Sample, SpecError, Ttl, newest_measurement_at,
    },
    domain::verdict::Verdict,
};

#[test]
fn the_first_measurement_is_wanted_at_once_or_after_its_delay() {
    let late = Metric { initial_delay: Some(seconds(300)), ..metric("late") };
    let mut play = Play::of(run([metric("m"), late]));
    let step = play.pass();
    let wants: Vec<_> =
        step.wants.iter().map(|want| (want.metric.as_str(), want.ordinal, want.due)).collect();
    assert_eq!(wants, [("m", 0, at(0)), ("late", 0, at(300))]);
    // Nothing answers: it is looked at again after the time for an answer, and a minute.
    assert_eq!(step.wake, Some((at(90), RunWake::Overdue { metric: "m".to_owned() })));
    let mut answered =
        Play::of(run([once("m"), Metric { initial_delay: Some(seconds(300)), ..metric("late") }]));
    let wake = answered.answer("m", value(0.01)).wake;
    assert_eq!(wake, Some((at(300), RunWake::Measure { metric: "late".to_owned() })));
    assert_eq!((play.run.status.phase, play.run.status.started_at), (Phase::Running, Some(at(0))));
}

#[test]
fn the_pause_counts_from_the_end_and_an_error_is_tried_again_after_ten_seconds() {
    let mut play = Play::of(run([metric("m")]));
    play.answer("m", value(0.01));
    assert_eq!(play.wait("m"), 60);
    play.answer("m", refused());
    assert_eq!(play.wait("m"), 10);
    let mut single = Play::of(run([once("m")]));
    single.answer("m", refused());
    assert_eq!(single.wait("m"), 10);
}

#[test]
fn an_interval_of_nothing_is_a_second() {
    for interval in [0, -60] {
        let mut play = Play::of(run([Metric { interval: Some(seconds(interval)), ..metric("m") }]));
        play.answer("m", value(0.01));
        assert_eq!(play.wait("m"), 1);
    }
}

#[test]
fn a_sample_with_another_ordinal_is_ignored() {
    let mut play = Play::of(run([metric("m")]));
    play.answer("m", value(0.01));
    for ordinal in [0, 2, u32::MAX] {
        let sample = Sample {
            ordinal,
            started_at: at(60),
            finished_at: at(60),
            outcome: value(0.5),
            metadata: BTreeMap::new(),
        };
        let before = play.run.status.clone();
        assert_eq!(play.pass_with(&BTreeMap::from([("m".to_owned(), sample)])).status, before);
    }
}

#[test]
fn the_newest_measurements_are_kept_and_the_ordinal_goes_on() {
    let mut play = Play::of(run([Metric { retention: 3, failure_limit: 100, ..metric("m") }]));
    for number in 0..25_u32 {
        assert_eq!(play.run.status.ordinal("m"), number);
        play.answer("m", value(f64::from(number)));
    }
    let values: Vec<_> = play.result("m").measurements.iter().map(|it| it.value.as_str()).collect();
    assert_eq!(values, ["22", "23", "24"]);
    assert_eq!(play.result("m").count, 25);
    assert_eq!(newest_measurement_at(&play.run.status), Some(at(24 * 60)));
}

#[test]
fn results_stand_in_the_order_of_the_spec_whatever_came_first() {
    let mut play = Play::of(run([metric("a"), metric("b"), metric("c")]));
    for name in ["c", "a", "b"] {
        play.answer(name, value(0.01));
    }
    let names: Vec<_> = play.run.status.metric_results.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_measurement_left_in_flight_by_another_controller_is_measured_anew() {
    let mut taken = run([Metric { count: Some(1), ..metric("m") }]);
    let mut play = Play::of(run([metric("m")]));
    play.answer("m", value(0.01));
    taken.status = play.run.status.clone();
    let result = &mut taken.status.metric_results[0];
    result.measurements.push(Measurement {
        phase: Phase::Running,
        started_at: Some(at(60)),
        ..Measurement::default()
    });
    let mut play = Play::of(taken);
    assert_eq!(play.answer("m", value(0.5)).phase(), Phase::Done(Verdict::Failed));
}

#[test]
fn what_cannot_be_asked_is_an_error_measurement_without_the_sampler() {
    let broken = Metric { query: Err("prometheus timeout should not be negative".to_owned()), ..metric("m") };
    let mut play = Play::of(run([broken]));
    for _ in 0..4 {
        let step = play.pass();
        assert_eq!(step.wants, []);
        play.now = step.wake.unwrap().0;
    }
    let step = play.pass();
    assert_eq!(step.phase(), Phase::Done(Verdict::Error));
    assert_eq!(step.finished.unwrap().cause, Cause::NotMeasurable);
    assert_eq!(play.last("m").message, "prometheus timeout should not be negative");
    let mut stopped = run(play.run.metrics.clone().unwrap());
    stopped.terminate = true;
    assert_eq!(Play::of(stopped).run.status.metric_results, []);
}

#[test]
fn a_spec_that_does_not_hold_together_is_an_error_at_once() {
    let mut bad = run([]);
    bad.metrics = Err(SpecError::Invalid("no metrics specified".to_owned()));
    let mut play = Play::of(bad);
    let step = play.pass();
    assert_eq!(step.phase(), Phase::Done(Verdict::Error));
    assert_eq!(step.status.message, "Analysis spec invalid: no metrics specified");
    assert_eq!(step.status.completed_at, Some(at(0)));
    assert_eq!(step.finished.unwrap().cause, Cause::InvalidSpec);
}

#[test]
fn a_secret_that_does_not_exist_ends_the_run() {
    let mut play = Play::of(run([metric("m")]));
    let message = "key 'token' does not exist in secret 'prom'".to_owned();
    let step = play.answer("m", Outcome::Unresolved { message });
    assert_eq!(step.phase(), Phase::Done(Verdict::Error));
    assert_eq!(
        step.status.message,
        "Unable to resolve metric arguments: key 'token' does not exist in secret 'prom'"
    );
}

#[test]
fn a_run_is_deleted_exactly_when_its_time_is_over() {
    let all = Ttl { after_completion: Some(100), after_failure: Some(10), after_success: Some(20) };
    let table = [
        (all, value(0.01), Some(21)),
        (all, value(0.5), Some(11)),
        (Ttl { after_success: None, ..all }, value(0.01), Some(101)),
        (Ttl { after_completion: None, ..all }, value(0.01), Some(21)),
        (Ttl { after_completion: None, after_failure: None, ..all }, value(0.5), None),
        (all, refused(), Some(101)),
    ];
    for (ttl, outcome, second) in table {
        let mut run = run([Metric { consecutive_error_limit: 0, ..once("m") }]);
        run.ttl = ttl;
        let mut play = Play::of(run);
        let step = play.answer("m", outcome);
        assert_eq!(step.wake, second.map(|second| (at(second), RunWake::Expire)), "{ttl:?}");
        if let Some(second) = second {
            play.now = at(second - 1);
            assert!(!play.pass().expired);
            play.now = at(second);
            assert!(play.pass().expired);
        }
    }
}
