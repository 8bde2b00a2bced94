//! Templates become the spec of a run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::analysis::{Hashes, METRIC_POLICY, NewRun, Scope, TemplateError, flatten};

type Store = BTreeMap<(Scope, &'static str), Value>;

fn metric(name: &str) -> Value {
    json!({"name": name, "provider": {"prometheus": {"query": "up"}}})
}

fn template(metrics: &[&str], more: Value) -> Value {
    let metrics: Vec<Value> = metrics.iter().map(|name| metric(name)).collect();
    let mut template = json!({"spec": {"metrics": metrics}});
    json_patch::merge(&mut template, &more);
    template
}

fn made(analysis: Value, store: &Store) -> Result<NewRun, TemplateError> {
    let rollout = json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u-9",
            "labels": {"team": "a", "app.kubernetes.io/name": "web"},
        },
        "spec": {"replicas": 3, "huge": 1_000_000, "share": 0.25, "paused": false, "list": [{"x": "y"}], "none": null},
    });
    let hashes = Hashes { latest: "new", stable: "old" };
    let found = |scope: Scope, name: &str| {
        store.iter().find(|((s, n), _)| (*s, *n) == (scope, name)).map(|(_, template)| template)
    };
    flatten(&analysis, &rollout, hashes, found)
}

fn names(run: &NewRun, list: &str, key: &str) -> Vec<String> {
    let all = run.spec.get(list).and_then(Value::as_array).into_iter().flatten();
    all.map(|it| it[key].as_str().unwrap().to_owned()).collect()
}

fn error(analysis: Value, store: &Store) -> String {
    made(analysis, store).unwrap_err().to_string()
}

#[test]
fn nested_templates_count_once_and_cycles_end() {
    let nested = |metrics: &[&str], refs: Value| template(metrics, json!({"spec": {"templates": refs}}));
    let cluster = json!({"templateName": "wide", "clusterScope": true});
    let store = Store::from([
        ((Scope::Namespace, "a"), nested(&["a"], json!([cluster, {"templateName": "b"}]))),
        ((Scope::Namespace, "b"), nested(&["b"], json!([{"templateName": "a"}, {"templateName": "b"}]))),
        ((Scope::Namespace, "c"), nested(&["c"], json!([{"templateName": "b"}]))),
        ((Scope::Cluster, "wide"), nested(&["wide"], json!([{"templateName": "c"}]))),
    ]);
    let run = made(json!({"templates": [{"templateName": "a"}, {"templateName": "c"}]}), &store).unwrap();
    assert_eq!(names(&run, "metrics", "name"), ["a", "c", "b", "wide"]);
    assert_eq!(run.metric_policy, None);
}

#[test]
fn what_is_missing_or_doubled_is_told() {
    let store = Store::from([
        ((Scope::Namespace, "a"), template(&["m"], json!({"spec": {"dryRun": [{"metricName": "m"}]}}))),
        ((Scope::Namespace, "b"), template(&["m"], json!({}))),
        ((Scope::Namespace, "c"), template(&[], json!({"spec": {"templates": [{"templateName": "gone"}]}}))),
    ]);
    let refs = |names: &[&str]| names.iter().map(|name| json!({"templateName": name})).collect::<Vec<_>>();
    let templates = |names: &[&str]| json!({"templates": refs(names)});
    assert_eq!(error(templates(&["a", "b"]), &store), "two metrics have the same name 'm'");
    assert_eq!(error(templates(&["c"]), &store), "AnalysisTemplate 'gone' not found");
    let cluster = json!({"templates": [{"templateName": "x", "clusterScope": true}]});
    assert_eq!(error(cluster, &store), "ClusterAnalysisTemplate 'x' not found");
    let doubled = json!({"templates": refs(&["a"]), "dryRun": [{"metricName": "m"}]});
    assert_eq!(error(doubled, &store), "two Dry-Run metric rules have the same name 'm'");
    let rules = [json!({"metricName": "m", "limit": 1}), json!({"metricName": "m", "limit": 2})];
    let doubled = json!({"templates": refs(&["a"]), "measurementRetention": rules});
    assert_eq!(error(doubled, &store), "two Measurement Retention metric rules have the same name 'm'");
}

#[test]
fn the_callers_rules_come_first() {
    let rules = json!({"spec": {"dryRun": [{"metricName": "theirs"}]}});
    let store = Store::from([((Scope::Namespace, "a"), template(&["m"], rules))]);
    let analysis = json!({"templates": [{"templateName": "a"}], "dryRun": [{"metricName": "ours"}]});
    assert_eq!(names(&made(analysis, &store).unwrap(), "dryRun", "metricName"), ["ours", "theirs"]);
}

fn with_args(template_args: Value, args: Value) -> Result<Value, String> {
    let store =
        Store::from([((Scope::Namespace, "a"), template(&["m"], json!({"spec": {"args": template_args}})))]);
    let analysis = json!({"templates": [{"templateName": "a"}], "args": args});
    made(analysis, &store).map(|run| run.spec["args"].clone()).map_err(|error| error.to_string())
}

