//! Answers without data: what the policy makes of them, and that they never pass for measured and bad.

use super::fixture::*;
use crate::{
    decide::analysis::{Cause, FAILED_WITHOUT_DATA, Metric, NO_DATA, OnNoData, Outcome, Phase},
    domain::verdict::Verdict,
};

fn with(outcome: OnNoData, timeout: Option<i64>) -> Metric {
    Metric { no_data: policy(outcome, timeout), consecutive_error_limit: 0, ..metric("m") }
}

#[test]
fn the_policy_names_the_verdict() {
    let table = [
        (OnNoData::Error, Verdict::Error, Cause::NoData),
        (OnNoData::Inconclusive, Verdict::Inconclusive, Cause::NoData),
        (OnNoData::Failed, Verdict::Failed, Cause::NoData),
    ];
    for (outcome, verdict, cause) in table {
        for (answer, what) in
            [(value(f64::NAN), "NaN"), (vector(&[]), "an empty result"), (vector(&[f64::NAN]), "NaN")]
        {
            let mut play = Play::of(run([with(outcome, None)]));
            let step = play.answer("m", answer);
            assert_eq!(step.phase(), Phase::Done(verdict));
            assert_eq!(step.finished.unwrap().cause, cause);
            assert_eq!(play.last("m").message, format!("no data: query `errors` returned {what}"));
        }
    }
}

#[test]
fn ignored_answers_are_recorded_once_and_never_counted() {
    let mut play = Play::of(run([with(OnNoData::Ignore, None)]));
    for number in 1..=50 {
        assert_eq!(play.answer("m", value(f64::NAN)).phase(), Phase::Running);
        assert_eq!(play.run.status.ordinal("m"), number);
    }
    assert_eq!(play.result("m").measurements.len(), 1);
    assert_eq!(play.last("m").waited_answers(), 50);
    assert_eq!((play.result("m").count, play.result("m").inconclusive), (0, 0));
    assert_eq!(play.wait("m"), 60);
    let step = play.answer("m", value(0.5));
    assert_eq!(step.finished.unwrap().cause, Cause::MetricFailed);
}

#[test]
fn data_is_waited_for_until_the_timeout_and_a_value_starts_it_anew() {
    let patient = Metric { failure_limit: 9, ..with(OnNoData::Inconclusive, Some(150)) };
    let mut play = Play::of(run([patient]));
    for _ in 0..3 {
        assert_eq!(play.answer("m", value(f64::NAN)).phase(), Phase::Running);
    }
    play.answer("m", value(0.01));
    for _ in 0..3 {
        assert_eq!(play.answer("m", value(f64::NAN)).phase(), Phase::Running);
    }
    let step = play.answer("m", value(f64::NAN));
    assert_eq!(step.phase(), Phase::Done(Verdict::Inconclusive));
    assert_eq!(
        step.status.message,
        "Metric \"m\" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0): \
         \"Error Message: no data: query `errors` returned NaN\""
    );
}

#[test]
fn ignoring_with_a_timeout_ends_inconclusive_and_never_successful() {
    let mut play = Play::of(run([Metric { no_data: policy(OnNoData::Ignore, Some(15)), ..once("m") }]));
    for _ in 0..2 {
        assert_eq!(play.answer("m", vector(&[])).phase(), Phase::Running);
    }
    assert_eq!(play.answer("m", vector(&[])).phase(), Phase::Done(Verdict::Inconclusive));
}

#[test]
fn without_a_policy_the_verdict_is_the_references_and_the_cause_is_ours() {
    let failure = |text: &str| Metric { success: None, failure: Some(criterion(text)), ..metric("m") };
    let either = Metric { failure: Some(criterion("result > 0.9")), ..metric("m") };
    let table = [
        (metric("m"), Verdict::Failed, Cause::NoData),
        (either, Verdict::Inconclusive, Cause::NoData),
        (Metric { count: Some(1), ..failure("result > 0.05") }, Verdict::Successful, Cause::Passed),
    ];
    for (metric, verdict, cause) in table {
        let mut play = Play::of(run([metric]));
        let finished = play.answer("m", value(f64::NAN)).finished.unwrap();
        assert_eq!((finished.verdict, finished.cause), (verdict, cause));
        assert_eq!(play.last("m").metadata[NO_DATA], "NaN");
    }
}

