//! Traces over OTLP (HTTP, protobuf) for those who name a collector; nothing of it runs otherwise.
//!
//! Spans have the target `trace` and are no part of the log: `tracing::info_span!(target: "trace", "pass", ..)`. What
//! is there:
//!
//! | span | attributes |
//! |---|---|
//! | `pass`, with `observe`, `decide` and `apply` below it | the Rollout, why it was looked at |
//! | `request`, below whoever asks | resource, verb, status code of the API server |
//! | `sample` | run, metric, whether there was a value; neither query nor address, which may hold a secret |
//! | `revert`, with `fetch` and `push` below it | the SelfHeal |
//!
//! The work never waits for the collector: a span that ends goes into a queue of [`QUEUE`] spans, and is dropped where
//! that is full. A task sends batches; those that fail are dropped, too. Both are counted
//! (`rollout_trace_spans_total{outcome="dropped"}`), and the log says once that the collector does not take them.
//! `OTEL_EXPORTER_OTLP_HEADERS` adds headers, for instance a token.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{Layer, Registry, filter::filter_fn};

use super::Metrics;

/// Spans that wait for the collector: some megabytes at most.
pub const QUEUE: usize = 2048;
/// Spans in one request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// Limit of one request.
const LIMIT: Duration = Duration::from_secs(5);
/// Pause after a batch that the collector did not take.
const PAUSE: Duration = Duration::from_secs(5);
/// What the last batch may take when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Where spans go, and who sends them.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Address of the collector, for instance `http://collector:4318`; `/v1/traces` is added where there is no path.
    pub endpoint: String,
    /// `controller` or `gitops`.
    pub role: &'static str,
    pub version: &'static str,
    /// This process among the replicas.
    pub instance: String,
}

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("--otlp-endpoint {endpoint:?} is not an address of http:// or https://")]
    Endpoint { endpoint: String },
    #[error("cannot make an HTTP client for traces: {0}")]
    Client(#[from] reqwest::Error),
    #[error("traces cannot be set up: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// What the subscriber needs to make spans.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// The side that sends: to be run by whoever owns the tasks. Dropped, everything is dropped and counted.
pub struct Export {
    exporter: SpanExporter,
    queue: mpsc::Receiver<SpanData>,
    metrics: Metrics,
    /// Whether the log has said that the collector does not take spans.
    is_away: bool,
}

/// The layer that makes spans, and the side that sends them.
///
/// # Errors
/// The address makes no sense, or the machine's TLS set-up does not work.
pub fn to(collector: &Collector, metrics: Metrics) -> Result<(Spans, Export), TraceError> {
    let endpoint = address(&collector.endpoint)?;
    let client =
        reqwest::Client::builder().timeout(LIMIT).redirect(reqwest::redirect::Policy::none()).build()?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http(client))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name(format!("serin-{}", collector.role))
        .with_attributes([
            KeyValue::new("service.version", collector.version),
            KeyValue::new("service.instance.id", collector.instance.clone()),
        ])
        .build();
    exporter.set_resource(&resource);
    let (sender, queue) = mpsc::channel(QUEUE);
    let processor = Queue { sender, metrics: metrics.clone() };
    let provider =
        SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("serin"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == super::logging::SPANS));
    Ok((layer.boxed(), Export { exporter, queue, metrics, is_away: false }))
}

fn address(endpoint: &str) -> Result<String, TraceError> {
    let wrong = || TraceError::Endpoint { endpoint: endpoint.to_owned() };
    let url = reqwest::Url::parse(endpoint).map_err(|_| wrong())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(wrong());
    }
    let base = endpoint.trim_end_matches('/');
    Ok(if url.path().trim_matches('/').is_empty() { format!("{base}/v1/traces") } else { base.to_owned() })
}

impl Export {
    /// Sends what comes until `shutdown`, then what is there, for a moment. `wait` waits for a time.
    pub async fn run(mut self, wait: impl AsyncFn(Duration), shutdown: CancellationToken) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                () = shutdown.cancelled() => break,
                count = self.queue.recv_many(&mut batch, BATCH) => if count == 0 { return },
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = wait(GATHER) => {}
            }
            self.fill(&mut batch);
            let given_up = async {
                shutdown.cancelled().await;
                wait(LAST).await;
            };
            if !self.send(batch, given_up).await {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = wait(PAUSE) => {}
                }
            }
        }
        let mut batch = vec![];
        self.fill(&mut batch);
        self.send(batch, wait(LAST)).await;
    }

    fn fill(&mut self, batch: &mut Vec<SpanData>) {
        while batch.len() < BATCH
            && let Ok(span) = self.queue.try_recv()
        {
            batch.push(span);
        }
    }

    /// True where the collector took them before `given_up` ended.
    async fn send(&mut self, batch: Vec<SpanData>, given_up: impl Future<Output = ()>) -> bool {
        let count = batch.len();
        if count == 0 {
            return true;
        }
        let sent = tokio::select! {
            sent = self.exporter.export(batch) => sent.map_err(|error| error.to_string()),
            () = given_up => Err("the process ends".to_owned()),
        };
        self.metrics.spans(if sent.is_ok() { "exported" } else { "dropped" }, count);
        let was_away = std::mem::replace(&mut self.is_away, sent.is_err());
        match &sent {
            Ok(()) if was_away => tracing::info!("The collector takes traces again"),
            Err(why) if !was_away => {
                tracing::warn!(error = %why, "The collector does not take traces: they are dropped until it does");
            }
            Ok(()) | Err(_) => {}
        }
        sent.is_ok()
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

/// Takes each span that ends, and waits for nobody.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    metrics: Metrics,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.metrics.spans("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The project's HTTP client, so that there is one TLS stack.
#[derive(Debug)]
struct Http(reqwest::Client);

/// A future as `async_trait` has it.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(&'a self, request: http::Request<Bytes>) -> Answer<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)?;
            let answer = self.0.execute(request).await?;
            let mut response = http::Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok(response.body(answer.bytes().await?)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::Snapshot;

    fn collector(endpoint: &str) -> Collector {
        Collector {
            endpoint: endpoint.to_owned(),
            role: "controller",
            version: "0.1.0",
            instance: "a".to_owned(),
        }
    }

    #[test]
    fn addresses_are_what_people_write() {
        assert_eq!(address("http://collector:4318").unwrap(), "http://collector:4318/v1/traces");
        assert_eq!(address("http://collector:4318/").unwrap(), "http://collector:4318/v1/traces");
        assert_eq!(
            address("https://traces.example/in/v1/traces").unwrap(),
            "https://traces.example/in/v1/traces"
        );
        for wrong in ["", "collector:4318", "grpc://collector:4317", "http://"] {
            assert!(address(wrong).unwrap_err().to_string().contains("--otlp-endpoint"), "{wrong}");
        }
    }

    #[test]
    fn spans_beyond_the_queue_are_dropped_and_counted_and_nobody_waits() {
        let metrics = Metrics::new("0.1.0");
        let (layer, export) = to(&collector("http://127.0.0.1:9"), metrics.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..QUEUE + 10 {
                tracing::info_span!(target: "trace", "pass").in_scope(|| {});
                tracing::info_span!("no span of ours").in_scope(|| {});
            }
        });
        let page = metrics.render(Snapshot::default());
        let dropped = r#"rollout_trace_spans_total{outcome="dropped"} 10.0"#;
        assert!(page.lines().any(|line| line == dropped), "{page}");
        drop(export);
    }
}
