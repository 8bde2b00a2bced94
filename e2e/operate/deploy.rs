//! What `deploy/` claims, read from its files. That a real API server takes them is the lab's part.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serin::telemetry::Metrics;

use crate::{documents, restricted, root};

const NAMESPACE: &str = "serin-system";
const ROLES: [&str; 2] = ["controller", "gitops"];

/// Every object that the kustomization names.
fn objects() -> Vec<Value> {
    let folder = root().join("deploy");
    let [kustomization] = documents(&folder.join("kustomization.yaml")).try_into().unwrap();
    let names = kustomization["resources"].as_array().unwrap().iter();
    names.flat_map(|name| documents(&folder.join(name.as_str().unwrap()))).collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    objects().into_iter().filter(|object| object["kind"] == kind).collect()
}

fn one(kind: &str, name: &str) -> Value {
    let found = of_kind(kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn labels(role: &str) -> Value {
    json!({"app.kubernetes.io/name": "serin", "app.kubernetes.io/component": role})
}

fn deployment(role: &str) -> (Value, Value) {
    let deployment = one("Deployment", &format!("serin-{role}"));
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
    let [container] = containers.try_into().unwrap();
    (deployment, container)
}

#[test]
fn every_file_of_the_folder_is_part_of_the_base_or_optional() {
    let folder = root().join("deploy");
    let [kustomization] = documents(&folder.join("kustomization.yaml")).try_into().unwrap();
    let named: BTreeSet<String> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    let there: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml")
        .collect();
    assert_eq!(there, named);
}

#[test]
fn everything_with_a_namespace_is_in_the_one_that_enforces_restricted_pods() {
    let namespace = one("Namespace", NAMESPACE);
    for mode in ["enforce", "warn", "audit"] {
        let label = format!("pod-security.kubernetes.io/{mode}");
        assert_eq!(namespace["metadata"]["labels"][&label], "restricted");
    }
    for object in objects() {
        let kind = object["kind"].as_str().unwrap();
        if !kind.starts_with("Cluster") && kind != "Namespace" {
            assert_eq!(object["metadata"]["namespace"], NAMESPACE, "{kind} {}", object["metadata"]["name"]);
        }
    }
}

#[test]
fn the_pods_keep_the_restricted_standard_and_write_nowhere_but_a_bounded_folder() {
    assert_eq!(of_kind("Deployment").len(), ROLES.len());
    for role in ROLES {
        let (deployment, container) = deployment(role);
        let pod = &deployment["spec"]["template"];
        assert_eq!(restricted::broken(pod), Vec::<String>::new(), "{role}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        for volume in volumes {
            assert!(volume["emptyDir"]["sizeLimit"].is_string(), "{role}: {volume}");
        }
        assert_eq!(container["volumeMounts"], json!([{"name": "tmp", "mountPath": "/tmp"}]));
        for (part, what) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
            assert!(container["resources"][part][what].is_string(), "{role}: {part}.{what}");
        }
    }
}

#[test]
fn probes_ask_what_serin_answers() {
    for role in ROLES {
        let (deployment, container) = deployment(role);
        let ports = container["ports"].as_array().unwrap();
        let port =
            |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone();
        // The defaults of the flags, which no argument changes.
        assert_eq!((port("health"), port("metrics")), (json!(8080), json!(8090)));
        assert_eq!(container["args"], json!([role]));
        let asks = |probe: &str| {
            (container[probe]["httpGet"]["path"].clone(), container[probe]["httpGet"]["port"].clone())
        };
        assert_eq!(asks("startupProbe"), (json!("/healthz"), json!("health")));
        assert_eq!(asks("livenessProbe"), (json!("/healthz"), json!("health")));
        assert_eq!(asks("readinessProbe"), (json!("/readyz"), json!("health")));
        let grace = &deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        assert!(grace.as_u64().unwrap() >= 20, "running passes end, and the Lease is given back");
    }
}

#[test]
fn selectors_select_their_own_role() {
    for role in ROLES {
        let (deployment, _) = deployment(role);
        assert_eq!(deployment["spec"]["replicas"], 2);
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels(role));
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], labels(role));
        assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], format!("serin-{role}"));
        one("ServiceAccount", &format!("serin-{role}"));
        let budget = one("PodDisruptionBudget", &format!("serin-{role}"));
        assert_eq!(budget["spec"]["selector"]["matchLabels"], labels(role));
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        let service = one("Service", &format!("serin-{role}-metrics"));
        assert_eq!(service["spec"]["selector"], labels(role));
    }
}