#[test]
fn only_real_numbers_that_pass_the_limit_alone_are_a_failed_metric() {
    let nan = || value(f64::NAN);
    let table: [(Vec<Outcome>, Cause); 4] = [
        (vec![value(0.5), value(0.5), nan()], Cause::NoData),
        (vec![nan(), nan(), value(0.5)], Cause::NoData),
        (vec![nan(), nan(), nan()], Cause::NoData),
        (vec![value(0.5), value(0.5), value(0.5)], Cause::MetricFailed),
    ];
    for (answers, cause) in table {
        let mut play = Play::of(run([Metric { failure_limit: 2, retention: 1, ..metric("m") }]));
        let steps: Vec<_> = answers.into_iter().map(|answer| play.answer("m", answer)).collect();
        let finished = steps.into_iter().next_back().unwrap().finished.unwrap();
        assert_eq!((finished.verdict, finished.cause), (Verdict::Failed, cause));
    }
}

#[test]
fn a_metric_failed_on_numbers_decides_over_one_failed_without_data() {
    let mut play = Play::of(run([metric("a"), metric("b")]));
    let step = play.answer_all([("a", value(f64::NAN)), ("b", value(0.5))]);
    let finished = step.finished.unwrap();
    assert_eq!((finished.cause, finished.evidence.unwrap().metric.as_str()), (Cause::MetricFailed, "b"));
    assert!(step.status.message.starts_with("Metric \"a\" assessed Failed"));
}

#[test]
fn a_list_with_a_nan_fails_on_numbers_only_where_the_nan_could_not_have_saved_it() {
    let first = |numbers: &[f64]| {
        let mut play =
            Play::of(run([Metric { success: Some(criterion("result[0] < 0.05")), ..metric("m") }]));
        let cause = play.answer("m", vector(numbers)).finished.unwrap().cause;
        (cause, play.result("m").tally(FAILED_WITHOUT_DATA))
    };
    assert_eq!(first(&[0.5, f64::NAN]), (Cause::MetricFailed, 0));
    assert_eq!(first(&[f64::NAN, 0.5]), (Cause::NoData, 1));
}

#[test]
fn a_run_taken_over_is_judged_by_the_texts_of_its_measurements() {
    let mut play = Play::of(run([Metric { failure_limit: 1, ..metric("m") }]));
    play.answer("m", value(f64::NAN));
    let result = &mut play.run.status.metric_results[0];
    result.metadata.clear();
    result.measurements[0].metadata.clear();
    let finished = play.answer("m", value(0.5)).finished.unwrap();
    assert_eq!((finished.verdict, finished.cause), (Verdict::Failed, Cause::NoData));
}

#[test]
fn an_infinite_value_is_a_number() {
    let mut play = Play::of(run([metric("m")]));
    assert_eq!(play.answer("m", value(f64::INFINITY)).finished.unwrap().cause, Cause::MetricFailed);
}

#[test]
fn the_timeout_is_over_when_it_is_reached() {
    let patient = Metric { failure_limit: 9, ..with(OnNoData::Inconclusive, Some(120)) };
    let mut play = Play::of(run([patient]));
    let phases: Vec<Phase> = (0..3).map(|_| play.answer("m", value(f64::NAN)).phase()).collect();
    assert_eq!(phases, [Phase::Running, Phase::Running, Phase::Done(Verdict::Inconclusive)]);
}

#[test]
fn a_row_of_successes_missed_for_want_of_data_is_no_failed_metric() {
    let row = Metric { count: Some(2), failure_limit: -1, consecutive_success_limit: 2, ..metric("m") };
    for (first, cause) in [(value(f64::NAN), Cause::NoData), (value(0.5), Cause::MetricFailed)] {
        let mut play = Play::of(run([row.clone()]));
        play.answer("m", first);
        let finished = play.answer("m", value(0.01)).finished.unwrap();
        assert_eq!((finished.verdict, finished.cause), (Verdict::Failed, cause));
    }
}
