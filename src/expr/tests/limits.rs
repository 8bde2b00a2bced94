//! Conditions that ask for more than their share: an error, at once, on a stack as small as a worker's.

use super::super::{Condition, Error, Stage};
use crate::domain::value::MetricValue;

/// The outcome on a thread with the stack of a tokio worker.
fn judged(text: &str) -> Result<bool, Error> {
    let text = text.to_owned();
    let judge = move || Condition::parse(&text)?.evaluate(&MetricValue::Floats(vec![1.0, 2.0]));
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(judge);
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => panic!("the thread did not come to an end"),
    }
}

fn assert_limited(text: &str) {
    let outcome = judged(text);
    let short: String = text.chars().take(100).collect();
    assert_eq!(outcome.as_ref().map_err(Error::stage), Err(Stage::Limit), "{short}: {outcome:?}");
}

/// Forty lists, each holding the one before twice: 2^40 elements behind forty cells.
fn doubled(then: &str) -> String {
    let mut text = "let a0 = [1, 1];".to_owned();
    for level in 1..40 {
        text += &format!("let a{level} = [a{0}, a{0}];", level - 1);
    }
    text + then
}

#[test]
fn values_nested_without_end_are_refused_before_they_overflow_the_stack() {
    for text in [
        "reduce(1..300000, [#acc]) == nil",
        "reduce(1..300000, {#; {\"a\": #acc}}) == nil",
        "reduce(1..300000, concat([#acc]), [1]) == nil",
        "reduce(1..300000, groupBy([#acc], 1)) == nil",
        "reduce(1..300000, toPairs({\"a\": #acc})) == nil",
        "string(reduce(1..300000, {#; [#acc]}, 0)) == ''",
    ] {
        assert_limited(text);
    }
}

#[test]
fn what_is_shared_is_charged_each_time_it_is_walked() {
    // The comparisons among these take a while without optimization; the byte fuzz has them all.
    for then in ["string(a39) == ''", "toJSON(a39) == ''", "mean(a39) == 1", "flatten(a39) == nil"] {
        assert_limited(&doubled(then));
    }
}

#[test]
fn long_texts_are_charged_by_whatever_reads_them() {
    let before = "let s = repeat('1', 400000);";
    for then in [
        "all(1..500000, len(s) > 0)",
        "all(1..500000, s <= s)",
        "all(1..500000, s == s)",
        "all(1..500000, s in [s])",
        "all(1..500000, not (s contains '12'))",
        "all(1..500000, indexOf(s, '2') < 0)",
        "all(1..500000, upper(s) != '')",
        "all(1..500000, not (s matches '^1*2'))",
        "len(sort(map(1..90000, s))) > 1",
        "let m = {(s): 1}; all(1..500000, m[s] == 1)",
        "let m = {(s): 1}; all(1..500000, keys(m) != nil)",
        "let d = repeat('1h', 200000); all(1..500000, duration(d) > duration('1h'))",
        "let g = groupBy(1..4000, #); all(1..500000, g[0] == nil)",
        "fromJSON('[' + repeat('1,', 300000) + '1]') == nil",
    ] {
        assert_limited(&format!("{before} {then}"));
    }
}

#[test]
fn a_pattern_is_charged_by_the_size_of_its_automaton() {
    let text = "let s = repeat('abcdefgh', 60000);";
    assert_limited(&format!("{text} s matches '(a|b|c|d|e|f|g|h|[a-z]{{1,50}}){{1,50}}z'"));
    assert_limited("all(1..100000, 'a' matches repeat('[a-z]', # % 100 + 1) or true == (# > 0))");
    assert_eq!(judged(&format!("{text} s matches 'gh$'")), Ok(true));
}

#[test]
fn a_message_never_carries_a_whole_result() {
    for text in [
        "asInt(repeat('x', 900000)) > 0",
        "float(repeat('x', 900000)) > 0",
        "date(repeat('1', 900000)) > now()",
        "'a' matches repeat('(', 900000)",
        "fromJSON(repeat('x', 900000)) == nil",
        "asInt(map(1..100000, 'x')) > 0",
        &doubled("asInt(a39) == 1"),
    ] {
        let error = judged(text).unwrap_err();
        assert!(error.to_string().len() < 2048, "{} bytes", error.to_string().len());
    }
}

#[test]
fn text_and_nesting_are_bounded() {
    assert_limited(&format!("result[0] < {}1", "0".repeat(4096)));
    assert_limited(&format!("{}1{} == 1", "(".repeat(1000), ")".repeat(1000)));
    assert_limited(&format!("{}true", "!".repeat(1000)));
    assert_limited(&format!("true{}", " && true".repeat(400)));
    assert_eq!(judged(&format!("true{}", " && true".repeat(150))), Ok(true));
}