/// Ports, by direction, that a pod with these labels may use: what all policies that select it allow together.
fn open_ports(role: &str, direction: &str) -> BTreeSet<(u64, bool)> {
    let labels = labels(role);
    let policies = of_kind("NetworkPolicy");
    let selects = |policy: &&Value| {
        let wanted = policy["spec"]["podSelector"]["matchLabels"].as_object().cloned().unwrap_or_default();
        wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let mut open = BTreeSet::new();
    for policy in policies.iter().filter(selects) {
        for rule in policy["spec"][direction].as_array().into_iter().flatten() {
            let peers = rule[if direction == "egress" { "to" } else { "from" }].as_array();
            for port in rule["ports"].as_array().expect("a rule without ports opens all of them") {
                open.insert((port["port"].as_u64().unwrap(), peers.is_some()));
            }
        }
    }
    open
}

#[test]
fn the_network_is_closed_but_for_what_each_role_needs() {
    let deny = one("NetworkPolicy", "default-deny");
    assert_eq!(deny["spec"], json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let scrape = BTreeSet::from([(8090, true)]);
    assert_eq!(open_ports("controller", "ingress"), scrape);
    assert_eq!(open_ports("gitops", "ingress"), scrape);
    // True: only to pods of the cluster. False: to any address.
    let controller = BTreeSet::from([(53, true), (443, false), (6443, false), (9090, true)]);
    assert_eq!(open_ports("controller", "egress"), controller);
    let gitops = BTreeSet::from([(22, false), (53, true), (443, false), (6443, false)]);
    assert_eq!(open_ports("gitops", "egress"), gitops);
}

#[test]
fn the_monitor_finds_the_services_and_keeps_serins_labels() {
    let [monitor] =
        documents(&root().join("deploy/optional/monitoring/service-monitor.yaml")).try_into().unwrap();
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap().clone();
    let services = of_kind("Service");
    assert_eq!(services.len(), ROLES.len());
    let [endpoint] = monitor["spec"]["endpoints"].as_array().unwrap().clone().try_into().unwrap();
    for service in services {
        assert!(wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value));
        assert!(
            service["spec"]["ports"].as_array().unwrap().iter().any(|port| port["name"] == endpoint["port"])
        );
    }
    assert_eq!(endpoint["honorLabels"], true);
    assert_eq!(endpoint["path"], "/metrics");
    assert_eq!(monitor["spec"]["namespaceSelector"]["matchNames"], json!([NAMESPACE]));
}

/// A rule that asks for a number nobody counts would never fire.
#[test]
fn every_number_that_a_rule_asks_for_is_on_a_page() {
    let pages =
        ["controller", "gitops"].map(|role| Metrics::of_role("test", role).render(Default::default()));
    let known: BTreeSet<String> = pages
        .iter()
        .flat_map(|page| page.lines())
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    let rules = std::fs::read_to_string(crate::rules_file()).unwrap();
    let name = regex::Regex::new(r"\b(?:serin|rollout|controller|notification|analysis)_[a-z0-9_]+").unwrap();
    let mut asked = BTreeSet::new();
    for line in
        rules.lines().filter(|line| line.contains("expr:") || line.trim_start().starts_with(['s', '/']))
    {
        asked.extend(name.find_iter(line).map(|found| found.as_str().trim_end_matches("_bucket").to_owned()));
    }
    assert!(asked.len() >= 10, "{asked:?}");
    assert_eq!(asked.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}
