//! From VirtualServices to Envoy's own configuration, as far as the journeys' VirtualServices go: hosts, matches, weights, mirrors, timeouts.

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use serde_json::{Value, json};

use super::{GATEWAY, TELEMETRY};

/// Where Envoy writes what it answered.
pub(super) const ACCESS_LOG: &str = "envoy-access.log";

/// In which form.
pub(super) const ACCESS_FORMAT: &str =
    "%START_TIME% %REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_HOST%\n";

/// The resources of one push.
pub(super) struct Config {
    pub(super) clusters: Vec<Value>,
    /// By the name of the cluster's own file: Envoy takes one service's endpoints from one file.
    pub(super) endpoints: Vec<(String, Value)>,
    pub(super) routes: Vec<Value>,
}

/// Everything that the VirtualServices say; `ready` gives the endpoints of a service.
pub(super) fn config<'a>(
    folder: &Path,
    services: impl Iterator<Item = (&'a (String, String), &'a Value)>,
    ready: impl Fn(&str, &str) -> Vec<SocketAddr>,
) -> Config {
    let mut used = BTreeSet::new();
    let mut hosts = vec![];
    for ((namespace, name), service) in services {
        let domains: Vec<&str> = list(service, "/spec/hosts").iter().filter_map(Value::as_str).collect();
        let routes: Vec<Value> =
            list(service, "/spec/http").iter().flat_map(|http| routes(http, namespace, &mut used)).collect();
        hosts.push(json!({"name": format!("{namespace}/{name}"), "domains": domains, "routes": routes}));
    }
    let endpoints = used.iter().map(|(namespace, service)| {
        let one = |address: &SocketAddr| {
            json!({"endpoint": {"address": socket(&address.ip().to_string(), address.port())}})
        };
        let all: Vec<Value> = ready(namespace, service).iter().map(one).collect();
        let assignment = json!({"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": cluster(namespace, service), "endpoints": [{"lb_endpoints": all}]});
        (endpoints_file(namespace, service), assignment)
    });
    let whole = |(namespace, service): &(String, String)| {
        cluster_of(&cluster(namespace, service), &file(folder, &endpoints_file(namespace, service)))
    };
    Config {
        endpoints: endpoints.collect(),
        clusters: used.iter().map(whole).collect(),
        routes: vec![
            json!({"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "shops",
            "virtual_hosts": hosts}),
        ],
    }
}

/// The Envoy that reads `folder`.
pub(super) fn bootstrap(folder: &Path) -> Value {
    let (gateway, port) = split(GATEWAY);
    let (admin, admin_port) = split(TELEMETRY);
    let log = json!({"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": folder.join(ACCESS_LOG),
        "log_format": {"text_format_source": {"inline_string": ACCESS_FORMAT}}}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {"route_config_name": "shops", "config_source": file(folder, "rds.json")},
        "access_log": [log],
        "http_filters": [{"name": "router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({
        "node": {"id": "gateway", "cluster": "lab"},
        "admin": {"address": socket(admin, admin_port)},
        "dynamic_resources": {"cds_config": file(folder, "cds.json")},
        "static_resources": {"listeners": [{"name": "gateway", "address": socket(gateway, port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}]},
    })
}

/// Where Envoy reads a kind of resources.
fn file(folder: &Path, name: &str) -> Value {
    json!({"path_config_source": {"path": folder.join(name)}, "resource_api_version": "V3"})
}

/// Address and port of a URL of this file's own.
pub(super) fn split(url: &str) -> (&str, u16) {
    let (address, port) = url.trim_start_matches("http://").split_once(':').unwrap_or_default();
    (address, port.parse().unwrap_or_default())
}

pub(super) fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

/// A name without dots, which Envoy's statistics take for separators.
fn cluster(namespace: &str, service: &str) -> String {
    format!("{service}|{namespace}")
}

fn endpoints_file(namespace: &str, service: &str) -> String {
    format!("endpoints-{service}.{namespace}.json")
}

fn cluster_of(name: &str, eds: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": eds},
        "connect_timeout": "10s",
        // A host that is not ready is not asked, however few are left; the limits are as wide as Istio's.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [{"max_connections": 1_000_000, "max_pending_requests": 1_000_000,
            "max_requests": 1_000_000, "max_retries": 1_000_000}]},
    })
}

