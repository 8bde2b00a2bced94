//! Laws that hold for every run and every order of answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::*;
use crate::decide::analysis::{Metric, OnNoData, OutageMode, Outcome, Run, Sample, SpecError, step};

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(value(0.01)),
        2 => Just(value(0.5)),
        1 => Just(value(0.95)),
        1 => Just(value(f64::NAN)),
        1 => Just(vector(&[])),
        1 => Just(refused()),
        1 => Just(outage()),
        1 => Just(Outcome::Unresolved { message: "no secret".to_owned() }),
    ]
}

fn a_metric(name: &'static str) -> impl Strategy<Value = Metric> {
    let policies = prop_oneof![
        Just(None),
        Just(policy(OnNoData::Error, None)),
        Just(policy(OnNoData::Inconclusive, Some(120))),
        Just(policy(OnNoData::Ignore, None)),
        Just(policy(OnNoData::Failed, Some(60))),
    ];
    let limits = (-1..4_i64, 0..3_i64, 0..4_i64, 0..3_i64, proptest::option::of(-1..6_i64));
    (limits, policies, any::<(bool, bool)>(), 1..4_usize).prop_map(
        move |((failed, inconclusive, errors, row, count), no_data, (dry_run, both), retention)| Metric {
            failure_limit: failed,
            inconclusive_limit: inconclusive,
            consecutive_error_limit: errors,
            consecutive_success_limit: row,
            count,
            no_data,
            dry_run,
            retention,
            failure: both.then(|| criterion("result > 0.9")),
            ..metric(name)
        },
    )
}

fn a_run() -> impl Strategy<Value = Run> {
    (a_metric("a"), a_metric("b"), a_metric("c"), any::<u8>()).prop_map(|(a, b, c, kind)| {
        let mut run = run([a, b, c]);
        run.terminate = kind % 16 == 0;
        if kind % 16 == 1 {
            run.metrics = Err(SpecError::Invalid("no metrics specified".to_owned()));
        }
        run
    })
}

/// Answers as they come: the metric, how far its ordinal is off, the outcome, seconds since the answer before.
fn answers() -> impl Strategy<Value = Vec<(usize, i8, Outcome, i64)>> {
    proptest::collection::vec(
        (0..3_usize, prop_oneof![6 => Just(0), 1 => -2..3_i8], outcome(), -90..200_i64),
        0..40,
    )
}

fn sample(run: &Run, metric: usize, off: i8, outcome: Outcome, second: i64) -> BTreeMap<String, Sample> {
    let name = ["a", "b", "c"][metric].to_owned();
    let ordinal = run.status.ordinal(&name).wrapping_add_signed(off.into());
    let (started_at, finished_at) = (at(second), at(second));
    BTreeMap::from([(name, Sample { ordinal, started_at, finished_at, outcome, metadata: BTreeMap::new() })])
}

fn mode(reference: bool) -> OutageMode {
    if reference { OutageMode::Reference } else { OutageMode::Hold }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_sample_is_counted_once_and_planning_twice_changes_nothing(
        mut run in a_run(), answers in answers(), reference: bool,
    ) {
        let mut second = 0;
        for (metric, off, outcome, wait) in answers {
            second += wait;
            let samples = sample(&run, metric, off, outcome, second);
            let first = step(&run, &samples, at(second), mode(reference));
            let (name, sample) = samples.first_key_value().unwrap();
            let grown = first.status.ordinal(name) - run.status.ordinal(name);
            prop_assert!(grown <= 1);
            prop_assert!(off == 0 || grown == 0, "an answer to another question was booked: {sample:?}");
            run.status = first.status.clone();
            let again = step(&run, &samples, at(second), mode(reference));
            prop_assert_eq!(&again.status, &first.status);
            prop_assert_eq!(again.events, vec![]);
            prop_assert_eq!(again.wants, first.wants);
            prop_assert_eq!(again.finished, first.finished);
        }
    }

    #[test]
    fn an_ended_run_never_changes_and_asks_for_nothing(mut run in a_run(), answers in answers()) {
        let mut second = 0;
        let mut end = None;
        for (metric, off, outcome, wait) in answers {
            second += wait;
            let samples = sample(&run, metric, off, outcome, second);
            let step = step(&run, &samples, at(second), OutageMode::Hold);
            if let Some(end) = &end {
                prop_assert_eq!(&step.status, end);
            }
            if step.phase().is_done() {
                prop_assert!(step.wants.is_empty() && step.outages.is_empty() && step.finished.is_some());
                prop_assert!(step.status.completed_at.is_some());
                end = Some(step.status.clone());
            } else {
                prop_assert!(step.finished.is_none());
            }
            run.status = step.status;
        }
    }

    #[test]
    fn an_unfinished_run_always_wants_something(mut run in a_run(), answers in answers()) {
        let mut second = 0;
        for (metric, off, outcome, wait) in answers {
            second += wait.abs();
            let samples = sample(&run, metric, off, outcome, second);
            let step = step(&run, &samples, at(second), OutageMode::Hold);
            prop_assert!(step.phase().is_done() || (!step.wants.is_empty() && step.wake.is_some()));
            for result in &step.status.metric_results {
                prop_assert!(result.measurements.len() <= 3);
                prop_assert_eq!(result.count, result.successful + result.failed + result.inconclusive);
            }
            run.status = step.status;
        }
    }

    #[test]
    fn a_clock_step_back_never_adds_a_verdict(mut run in a_run(), answers in answers(), back in 0..100_000_i64) {
        let mut second = 0;
        for (metric, off, outcome, wait) in answers {
            second += wait;
            let samples = sample(&run, metric, off, outcome, second);
            let straight = step(&run, &samples, at(second), OutageMode::Hold);
            let stepped = step(&run, &samples, at(second - back), OutageMode::Hold);
            prop_assert!(!stepped.phase().is_done() || straight.phase() == stepped.phase());
            prop_assert!(!stepped.expired || straight.expired);
            run.status = straight.status;
        }
    }
}
