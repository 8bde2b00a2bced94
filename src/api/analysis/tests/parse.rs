//! Specs: the reference's checks in its order, arguments, secrets, providers, policies.

use serde_json::{Value, json};

use crate::{
    api::analysis::{METRIC_POLICY, parse_run},
    decide::analysis::{Metric, NoData, OnNoData, Part, Query, SecretRef, SpecError, Text},
};

fn metric(more: Value) -> Value {
    let mut metric = json!({"name": "m", "provider": {"prometheus": {"query": "up"}}});
    json_patch::merge(&mut metric, &more);
    metric
}

fn metrics(spec: Value) -> Result<Vec<Metric>, SpecError> {
    parse_run(&json!({"spec": spec})).metrics
}

fn one(more: Value) -> Result<Metric, SpecError> {
    metrics(json!({"metrics": [metric(more)]})).map(|mut all| all.remove(0))
}

fn query(prometheus: Value, args: Value) -> Query {
    let metric = json!({"name": "m", "provider": {"prometheus": prometheus}});
    metrics(json!({"args": args, "metrics": [metric]})).unwrap().remove(0).query.unwrap()
}

#[test]
fn the_checks_come_in_the_references_order_with_its_texts() {
    let table = [
        (json!({"consecutiveSuccessLimit": -1, "failureLimit": -2}), "consecutiveSuccessLimit must be >= 0"),
        (
            json!({"failureLimit": -2, "inconclusiveLimit": -1}),
            "failureLimit must be >= 0, or -1 to be disabled",
        ),
        (json!({"failureLimit": -1}), "failureLimit and consecutiveSuccessLimit cannot both be disabled"),
        (json!({"inconclusiveLimit": -1, "consecutiveErrorLimit": -1}), "inconclusiveLimit must be >= 0"),
        (json!({"consecutiveErrorLimit": "-1"}), "consecutiveErrorLimit must be >= 0"),
        (
            json!({"count": 2, "failureLimit": 2, "consecutiveSuccessLimit": 1}),
            "count (2) must be >= failureLimit + consecutiveSuccessLimit (2 + 1) if both >= 0",
        ),
        (
            json!({"count": 2, "failureLimit": -1, "consecutiveSuccessLimit": 3}),
            "count must be >= consecutiveSuccessLimit",
        ),
        (json!({"count": 1, "inconclusiveLimit": 2}), "count must be >= inconclusiveLimit"),
        (json!({"count": "2"}), "interval must be specified when count > 1"),
        (
            json!({"interval": "60s-typo", "initialDelay": "x"}),
            "invalid interval string: time: unknown unit \"s-typo\" in duration \"60s-typo\"",
        ),
        (json!({"initialDelay": "5"}), "invalid startDelay string: time: missing unit in duration \"5\""),
        (json!({"provider": null}), "no provider specified"),
        (json!({"provider": {"web": {"url": "x"}}}), "multiple providers specified"),
        (
            json!({"provider": {"prometheus": null, "plugin": {"a": 1, "b": 2}}}),
            "multiple providers specified",
        ),
        (
            json!({"provider": {"prometheus": null, "job": {"spec": {}}}}),
            "provider \"job\" is not supported yet, only prometheus is",
        ),
        (
            json!({"provider": {"prometheus": {"authentication": {"oauth2": {"tokenUrl": "https://t"}}}}}),
            "provider.prometheus.authentication.oauth2 is not supported yet",
        ),
    ];
    for (more, text) in table {
        let error = SpecError::Invalid(format!("metrics[0]: {text}"));
        assert_eq!(one(more).map(|metric| metric.name), Err(error));
    }
    let twice = metrics(json!({"metrics": [metric(json!({})), metric(json!({}))]}));
    assert_eq!(
        twice.map(|all| all.len()),
        Err(SpecError::Invalid("metrics[1]: duplicate name 'm'".to_owned()))
    );
    let none = SpecError::Invalid("no metrics specified".to_owned());
    assert_eq!(metrics(json!({})).map(|all| all.len()), Err(none));
}

#[test]
fn a_field_of_another_type_is_told_and_not_dropped() {
    let table = [
        (json!({"successCondition": 5}), "metrics[0].successCondition must be a string"),
        (json!({"interval": 60}), "metrics[0].interval must be a string"),
        (json!({"failureLimit": 1.5}), "metrics[0].failureLimit must be a whole number"),
    ];
    for (more, text) in table {
        assert_eq!(one(more).map(|metric| metric.name), Err(SpecError::Invalid(text.to_owned())));
    }
}