/// One http entry: a route for each of its matches.
fn routes(http: &Value, namespace: &str, used: &mut BTreeSet<(String, String)>) -> Vec<Value> {
    let mut to = |destination: &Value| {
        let host = destination.get("host").and_then(Value::as_str).unwrap_or_default();
        let (service, rest) = host.split_once('.').unwrap_or((host, namespace));
        let namespace = rest.split('.').next().unwrap_or(namespace);
        used.insert((namespace.to_owned(), service.to_owned()));
        cluster(namespace, service)
    };
    let weight = |entry: &Value| entry.get("weight").and_then(Value::as_u64);
    let entries = list(http, "/route");
    let destination = |entry: &Value| entry.get("destination").cloned().unwrap_or_default();
    let mut action = match entries {
        [only] => json!({"cluster": to(&destination(only))}),
        // As in istiod, what has no weight gets nothing and is not even there.
        many => {
            let weighted: Vec<Value> = many
                .iter()
                .map(|entry| (to(&destination(entry)), weight(entry).unwrap_or_default()))
                .filter(|(_, weight)| *weight > 0)
                .map(|(name, weight)| json!({"name": name, "weight": weight}))
                .collect();
            json!({"weighted_clusters": {"clusters": weighted}})
        }
    };
    if let Some(mirror) = http.get("mirror") {
        let percent = http.pointer("/mirrorPercentage/value").and_then(Value::as_f64).unwrap_or(100.0);
        action["request_mirror_policies"] = json!([{"cluster": to(mirror), "runtime_fraction":
            {"default_value": {"numerator": parts_of_a_million(percent), "denominator": "MILLION"}}}]);
    }
    action["timeout"] = http.get("timeout").cloned().unwrap_or_else(|| "0s".into());
    let matches = list(http, "/match");
    let all = if matches.is_empty() {
        vec![json!({"prefix": "/"})]
    } else {
        matches.iter().map(matching).collect()
    };
    let name = http.get("name").cloned().unwrap_or_else(|| "".into());
    all.into_iter().map(|matching| json!({"name": name, "match": matching, "route": action})).collect()
}

/// `percent` is 0..=100; the cast of a value in range loses less than Envoy can tell.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=1,000,000 before"
)]
fn parts_of_a_million(percent: f64) -> u32 {
    (percent * 10_000.0).clamp(0.0, 1_000_000.0) as u32
}

fn matching(from: &Value) -> Value {
    let mut to = text_match(from.get("uri"), |kind, text| match kind {
        "exact" => json!({"path": text}),
        "regex" => json!({"safe_regex": {"regex": text}}),
        _ => json!({"prefix": text}),
    })
    .unwrap_or_else(|| json!({"prefix": "/"}));
    let mut headers = vec![];
    let fields = from.get("headers").and_then(Value::as_object).into_iter().flatten();
    let method = from.get("method").map(|method| (":method".to_owned(), method.clone()));
    for (name, condition) in fields.map(|(name, condition)| (name.clone(), condition.clone())).chain(method) {
        let string = text_match(Some(&condition), |kind, text| match kind {
            "exact" => json!({"exact": text}),
            "regex" => json!({"safe_regex": {"regex": text}}),
            _ => json!({"prefix": text}),
        });
        headers.push(match string {
            Some(string) => json!({"name": name, "string_match": string}),
            None => json!({"name": name, "present_match": true}),
        });
    }
    to["headers"] = headers.into();
    to
}

/// Istio's `{exact | prefix | regex: text}`.
fn text_match(from: Option<&Value>, build: impl Fn(&str, &str) -> Value) -> Option<Value> {
    let (kind, text) = from?.as_object()?.iter().next()?;
    Some(build(kind, text.as_str()?))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
