//! Traces of the real program, taken by a receiver that reads OTLP as a collector does; and the same program with the
//! collector away, slow or refusing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::Span,
};
use prost::Message;
use serde_json::json;
use serin::clock::Clock;

use crate::{
    cluster::{CONTROLLER_LEASE, Cluster},
    process::Process,
    prometheus::{free_port, within},
};

/// What a collector took.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(String, Span)>>>);

impl Receiver {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    /// Spans of this name, with the service that made them.
    fn named(&self, name: &str) -> Vec<(String, Span)> {
        self.0.lock().unwrap().iter().filter(|(_, span)| span.name == name).cloned().collect()
    }
}

async fn take(
    State(receiver): State<Receiver>,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, vec![]);
    };
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = attributes.iter().find(|one| one.key == "service.name").map(text).unwrap_or_default();
        for scope in resource.scope_spans {
            let spans = scope.spans.into_iter().map(|span| (service.clone(), span));
            receiver.0.lock().unwrap().extend(spans);
        }
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn text(attribute: &opentelemetry_proto::tonic::common::v1::KeyValue) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    span.attributes.iter().map(|one| (one.key.clone(), text(one))).collect()
}

fn controller(folder: &std::path::Path, cluster: &Cluster, endpoint: &str) -> (Process, u16) {
    let (metrics, health) = (free_port(), free_port());
    let arguments = [
        "controller".to_owned(),
        format!("--kubeconfig={}", cluster.kubeconfig.display()),
        format!("--metricsPort={metrics}"),
        format!("--healthzPort={health}"),
        "--traffic-delay=1s".to_owned(),
        format!("--otlp-endpoint={endpoint}"),
    ];
    (Process::start(folder, "controller", env!("CARGO_BIN_EXE_serin"), &arguments), metrics)
}

/// A sample of the page of `/metrics`.
async fn number(port: u16, line: &str) -> Option<f64> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client.get(format!("http://127.0.0.1:{port}/metrics")).send().await.ok()?.text().await.ok()?;
    page.lines().find_map(|have| have.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_passes_with_their_parts_and_requests_below_them() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let receiver = Receiver::default();
    let endpoint = receiver.start().await;
    let (mut process, port) = controller(folder.path(), &cluster, &endpoint);
    cluster.shop("traced", &format!("http://127.0.0.1:{}", free_port()), &json!({}));
    cluster.until("traced", "is healthy", |rollout| rollout["status"]["phase"] == "Healthy").await;
    cluster.upgrade("traced").await;
    cluster.carries("traced", 20).await;
    within(Duration::from_secs(30), "a sample was traced", async || {
        if receiver.named("sample").is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
    })
    .await;
    assert_ne!(cluster.holder(CONTROLLER_LEASE), "");
    assert_eq!(process.terminate().await, Some(0), "{}", process.log());
    assert_eq!(cluster.holder(CONTROLLER_LEASE), "", "the Lease was given back");
    let passes = receiver.named("pass");
    assert!(passes.iter().all(|(service, _)| service == "serin-controller"));
    let of_shop = |span: &Span| attributes(span).get("rollout.name").is_some_and(|name| name == "traced");
    assert!(passes.iter().any(|(_, span)| of_shop(span)), "{passes:#?}");
    for part in ["observe", "decide", "apply"] {
        for (_, span) in receiver.named(part) {
            let parent = passes.iter().find(|(_, pass)| pass.span_id == span.parent_span_id);
            let (_, pass) = parent.unwrap_or_else(|| panic!("{part} is in no pass: {span:#?}"));
            assert_eq!(pass.trace_id, span.trace_id);
            assert!(span.start_time_unix_nano >= pass.start_time_unix_nano);
        }
        assert!(!receiver.named(part).is_empty(), "{part}");
    }
    let applies = receiver.named("apply");
    let requests = receiver.named("request");
    let patched = requests.iter().find(|(_, span)| {
        let said = attributes(span);
        said.get("k8s.verb").is_some_and(|verb| verb == "Patch")
            && said.get("k8s.resource").is_some_and(|kind| kind == "virtualservices")
    });
    let (_, patched) = patched.expect("the weight was raised");
    assert!(applies.iter().any(|(_, apply)| apply.span_id == patched.parent_span_id));
    assert_eq!(attributes(patched)["http.response.status_code"], "200");
    let exported = receiver.0.lock().unwrap().len();
    assert!(exported > 20, "{exported}");
    assert_eq!(number(port, "nothing").await, None, "the process has ended");
    // Addresses and queries may hold secrets.
    let said: Vec<String> =
        receiver.0.lock().unwrap().iter().flat_map(|(_, span)| attributes(span).into_values()).collect();
    assert!(said.iter().all(|value| !value.contains("127.0.0.1") && !value.contains("errors{")), "{said:?}");
    println!("traces: {exported} spans were taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_collector_serin_works_and_counts_what_it_drops() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    // Connections are taken and never answered: worse than a port that nobody has.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let (mut process, port) = controller(folder.path(), &cluster, &endpoint);
    cluster.shop("untraced", &format!("http://127.0.0.1:{}", free_port()), &json!({}));
    cluster.until("untraced", "is healthy", |rollout| rollout["status"]["phase"] == "Healthy").await;
    cluster.upgrade("untraced").await;
    cluster.carries("untraced", 20).await;
    within(Duration::from_secs(30), "drops are counted", async || {
        match number(port, r#"rollout_trace_spans_total{outcome="dropped"}"#).await {
            Some(count) if count > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let began = Clock::Wall.steady();
    assert_eq!(process.terminate().await, Some(0), "{}", process.log());
    assert!(Clock::Wall.steady() - began < Duration::from_secs(8), "the end does not wait for a collector");
    let log = process.log();
    assert_eq!(log.matches("The collector does not take traces").count(), 1, "{log}");
    drop(silent);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let (mut process, _) = controller(folder.path(), &cluster, "collector:4318");
    assert_eq!(process.ended(Duration::from_secs(10)).await, Some(1));
    assert!(process.log().contains("--otlp-endpoint"), "{}", process.log());
}