#[test]
fn the_effective_count_follows_the_interval() {
    let table = [
        (json!({}), Some(1)),
        (json!({"count": 0}), Some(1)),
        (json!({"count": "many"}), Some(1)),
        (json!({"interval": "5m"}), None),
        (json!({"interval": "5m", "count": "3"}), Some(3)),
        (json!({"interval": "5m", "count": -3}), Some(-3)),
    ];
    for (more, count) in table {
        assert_eq!(one(more.clone()).unwrap().count, count, "{more}");
    }
    let plain = one(json!({})).unwrap();
    assert_eq!((plain.failure_limit, plain.inconclusive_limit, plain.consecutive_error_limit), (0, 0, 4));
}

#[test]
fn arguments_are_filled_in_everywhere_and_looked_at_once() {
    let args = json!([
        {"name": "limit", "value": "0.05"}, {"name": "n", "value": "3"}, {"name": "odd", "value": "a\"b\\{{args.n}}"},
    ]);
    let templated = json!({
        "name": "rate-{{ args.n }}", "interval": "{{args.n}}m", "count": "{{args.n}}",
        "successCondition": "result < {{args.limit}}",
        "provider": {"prometheus": {"query": "x{a=\"{{args.odd}}\"}"}},
    });
    let metric = metrics(json!({"args": args, "metrics": [templated]})).unwrap().remove(0);
    assert_eq!((metric.name.as_str(), metric.count), ("rate-3", Some(3)));
    assert_eq!(metric.interval.unwrap().as_secs(), 180);
    assert_eq!(metric.success.unwrap().text, "result < 0.05");
    assert_eq!(metric.query.unwrap().promql, Text::plain("x{a=\"a\"b\\{{args.n}}\"}"));
}

