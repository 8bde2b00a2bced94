//! The rules are Prometheus's own, complete, and the same for the operator.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use crate::{alerts::FIRED, documents, root, rules_file};

fn rules() -> Vec<Value> {
    let [file] = documents(&rules_file()).try_into().unwrap();
    file["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn prometheuss_own_checker_takes_the_rules() {
    let checked = Command::new("promtool").args(["check", "rules"]).arg(rules_file()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_operators_object_holds_the_same_groups() {
    let [plain] = documents(&rules_file()).try_into().unwrap();
    let [object] =
        documents(&root().join("deploy/optional/monitoring/prometheus-rule.yaml")).try_into().unwrap();
    assert_eq!(object["kind"], "PrometheusRule");
    assert_eq!(object["spec"], plain);
}

#[test]
fn each_alert_says_what_it_means_where_to_look_and_what_to_do() {
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Serin"), "{name}");
        for annotation in ["summary", "look", "do"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 40, "{name}: {annotation}: {text:?}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
    }
}

#[test]
fn each_alert_is_one_that_the_test_makes_fire() {
    let names: BTreeSet<String> =
        rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, FIRED.iter().map(|name| (*name).to_owned()).collect());
}
