//! A real istiod, and an Envoy that asks it.
//!
//! Its flags and settings were each found necessary with an Envoy that is not Istio's own. Releases of Istio are no Go modules: what
//! can be built is the one commit that the module's pseudo-version names (`e2e/lab/istiod/go.mod`), with the released libraries of Istio
//! and of Envoy's API next to it.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use super::{GATEWAY, Held, TELEMETRY, translate};
use crate::{Fallible, process::Process};

/// Where it is asked whether it is ready.
pub(super) const READY: &str = "http://127.0.0.1:8080/ready";
/// The namespace that it takes for its own.
pub(super) const NAMESPACE: &str = "istio-system";
/// Where Envoy asks for its configuration.
const DISCOVERY: (&str, u16) = ("127.0.0.1", 15010);
/// Its metrics.
const MONITORING: &str = "127.0.0.1:15014";
/// What the Gateway selects Envoy by.
const LABEL: (&str, &str) = ("istio", "lab");

const ENVIRONMENT: [(&str, &str); 12] = [
    // The filters that these add are not in vanilla Envoy.
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
    ("INJECT_ENABLED", "false"),
    ("ENABLE_CA_SERVER", "false"),
    ("PILOT_CERT_PROVIDER", "none"),
    ("PILOT_ENABLE_GATEWAY_API", "false"),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("POD_NAME", "istiod-0"),
    ("POD_NAMESPACE", NAMESPACE),
    ("REVISION", "default"),
    ("CLUSTER_ID", "Kubernetes"),
];

/// Starts `program`; its mesh configuration and log are in `folder`.
///
/// # Errors
/// When a file cannot be written or the program cannot be started.
pub(crate) fn start(program: &Path, folder: &Path) -> Fallible<Process> {
    let mesh = json!({
        "enableAutoMtls": false,
        "enablePrometheusMerge": false,
        "accessLogFile": folder.join(translate::ACCESS_LOG),
        "accessLogFormat": translate::ACCESS_FORMAT,
    });
    // JSON is YAML.
    std::fs::write(folder.join("mesh.yaml"), serde_json::to_vec_pretty(&mesh)?)?;
    let environment = ENVIRONMENT.map(|(name, value)| (name, value.to_owned()));
    Process::start_with(folder, "istiod", program, &arguments(folder), &environment)
}

/// What its debounce has done so far, by its own metrics.
///
/// # Errors
/// When it does not answer, or does not count this.
pub(super) async fn held() -> Fallible<Held> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let page =
        http.get(format!("http://{MONITORING}/metrics")).send().await?.error_for_status()?.text().await?;
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok())
            .ok_or_else(|| format!("istiod does not count {name}"))
    };
    let total = Duration::try_from_secs_f64(value("pilot_debounce_time_sum")?)?;
    Ok(Held { pushes: format!("{:.0}", value("pilot_debounce_time_count")?).parse()?, total })
}

/// Its command line.
fn arguments(folder: &Path) -> Vec<String> {
    let (address, port) = DISCOVERY;
    [
        "discovery",
        "--kubeconfig",
        &folder.join("admin.kubeconfig").display().to_string(),
        "--meshConfig",
        &folder.join("mesh.yaml").display().to_string(),
        "-n",
        NAMESPACE,
        "--clusterID",
        "Kubernetes",
        "--grpcAddr",
        &format!("{address}:{port}"),
        "--httpAddr",
        "127.0.0.1:8080",
        "--httpsAddr",
        "",
        "--secureGRPCAddr",
        "",
        "--monitoringAddr",
        MONITORING,
        "--ctrlz_port",
        "0",
    ]
    .map(str::to_owned)
    .into()
}

/// The Gateway that takes the users' requests. The stand-in does not look at it.
pub(crate) fn gateway() -> Value {
    let (address, port) = translate::split(GATEWAY);
    json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "lab"}, "spec": {
        "selector": {LABEL.0: LABEL.1},
        // On its own address: each pod has port 8080 of another one.
        "servers": [{"port": {"number": port, "name": "http", "protocol": "HTTP"}, "bind": address, "hosts": ["*"]}]}})
}

/// An Envoy that asks istiod for everything.
pub(crate) fn bootstrap() -> Value {
    let (gateway, _) = translate::split(GATEWAY);
    let (admin, admin_port) = translate::split(TELEMETRY);
    let (address, port) = DISCOVERY;
    let source = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    // Istio's names of clusters have dots in them, so the default rules find the wrong tags.
    let tag = |name: &str, regex: &str| json!({"tag_name": name, "regex": regex});
    json!({
        "node": {
            "id": format!("router~{gateway}~lab-gateway.serin-system~serin-system.svc.cluster.local"),
            "cluster": "lab-gateway.serin-system",
            "metadata": {"NAMESPACE": "serin-system", "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.31.1",
                "LABELS": {LABEL.0: LABEL.1}},
        },
        "admin": {"address": translate::socket(admin, admin_port)},
        "stats_config": {"use_all_default_tags": false, "stats_tags": [
            tag("envoy.cluster_name", r"^cluster(\.(.+);)"),
            tag("envoy.response_code", r"_rq(_(\d{3}))$"),
            tag("envoy.response_code_class", r"_rq(_(\dxx))$"),
        ]},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "set_node_on_first_message_only": true, "grpc_services": [{"envoy_grpc": {"cluster_name": "istiod"}}]},
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": [{
            "name": "istiod",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "istiod", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": translate::socket(address, port)}}]}]},
        }]},
    })
}