#[test]
fn an_argument_without_a_value_or_a_tag_without_an_argument_is_an_error() {
    let with = |args: Value, query: &str| {
        let metric = json!({"name": "m", "provider": {"prometheus": {"query": query}}});
        metrics(json!({"args": args, "metrics": [metric]})).map(|all| all.len()).unwrap_err().to_string()
    };
    let prefix = "Unable to resolve metric arguments: ";
    let unset = json!([{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    assert_eq!(with(unset, "up"), format!("{prefix}argument \"a\" was not supplied"));
    assert_eq!(with(json!([]), "{{ args.x }} {{y}}"), format!("{prefix}failed to resolve {{{{y}}}}"));
    let open =
        format!("{prefix}Cannot find end tag=\"}}}}\" in the template=\"up {{{{x\" starting from \"x\"");
    assert_eq!(with(json!([]), "up {{x"), open);
}

#[test]
fn secrets_stay_references_and_show_as_stars() {
    let secret = |name: &str| {
        let reference = json!({"name": "prom", "key": name});
        json!({"name": name, "value": "ignored", "valueFrom": {"secretKeyRef": reference}})
    };
    let prometheus = json!({
        "address": "https://prom.example/", "query": "up{t=\"{{args.token}}\"}", "insecure": true, "timeout": 5,
        "headers": [{"key": "Authorization", "value": "Bearer {{args.token}}"}],
        "authentication": {"basicAuth": {"username": "me", "password": "{{args.password}}"}},
    });
    let query = query(prometheus, json!([secret("token"), secret("password")]));
    let token = SecretRef { name: "prom".to_owned(), key: "token".to_owned() };
    assert_eq!(query.promql.masked(), "up{t=\"*****\"}");
    let bearer = Text(vec![Part::Plain("Bearer ".to_owned()), Part::Secret(token)]);
    assert_eq!(query.headers, [("Authorization".to_owned(), bearer)]);
    let keys: Vec<&str> = query.secrets().map(|secret| secret.key.as_str()).collect();
    assert_eq!(keys, ["token", "token", "password"]);
    assert_eq!(query.address, Some(Text::plain("https://prom.example")));
    assert_eq!((query.insecure, query.timeout.as_secs()), (true, 5));
}

#[test]
fn a_value_that_looks_like_a_secrets_mark_is_only_text() {
    let forged = "\u{e000}0\u{e000}";
    let args = json!([
        {"name": "forged", "value": forged},
        {"name": "s", "valueFrom": {"secretKeyRef": {"name": "prom", "key": "k"}}},
    ]);
    let query = query(json!({"query": "{{args.forged}}"}), args);
    assert_eq!(query.promql, Text::plain(forged));
}

#[test]
fn a_secret_in_a_condition_is_refused() {
    let args = json!([{"name": "s", "valueFrom": {"secretKeyRef": {"name": "prom", "key": "k"}}}]);
    let spec = json!({"args": args, "metrics": [metric(json!({"successCondition": "result < {{args.s}}"}))]});
    let text = "metrics[0].successCondition uses a secret argument, which is not supported";
    assert_eq!(metrics(spec).map(|all| all.len()), Err(SpecError::Invalid(text.to_owned())));
}

#[test]
fn a_provider_that_cannot_be_asked_makes_error_measurements_and_no_bad_spec() {
    let table = [
        (json!({"address": "prom:9090"}), "prometheus address is not is url format"),
        (
            json!({"rangeQuery": {"start": "now()", "end": "now()", "step": "x"}}),
            "failed to parse rangeQuery.step as duration: time: invalid duration \"x\"",
        ),
        (json!({"timeout": 0}), "prometheus timeout of 0 leaves no time for an answer"),
        (json!({"timeout": -1}), "prometheus timeout should not be negative"),
        (
            json!({"authentication": {"basicAuth": {"username": "me"}}}),
            "missing mandatory parameter in metric for basic auth setup: password",
        ),
    ];
    for (prometheus, text) in table {
        let metric = one(json!({"provider": {"prometheus": prometheus}})).unwrap();
        assert_eq!(metric.query, Err(text.to_owned()));
    }
}

#[test]
fn a_range_query_keeps_its_bounds_as_text() {
    let range = json!({"start": "now() - duration(\"{{args.back}}\")", "end": "now()", "step": "1m"});
    let query = query(json!({"query": "up", "rangeQuery": range}), json!([{"name": "back", "value": "1h"}]));
    let range = query.range.unwrap();
    assert_eq!((range.start.as_str(), range.end.as_str()), ("now() - duration(\"1h\")", "now()"));
    assert_eq!(range.step.as_secs(), 60);
}

#[test]
fn rules_match_anywhere_in_a_name_and_a_rule_without_a_match_is_an_error() {
    let spec = |dry: &str, kept: Value| {
        let named = |name: &str| metric(json!({"name": name}));
        metrics(json!({
            "metrics": [named("error-rate"), named("latency")],
            "dryRun": [{"metricName": dry}], "measurementRetention": kept,
        }))
    };
    let kept = json!([{"metricName": ".*", "limit": 5}, {"metricName": "^lat", "limit": 100_000}]);
    let both = spec("rat", kept).unwrap();
    assert_eq!([both[0].dry_run, both[1].dry_run], [true, false]);
    assert_eq!([both[0].retention, both[1].retention], [5, 200]);
    for rule in ["nothing", "*", "("] {
        let error = SpecError::Invalid("dryRun[0]: Rule didn't match any metric name(s)".to_owned());
        assert_eq!(spec(rule, json!([])).map(|all| all.len()), Err(error));
    }
    let error =
        SpecError::Invalid("measurementRetention[0]: Rule didn't match any metric name(s)".to_owned());
    assert_eq!(spec(".", json!([{"metricName": "x", "limit": 1}])).map(|all| all.len()), Err(error));
    assert_eq!(spec(".", json!([{"metricName": ".", "limit": 0}])).unwrap()[0].retention, 10);
}

#[test]
fn the_policy_of_a_run_is_read_and_anything_unknown_in_it_is_an_error() {
    let with = |policy: &str| {
        let object = json!({
            "metadata": {"annotations": {METRIC_POLICY: policy}},
            "spec": {"metrics": [metric(json!({}))]},
        });
        parse_run(&object).metrics.map(|mut all| all.remove(0).no_data).map_err(|error| error.to_string())
    };
    let five = jiff::SignedDuration::from_mins(5);
    assert_eq!(with(""), Ok(None));
    let policy = NoData { outcome: OnNoData::Ignore, timeout: Some(five) };
    assert_eq!(with("m: {onNoData: Ignore, noDataTimeout: 5m}"), Ok(Some(policy)));
    assert_eq!(with("m: {}"), Ok(Some(NoData { outcome: OnNoData::Error, timeout: None })));
    for (text, part) in [
        ("m: {onNodata: Ignore}", "onNodata"),
        ("m: {onNoData: Pause}", "Pause"),
        ("other: {}", "other: there is no metric of this name"),
        ("m: {noDataTimeout: 1d}", "m.noDataTimeout: time: unknown unit \"d\" in duration \"1d\""),
        ("m: {noDataTimeout: -1s}", "m.noDataTimeout must not be negative"),
        ("m: {minRequests: {query: up, count: 5}}", "m.minRequests is not supported yet"),
        ("m: [", METRIC_POLICY),
    ] {
        let error = with(text).unwrap_err();
        assert!(error.starts_with("Analysis spec invalid: ") && error.contains(part), "{error}");
    }
}
