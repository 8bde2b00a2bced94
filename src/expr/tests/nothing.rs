//! What passes where there is nothing to judge: all of it, in one table.
//!
//! An order over nothing is an error. What passes is a condition that asks nothing of the data (`all` of no element,
//! `sum` of none), `!=` against nothing, and one that says itself what no data means. The reference passes the same,
//! and serin warns of it in `serin condition`; a metric's policy for no data comes before any of this.

use serde_json::json;

use super::super::{Condition, Judged, judge};
use crate::domain::value::MetricValue;

#[derive(Debug, PartialEq)]
enum Outcome {
    Passes,
    Fails,
    Undecided,
    NoVerdict,
}
use Outcome::{Fails, NoVerdict, Passes, Undecided};

fn outcome(success: Option<&Condition>, failure: Option<&Condition>, value: &MetricValue) -> Outcome {
    match judge(success, failure, value) {
        Ok(Judged::Successful) => Passes,
        Ok(Judged::Failed) => Fails,
        Ok(Judged::Inconclusive) => Undecided,
        Err(_) => NoVerdict,
    }
}

fn nil() -> MetricValue {
    MetricValue::Nil
}

fn empty() -> MetricValue {
    MetricValue::Floats(vec![])
}

fn nan() -> MetricValue {
    MetricValue::Floats(vec![f64::NAN])
}

fn object() -> MetricValue {
    MetricValue::Json(json!({}))
}

