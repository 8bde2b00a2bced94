//! Counters, limits, their order inside a metric and across metrics, summaries and texts.

use super::fixture::*;
use crate::{
    decide::analysis::{Cause, Metric, Outcome, Phase, RunEvent, Summary},
    domain::verdict::Verdict,
};

fn both(success: &str, failure: &str) -> Metric {
    let given = |text: &str| (!text.is_empty()).then(|| criterion(text));
    Metric { success: given(success), failure: given(failure), ..metric("m") }
}

#[test]
fn a_measurement_is_judged_by_both_conditions() {
    use Verdict::{Error, Failed, Inconclusive, Successful};
    let table = [
        ("", "", 0.5, Successful),
        ("result < 0.05", "", 0.01, Successful),
        ("result < 0.05", "", 0.5, Failed),
        ("", "result > 0.05", 0.5, Failed),
        ("", "result > 0.05", 0.01, Successful),
        ("result < 0.9", "result > 0.05", 0.5, Failed),
        ("result < 0.05", "result > 0.9", 0.01, Successful),
        ("result < 0.05", "result > 0.9", 0.95, Failed),
        ("result < 0.05", "result > 0.9", 0.5, Inconclusive),
        ("result <", "result > 0.05", 0.5, Error),
        ("result < 0.05", "result >", 0.5, Error),
    ];
    for (success, failure, number, verdict) in table {
        let mut play = Play::of(run([both(success, failure)]));
        play.answer("m", value(number));
        assert_eq!(play.last("m").phase, Phase::Done(verdict), "{success:?} {failure:?} {number}");
    }
}

#[test]
fn a_condition_that_cannot_be_evaluated_says_which_and_why_and_stores_no_value() {
    let mut play = Play::of(run([both("result[0] < 0.05", "")]));
    play.answer("m", vector(&[]));
    assert_eq!(
        play.last("m").message,
        "could not evaluate successCondition \"result[0] < 0.05\": metric result is nil or empty: \
         no data returned from the metric provider"
    );
    assert_eq!(play.last("m").value, "");
}

#[test]
fn each_measurement_moves_the_counters_of_its_phase() {
    let endless = Metric {
        failure_limit: 100,
        inconclusive_limit: 100,
        consecutive_error_limit: 100,
        ..both("result < 0.05", "result > 0.9")
    };
    let mut play = Play::of(run([endless]));
    // count, successful, failed, inconclusive, error, consecutive errors, consecutive successes
    let story = [
        (value(0.01), [1, 1, 0, 0, 0, 0, 1]),
        (value(0.01), [2, 2, 0, 0, 0, 0, 2]),
        (value(0.95), [3, 2, 1, 0, 0, 0, 0]),
        (refused(), [3, 2, 1, 0, 1, 1, 0]),
        (refused(), [3, 2, 1, 0, 2, 2, 0]),
        (value(0.5), [4, 2, 1, 1, 2, 0, 0]),
        (value(0.01), [5, 3, 1, 1, 2, 0, 1]),
        (refused(), [5, 3, 1, 1, 3, 1, 0]),
    ];
    for (number, (outcome, counters)) in story.into_iter().enumerate() {
        play.answer("m", outcome);
        let it = play.result("m");
        let seen = [
            it.count,
            it.successful,
            it.failed,
            it.inconclusive,
            it.error,
            it.consecutive_error,
            it.consecutive_success,
        ];
        assert_eq!(seen, counters, "after answer {number}");
        assert_eq!(it.phase, Phase::Running);
        assert_eq!(it.ordinal() as usize, number + 1);
    }
}

#[test]
fn a_limit_is_the_number_that_is_tolerated() {
    let middle = |count| vec![value(0.5); count];
    let table: [(Metric, Vec<Outcome>, &str); 5] = [
        (
            Metric { failure_limit: 0, ..metric("m") },
            vec![value(0.5)],
            "Failed due to failed (1) > failureLimit (0)",
        ),
        (
            Metric { failure_limit: 2, ..metric("m") },
            vec![value(0.5), value(0.01), value(0.5), value(0.5)],
            "Failed due to failed (3) > failureLimit (2)",
        ),
        (
            Metric { inconclusive_limit: 1, ..both("result < 0.05", "result > 0.9") },
            middle(2),
            "Inconclusive due to inconclusive (2) > inconclusiveLimit (1)",
        ),
        (
            metric("m"),
            vec![refused(); 5],
            "Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: bad_data: parse error\"",
        ),
        (
            Metric { consecutive_error_limit: 0, ..metric("m") },
            vec![value(0.01), refused()],
            "Error due to consecutiveErrors (1) > consecutiveErrorLimit (0): \"Error Message: bad_data: parse error\"",
        ),
    ];
    for (metric, answers, text) in table {
        let mut play = Play::of(run([metric]));
        let last = answers.len() - 1;
        for (number, answer) in answers.into_iter().enumerate() {
            let step = play.answer("m", answer);
            assert_eq!(step.finished.is_some(), number == last, "{text} after answer {number}");
        }
        assert_eq!(play.run.status.message, format!("Metric \"m\" assessed {text}"));
    }
}

#[test]
fn a_disabled_failure_limit_tolerates_everything() {
    let tolerant = Metric { failure_limit: -1, consecutive_success_limit: 2, ..metric("m") };
    let mut play = Play::of(run([tolerant]));
    for _ in 0..20 {
        assert_eq!(play.answer("m", value(0.5)).finished, None);
    }
    play.answer("m", value(0.01));
    assert_eq!(play.answer("m", value(0.01)).phase(), Phase::Done(Verdict::Successful));
}