#[test]
fn the_rollouts_values_are_laid_over_the_templates() {
    let secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let theirs = json!([
        {"name": "kept", "value": "default"}, {"name": "set", "value": "default"}, {"name": "emptied", "value": "x"},
        {"name": "secret", "valueFrom": secret},
    ]);
    let ours =
        json!([{"name": "set", "value": "ours"}, {"name": "emptied"}, {"name": "unknown", "value": "x"}]);
    let merged = json!([
        {"name": "kept", "value": "default"}, {"name": "set", "value": "ours"}, {"name": "emptied", "value": ""},
        {"name": "secret", "valueFrom": secret},
    ]);
    assert_eq!(with_args(theirs, ours), Ok(merged));
    assert_eq!(with_args(json!([{"name": "a"}]), json!([])), Err("args.a was not resolved".to_owned()));
}

#[test]
fn one_argument_of_two_templates_needs_one_value() {
    let template = |args: Value| template(&[], json!({"spec": {"args": args}}));
    let analysis = json!({"templates": [{"templateName": "a"}, {"templateName": "b"}]});
    let store = |a: Value, b: Value| {
        Store::from([((Scope::Namespace, "a"), template(a)), ((Scope::Namespace, "b"), template(b))])
    };
    let different = store(json!([{"name": "x", "value": "1"}]), json!([{"name": "x", "value": "2"}]));
    assert_eq!(
        error(analysis.clone(), &different),
        "Argument `x` specified multiple times with different values: '1', '2'"
    );
    let later = store(json!([{"name": "x"}]), json!([{"name": "x", "value": "2"}]));
    assert_eq!(made(analysis.clone(), &later).unwrap().spec["args"], json!([{"name": "x", "value": "2"}]));
    let earlier = store(json!([{"name": "x", "value": "1"}]), json!([{"name": "x"}]));
    assert_eq!(made(analysis, &earlier).unwrap().spec["args"], json!([{"name": "x", "value": "1"}]));
}

fn resolved(source: Value) -> Result<String, String> {
    let args = with_args(json!([{"name": "a"}]), json!([{"name": "a", "valueFrom": source}]))?;
    Ok(args[0]["value"].as_str().unwrap().to_owned())
}

#[test]
fn arguments_come_from_hashes_and_fields_of_the_rollout() {
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let table = [
        (json!({"podTemplateHashValue": "Latest"}), "new"),
        (json!({"podTemplateHashValue": "Stable"}), "old"),
        (field("metadata.name"), "web"),
        (field("metadata.uid"), "u-9"),
        (field("metadata.labels['app.kubernetes.io/name']"), "web"),
        (field("metadata.annotations['none']"), ""),
        (field("metadata.labels"), "app.kubernetes.io/name=\"web\"\nteam=\"a\""),
        (field("spec.replicas"), "3"),
        (field("spec.huge"), "1e+06"),
        (field("spec.share"), "0.25"),
        (field("spec.paused"), "false"),
        (field("spec.list[0].x"), "y"),
        (field("spec..list.[0]x"), "y"),
    ];
    for (source, value) in table {
        assert_eq!(resolved(source.clone()), Ok(value.to_owned()), "{source}");
    }
    for (path, text) in [
        ("spec.list[x]", "invalid index 'x'"),
        ("spec.list[5]", "index 5 out of range"),
        ("spec.list[-1]", "index -1 out of range"),
        ("spec.replicas.x", "invalid path spec.replicas.x in rollout"),
        ("spec.none", "invalid path spec.none in rollout"),
        ("spec.absent", "invalid path spec.absent in rollout"),
        ("spec.list", "path spec.list in rollout must terminate in a primitive value"),
        ("metadata.generation", "unsupported fieldPath: metadata.generation"),
    ] {
        assert_eq!(resolved(field(path)), Err(text.to_owned()));
    }
}

#[test]
fn the_policies_of_all_templates_go_onto_the_run() {
    let annotated = |metrics: &[&str], policy: &str| {
        template(metrics, json!({"metadata": {"annotations": {METRIC_POLICY: policy}}}))
    };
    let store = |policy: &str| {
        Store::from([
            ((Scope::Namespace, "a"), annotated(&["m"], policy)),
            ((Scope::Namespace, "b"), annotated(&["n", "o"], "n: {onNoData: Ignore}")),
        ])
    };
    let analysis = json!({"templates": [{"templateName": "a"}, {"templateName": "b"}]});
    let run = made(analysis.clone(), &store("m: {onNoData: Inconclusive, noDataTimeout: 10m}")).unwrap();
    let policy: Value = serde_saphyr::from_str(&run.metric_policy.unwrap()).unwrap();
    assert_eq!(
        policy,
        json!({"m": {"onNoData": "Inconclusive", "noDataTimeout": "10m"}, "n": {"onNoData": "Ignore"}})
    );
    let foreign = error(analysis, &store("n: {}"));
    assert_eq!(foreign, format!("annotation {METRIC_POLICY}: n: there is no metric of this name"));
}

#[test]
fn any_json_as_a_template_or_analysis_is_an_answer() {
    for odd in
        [json!(null), json!([]), json!({"templates": 5}), json!({"templates": [5]}), json!({"args": [[]]})]
    {
        let store = Store::from([((Scope::Namespace, ""), json!({"spec": odd}))]);
        let _ = made(odd.clone(), &store);
        let _ = made(json!({"templates": [{}]}), &store);
    }
}
