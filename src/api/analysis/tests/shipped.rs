//! Every file under `analysis-templates/` parses, renders and can be run.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    api::analysis::{Hashes, METRIC_POLICY, flatten, parse_run},
    decide::analysis::{NoData, OnNoData},
};

fn shipped() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("analysis-templates");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let file = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_saphyr::from_str(&text).unwrap())
    };
    files.iter().map(file).collect()
}

/// A run made from `template` as a rollout would: each argument without a value of its own is given one.
fn made_from(name: &str, template: &Value) -> Value {
    let needed = template["spec"]["args"].as_array().unwrap().iter().filter(|it| it.get("value").is_none());
    let given: Vec<Value> =
        needed.map(|it| json!({"name": it["name"], "value": "given-by-the-rollout"})).collect();
    let analysis = json!({"templates": [{"templateName": name}], "args": given});
    let hashes = Hashes { latest: "new", stable: "old" };
    let made =
        flatten(&analysis, &json!({}), hashes, |_, wanted| (wanted == name).then_some(template)).unwrap();
    json!({"metadata": {"annotations": {METRIC_POLICY: made.metric_policy}}, "spec": made.spec})
}

#[test]
fn every_shipped_template_can_be_run() {
    let all = shipped();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error-rate", "success-rate"]);
    for (name, template) in &all {
        assert_eq!(template["metadata"]["name"], json!(name));
        let metrics = parse_run(&made_from(name, template)).metrics.unwrap();
        for metric in metrics {
            let query = metric.query.unwrap().promql.masked();
            assert!(query.contains("given-by-the-rollout") && !query.contains("{{"), "{query}");
            assert_eq!(query.matches('(').count(), query.matches(')').count());
            assert!(metric.success.unwrap().parsed.is_ok());
            let pause = metric.no_data.map(|NoData { outcome, .. }| outcome);
            assert_eq!(pause, Some(OnNoData::Inconclusive), "{name}");
        }
    }
}

#[test]
fn the_shipped_error_rate_is_the_storys() {
    let all = shipped();
    let (name, template) = &all[0];
    let metrics = parse_run(&made_from(name, template)).metrics.unwrap();
    let [metric] = metrics.as_slice() else { panic!("one metric") };
    assert_eq!((metric.interval.unwrap().as_secs(), metric.failure_limit, metric.count), (60, 3, None));
    assert_eq!(metric.success.as_ref().unwrap().text, "result < 0.05");
    assert!(metric.query.as_ref().unwrap().promql.masked().starts_with("scalar("));
}