#[test]
fn at_the_count_the_row_of_successes_decides() {
    let table = [
        (0, 0, Verdict::Successful),
        (2, 0, Verdict::Inconclusive),
        (2, 1, Verdict::Inconclusive),
        (2, -1, Verdict::Failed),
    ];
    for (row, failure_limit, verdict) in table {
        let metric = Metric { count: Some(1), consecutive_success_limit: row, failure_limit, ..metric("m") };
        let mut play = Play::of(run([metric]));
        assert_eq!(play.answer("m", value(0.01)).phase(), Phase::Done(verdict), "{row} {failure_limit}");
        // The reference's summary counts by limits alone.
        assert_eq!(play.run.status.run_summary, Summary { count: 1, successful: 1, ..Summary::default() });
    }
}

#[test]
fn a_negative_count_is_reached_by_the_first_measurement_even_by_an_error() {
    let mut play = Play::of(run([Metric { count: Some(-3), ..metric("m") }]));
    assert_eq!(play.answer("m", refused()).phase(), Phase::Done(Verdict::Successful));
}

#[test]
fn inside_a_metric_error_beats_inconclusive_beats_failed() {
    let all = Metric { consecutive_error_limit: 0, ..both("result < 0.05", "result > 0.9") };
    let mut play = Play::of(run([Metric { dry_run: true, ..all.clone() }, once("other")]));
    play.answer("m", value(0.95));
    assert_eq!(play.result("m").phase, Phase::Done(Verdict::Failed));
    // The same counters, reached at once: a status taken over from another controller.
    for (error, inconclusive, verdict) in [
        (0, 0, Verdict::Failed),
        (0, 1, Verdict::Inconclusive),
        (1, 1, Verdict::Error),
        (1, 0, Verdict::Error),
    ] {
        let mut taken = run([all.clone()]);
        taken.status = play.run.status.clone();
        let result = &mut taken.status.metric_results[0];
        (result.phase, result.dry_run) = (Phase::Running, false);
        (result.consecutive_error, result.inconclusive) = (error, inconclusive);
        assert_eq!(Play::of(taken).run.status.phase, Phase::Done(verdict));
    }
}

#[test]
fn across_metrics_failed_is_worse_than_error_and_ties_keep_the_first() {
    let quick = |name: &str| Metric { consecutive_error_limit: 0, ..metric(name) };
    let table = [
        (refused(), value(0.5), "Metric \"b\" assessed Failed due to failed (1) > failureLimit (0)"),
        (value(0.5), refused(), "Metric \"a\" assessed Failed due to failed (1) > failureLimit (0)"),
        (value(0.5), value(0.6), "Metric \"a\" assessed Failed due to failed (1) > failureLimit (0)"),
    ];
    for (a, b, message) in table {
        let mut play = Play::of(run([quick("a"), quick("b")]));
        let step = play.answer_all([("a", a), ("b", b)]);
        assert_eq!((step.phase(), step.status.message.as_str()), (Phase::Done(Verdict::Failed), message));
    }
}

#[test]
fn a_metric_that_fails_ends_its_siblings_in_the_same_pass() {
    let mut play = Play::of(run([metric("a"), metric("b"), metric("never")]));
    play.answer("a", value(0.01));
    let step = play.answer("b", value(0.5));
    assert_eq!(step.phase(), Phase::Done(Verdict::Failed));
    assert_eq!(play.result("a").phase, Phase::Done(Verdict::Successful));
    assert!(play.run.status.metric("never").is_none());
    assert_eq!(step.wants, []);
    let tells: Vec<_> = step.events.iter().map(|event| (event.reason(), event.message())).collect();
    let expected = [
        ("MetricFailed", "Metric 'b' Completed. Result: Failed"),
        ("MetricSuccessful", "Metric 'a' Completed. Result: Successful"),
        ("AnalysisRunFailed", "Analysis Completed. Result: Failed"),
    ];
    assert_eq!(tells, expected.map(|(reason, text)| (reason.to_owned(), text.to_owned())));
    assert_eq!(step.events.iter().filter(|event| event.is_warning()).count(), 2);
}

#[test]
fn a_dry_run_metric_decides_nothing_but_is_waited_for() {
    let dry = Metric { dry_run: true, ..metric("dry") };
    let mut play = Play::of(run([dry, once("m")]));
    assert_eq!(play.answer("m", value(0.01)).phase(), Phase::Running);
    let step = play.answer("dry", value(0.5));
    assert_eq!((step.phase(), step.status.message.as_str()), (Phase::Done(Verdict::Successful), ""));
    assert_eq!(play.result("dry").phase, Phase::Done(Verdict::Failed));
    assert_eq!(play.result("dry").message, "Metric assessed Failed due to failed (1) > failureLimit (0)");
    let status = &play.run.status;
    assert_eq!(status.run_summary, Summary { count: 1, successful: 1, ..Summary::default() });
    assert_eq!(status.dry_run_summary, Some(Summary { count: 1, failed: 1, ..Summary::default() }));
    assert_eq!(step.finished.unwrap().cause, Cause::Passed);
}

#[test]
fn a_terminated_run_ends_at_once() {
    let mut fresh = run([metric("m")]);
    fresh.terminate = true;
    let play = Play::of(fresh);
    assert_eq!(play.run.status.phase, Phase::Done(Verdict::Successful));
    assert_eq!(play.run.status.message, "Run Terminated");
    assert_eq!(play.run.status.completed_at, Some(at(0)));

    let mut measured = Play::of(run([Metric { failure_limit: 3, ..metric("m") }]));
    measured.answer("m", value(0.5));
    measured.run.terminate = true;
    let step = measured.pass();
    assert_eq!(step.phase(), Phase::Done(Verdict::Successful));
    assert_eq!(step.events.last(), Some(&RunEvent::Run { verdict: Verdict::Successful }));
    assert_eq!(step.finished.unwrap().cause, Cause::Passed);
}
