//! The status round trip, the patch, and that no JSON is too strange.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::analysis::{parse_run, parse_status, print_status, status_patch},
    decide::analysis::{Measurement, MetricResult, OutageMode, Phase, RunStatus, Summary, step},
    domain::verdict::Verdict,
};

fn phase() -> impl Strategy<Value = Phase> {
    let verdicts =
        [Verdict::Successful, Verdict::Inconclusive, Verdict::Error, Verdict::Failed].map(Phase::Done);
    prop_oneof![
        prop::sample::select(vec![Phase::NotStarted, Phase::Pending, Phase::Running]),
        prop::sample::select(verdicts.to_vec()),
    ]
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of((0..4_000_000_000_i64).prop_map(|second| Timestamp::from_second(second).unwrap()))
}

fn metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-z./]{1,8}", ".{0,6}", 0..3)
}

fn summary() -> impl Strategy<Value = Summary> {
    [0..9_i64, 0..9, 0..9, 0..9, 0..9].prop_map(|[count, successful, failed, inconclusive, error]| Summary {
        count,
        successful,
        failed,
        inconclusive,
        error,
    })
}

fn measurement() -> impl Strategy<Value = Measurement> {
    (phase(), ".{0,9}", time(), time(), ".{0,9}", metadata(), time()).prop_map(
        |(phase, message, started_at, finished_at, value, metadata, resume_at)| Measurement {
            phase,
            message,
            started_at,
            finished_at,
            value,
            metadata,
            resume_at,
        },
    )
}

fn result() -> impl Strategy<Value = MetricResult> {
    let counts = proptest::array::uniform7(prop_oneof![Just(0), any::<i64>()]);
    let measurements = proptest::collection::vec(measurement(), 0..3);
    (".{0,9}", phase(), measurements, ".{0,9}", counts, any::<bool>(), metadata()).prop_map(
        |(name, phase, measurements, message, counts, dry_run, metadata)| {
            let [count, successful, failed, inconclusive, error, consecutive_error, consecutive_success] =
                counts;
            MetricResult {
                name,
                phase,
                measurements,
                message,
                count,
                successful,
                failed,
                inconclusive,
                error,
                consecutive_error,
                consecutive_success,
                dry_run,
                metadata,
            }
        },
    )
}

fn status() -> impl Strategy<Value = RunStatus> {
    let results = proptest::collection::vec(result(), 0..3);
    (phase(), ".{0,9}", results, time(), time(), summary(), proptest::option::of(summary())).prop_map(
        |(phase, message, metric_results, started_at, completed_at, run_summary, dry_run_summary)| {
            RunStatus {
                phase,
                message,
                metric_results,
                started_at,
                completed_at,
                run_summary,
                dry_run_summary,
            }
        },
    )
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["{{args.a}}", "{{", "-1", "5s", "99999999999999999999h", "Failed", "NaN"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, |inner| {
        let keys = prop::sample::select(vec![
            "metadata",
            "annotations",
            "serin.dev/metric-policy",
            "spec",
            "status",
            "metrics",
            "name",
            "args",
            "value",
            "valueFrom",
            "secretKeyRef",
            "interval",
            "count",
            "failureLimit",
            "provider",
            "prometheus",
            "headers",
            "query",
            "timeout",
            "dryRun",
            "metricName",
            "measurementRetention",
            "metricResults",
            "measurements",
            "phase",
            "finishedAt",
            "successCondition",
            "address",
            "limit",
            "authentication",
            "basicAuth",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::btree_map(keys, inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

/// A run that uses everything.
fn whole_run() -> Value {
    json!({
        "metadata": {
            "name": "r", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"serin.dev/metric-policy": "a: {onNoData: Ignore, noDataTimeout: 5m}"},
        },
        "spec": {
            "args": [
                {"name": "x", "value": "1"},
                {"name": "s", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}},
            ],
            "metrics": [{
                "name": "a", "interval": "1m", "initialDelay": "5s", "count": "{{args.x}}", "failureLimit": 1,
                "inconclusiveLimit": 1, "consecutiveErrorLimit": 1, "consecutiveSuccessLimit": 0,
                "successCondition": "result < {{args.x}}", "failureCondition": "result > 2",
                "provider": {"prometheus": {
                    "address": "http://p", "query": "up{t='{{args.s}}'}", "timeout": 5, "insecure": true,
                    "headers": [{"key": "k", "value": "v"}],
                    "authentication": {"basicAuth": {"username": "u", "password": "{{args.s}}"}},
                }},
            }],
            "dryRun": [{"metricName": "a"}], "measurementRetention": [{"metricName": "a", "limit": 5}],
            "ttlStrategy": {"secondsAfterCompletion": 5}, "terminate": false,
        },
        "status": {
            "phase": "Running", "startedAt": "2026-01-01T00:00:00Z", "runSummary": {"count": 1}, "dryRunSummary": {},
            "metricResults": [{
                "name": "a", "phase": "Running", "count": 1, "failed": 1, "metadata": {"serin.dev/uncounted": "3"},
                "measurements": [{"phase": "Failed", "value": "NaN", "finishedAt": "2026-01-01T00:00:00Z"}],
            }],
        },
    })
}

fn walk(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, item)| walk(item, format!("{at}/{}", key.replace('/', "~1")), places));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, item)| walk(item, format!("{at}/{index}"), places));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    places.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_status_reads_back_as_it_was_printed(status in status()) {
        prop_assert_eq!(parse_status(&print_status(&status)), status);
    }

    #[test]
    fn a_patch_makes_the_stored_status_the_new_one(old in status(), new in status()) {
        let mut object = json!({"status": print_status(&old)});
        match status_patch(object.get("status"), &new) {
            Some(patch) => {
                json_patch::merge(&mut object, &patch);
                prop_assert_eq!(&object["status"], &print_status(&new));
            }
            None => prop_assert_eq!(&old, &new),
        }
    }

    #[test]
    fn any_object_is_a_run_that_ends_or_goes_on(
        odd in proptest::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
        second in any::<i32>(),
    ) {
        let mut object = whole_run();
        for (place, value) in odd {
            let mut places = vec![];
            walk(&object, String::new(), &mut places);
            if let Some(target) = object.pointer_mut(place.get::<String>(&places)) {
                *target = value;
            }
        }
        let run = parse_run(&object);
        let now = Timestamp::from_second(i64::from(second)).unwrap();
        let step = step(&run, &BTreeMap::new(), now, OutageMode::Hold);
        prop_assert!(step.phase().is_done() || run.deleting || !step.wants.is_empty() || step.wake.is_some());
        print_status(&step.status);
    }
}

#[test]
fn what_serin_does_not_know_in_a_status_is_left_alone() {
    let old = json!({"phase": "Running", "runSummary": {}, "newer": {"field": 1}});
    let new = RunStatus { phase: Phase::Done(Verdict::Failed), ..RunStatus::default() };
    assert_eq!(status_patch(Some(&old), &new), Some(json!({"status": {"phase": "Failed"}})));
    let first = json!({"status": {"phase": "Failed", "runSummary": {}}});
    assert_eq!(status_patch(None, &new), Some(first));
    assert_eq!(
        status_patch(Some(&json!({"phase": "Failed"})), &new).unwrap(),
        json!({"status": {"runSummary": {}}})
    );
}