/// The condition, the value, the outcome as the only successCondition, and as the only failureCondition.
type Row = (&'static str, MetricValue, Outcome, Outcome);

fn assert_outcomes(table: impl IntoIterator<Item = Row>) {
    for (text, value, as_success, as_failure) in table {
        let condition = Condition::parse(text).unwrap();
        assert_eq!(outcome(Some(&condition), None, &value), as_success, "{text} on {value:?}");
        assert_eq!(outcome(None, Some(&condition), &value), as_failure, "{text} on {value:?}");
    }
}

#[test]
fn nothing_to_compare_is_no_verdict_in_either_role() {
    assert_outcomes([
        ("result[0] < 0.05", empty(), NoVerdict, NoVerdict),
        ("result[0] < 0.05", nil(), NoVerdict, NoVerdict),
        ("result[0] != 0.05", empty(), NoVerdict, NoVerdict),
        ("result[-1] < 0.05", empty(), NoVerdict, NoVerdict),
        ("first(result) < 0.05", empty(), NoVerdict, NoVerdict),
        ("get(result, 0) < 0.05", empty(), NoVerdict, NoVerdict),
        ("max(result) < 0.05", empty(), NoVerdict, NoVerdict),
        ("min(result) < 0.05", empty(), NoVerdict, NoVerdict),
        ("find(result, # > 0) < 0.05", empty(), NoVerdict, NoVerdict),
        ("filter(result, # > 0)[0] < 0.05", empty(), NoVerdict, NoVerdict),
        ("reduce(result, #acc + #) < 0.05", empty(), NoVerdict, NoVerdict),
        ("result < 0.05", nil(), NoVerdict, NoVerdict),
        ("result > 0.05", nil(), NoVerdict, NoVerdict),
        ("isNil(result) || result > 1", nil(), NoVerdict, NoVerdict),
        ("len(result) == 0", nil(), NoVerdict, NoVerdict),
        ("all(result, # < 0.05)", nil(), NoVerdict, NoVerdict),
        ("isNaN(result)", nil(), NoVerdict, NoVerdict),
        ("asFloat(result) < 1", nil(), NoVerdict, NoVerdict),
        ("result.rate < 0.05", nil(), NoVerdict, NoVerdict),
        ("result.rate < 0.05", object(), NoVerdict, NoVerdict),
        ("result.rate?.p99 < 0.05", object(), NoVerdict, NoVerdict),
        ("result.rate.p99 < 0.05", object(), NoVerdict, NoVerdict),
        ("asFloat(result.rate) < 1", object(), NoVerdict, NoVerdict),
        ("result.ok", object(), NoVerdict, NoVerdict),
        ("!result.bad", object(), NoVerdict, NoVerdict),
        ("result.ok ? true : false", object(), NoVerdict, NoVerdict),
        ("all(result.list, # < 1)", object(), NoVerdict, NoVerdict),
        ("len(result.list) == 0", object(), NoVerdict, NoVerdict),
    ]);
}

#[test]
fn nan_is_neither_above_nor_below_nor_equal() {
    assert_outcomes([
        ("result[0] < 0.05", nan(), Fails, Passes),
        ("result[0] >= 0.95", nan(), Fails, Passes),
        ("result[0] == result[0]", nan(), Fails, Passes),
        ("all(result, # < 0.05)", nan(), Fails, Passes),
        ("any(result, # < 0.05)", nan(), Fails, Passes),
        ("max(result) < 0.05", nan(), Fails, Passes),
        ("sum(result) < 0.05", nan(), Fails, Passes),
        ("0.01 < result[0] < 0.05", nan(), Fails, Passes),
        ("result[0] in [0.01]", nan(), Fails, Passes),
        // The opposites are true, as in the reference.
        ("result[0] != 0.05", nan(), Passes, Fails),
        ("!(result[0] > 0.05)", nan(), Passes, Fails),
        ("none(result, # > 0.05)", nan(), Passes, Fails),
    ]);
}

#[test]
fn every_way_to_pass_without_data_is_known() {
    assert_outcomes([
        // Conditions that ask nothing of an empty list, as in the reference.
        ("all(result, # < 0.05)", empty(), Passes, Fails),
        ("none(result, # > 0.05)", empty(), Passes, Fails),
        ("any(result, # > 0.05)", empty(), Fails, Passes),
        ("sum(result) < 0.05", empty(), Passes, Fails),
        ("mean(result) < 0.05", empty(), Passes, Fails),
        ("median(result) < 0.05", empty(), Passes, Fails),
        ("count(result, # > 0.05) == 0", empty(), Passes, Fails),
        ("len(filter(result, # > 0.05)) == 0", empty(), Passes, Fails),
        // Zero by zero: NaN.
        ("sum(result) / len(result) < 0.05", empty(), Fails, Passes),
        // `==` and `!=` know nil, as in the reference.
        ("result.rate == 1", object(), Fails, Passes),
        ("result.rate != 1", object(), Passes, Fails),
        ("result.status not in ['bad']", object(), Passes, Fails),
        ("result.status contains 'ok'", object(), Fails, Passes),
        // Conditions that say what no data means.
        ("len(result) == 0 || result[0] < 0.05", empty(), Passes, Fails),
        ("len(result) > 0 && result[0] < 0.05", empty(), Fails, Passes),
        ("isNaN(result[0]) || result[0] < 0.05", nan(), Passes, Fails),
        ("default(result, 0) < 0.05", nil(), Passes, Fails),
        ("(result ?? 0) < 0.05", nil(), Passes, Fails),
        ("isNil(result)", nil(), Passes, Fails),
    ]);
}

#[test]
fn a_failure_condition_never_hides_that_the_success_condition_has_no_verdict() {
    let [holds, fails, broken] =
        ["true", "false", "result[0] < 1"].map(|text| Condition::parse(text).unwrap());
    assert_eq!(outcome(Some(&broken), Some(&holds), &empty()), NoVerdict);
    assert_eq!(outcome(Some(&broken), Some(&fails), &empty()), NoVerdict);
    assert_eq!(outcome(Some(&holds), Some(&broken), &empty()), NoVerdict);
    assert_eq!(outcome(Some(&fails), Some(&broken), &empty()), NoVerdict);
    let below = Condition::parse("result[0] < 0.05").unwrap();
    let above = Condition::parse("result[0] >= 0.05").unwrap();
    assert_eq!(outcome(Some(&below), Some(&above), &nan()), Undecided);
    assert_eq!(outcome(None, None, &empty()), Passes);
}
