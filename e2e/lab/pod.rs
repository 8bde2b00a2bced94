//! A running pod: an HTTP server on an address of its own that counts its answers by code.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serin::clock::instant;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    Fallible,
    images::{Behaviour, Images, lock},
};

/// Header of every answer that tells which version gave it.
pub(crate) const VERSION_HEADER: &str = "x-version";

/// What a pod knows of itself: from its image, and from its labels as the downward API would give them.
pub(crate) struct Container {
    pub(crate) version: String,
    pub(crate) image: String,
    pub(crate) images: Arc<Images>,
    /// Labels of everything it counts.
    pub(crate) labels: BTreeMap<String, String>,
    /// Answers so far by this version, over all its pods.
    pub(crate) turn: Arc<AtomicU64>,
}

struct Server {
    container: Container,
    started: tokio::time::Instant,
    draining: AtomicBool,
    answers: Mutex<BTreeMap<u16, u64>>,
}

/// A server that listens. Dropping it closes the listener after the answers under way.
pub(crate) struct Pod {
    server: Arc<Server>,
    stop: CancellationToken,
    done: Option<tokio::task::JoinHandle<()>>,
}

impl Pod {
    /// Listens on `address` and port; from here on connections are accepted.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn start(address: IpAddr, port: u16, container: Container) -> Fallible<Self> {
        let listener = TcpListener::bind(SocketAddr::new(address, port)).await?;
        let server = Arc::new(Server {
            container,
            started: instant(),
            draining: AtomicBool::new(false),
            answers: Mutex::default(),
        });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .fallback(answer)
            .with_state(server.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let done = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            // An error here is a listener that broke; the load generator sees it as refused connections.
            let _ = served.await;
        });
        Ok(Self { server, stop, done: Some(done) })
    }

    /// True once the readiness probe would succeed.
    pub(crate) fn ready(&self) -> bool {
        self.server.ready()
    }

    /// Fails the readiness probe from now on; answers are still given.
    pub(crate) fn drain(&self) {
        self.server.draining.store(true, Ordering::Relaxed);
    }

    /// Closes the listener and waits for the answers under way.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(done) = self.done.take() {
            let _ = done.await;
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Container {
    /// How its image behaves at present.
    pub(crate) fn behaviour(&self) -> Behaviour {
        self.images.pull(&self.image).unwrap_or(Behaviour::GOOD)
    }
}

impl Server {
    fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
            && self.started.elapsed() >= self.container.behaviour().ready_after
    }
}

async fn health(State(server): State<Arc<Server>>) -> StatusCode {
    if server.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn answer(State(server): State<Arc<Server>>) -> Response {
    let container = &server.container;
    let turn = container.turn.fetch_add(1, Ordering::Relaxed);
    let code = if fails(turn, container.behaviour().errors_percent) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    *lock(&server.answers).entry(code.as_u16()).or_default() += 1;
    (code, [(VERSION_HEADER, container.version.clone())], format!("{}\n", container.version)).into_response()
}

/// True for `percent` of each hundred turns, as evenly spread as whole turns allow.
fn fails(turn: u64, percent: u64) -> bool {
    turn.wrapping_mul(percent) % 100 + percent > 99
}

/// What the program counts itself, and what the proxy beside it would count.
async fn metrics(State(server): State<Arc<Server>>) -> String {
    let mut labels = String::new();
    for (name, value) in &server.container.labels {
        let _ = write!(labels, "{name}=\"{value}\",");
    }
    let mut text = String::from("# TYPE http_requests_total counter\n");
    let answers = lock(&server.answers).clone();
    let count = |code: u16| answers.get(&code).copied().unwrap_or_default();
    // Both series exist from the start: a rate over a counter that appears with its first error misses that error.
    for code in [200, 500] {
        let _ = writeln!(text, "http_requests_total{{{labels}code=\"{code}\"}} {}", count(code));
    }
    if server.container.behaviour().is_scraped {
        let app = server.container.labels.get("app").map(String::as_str).unwrap_or_default();
        let whose = format!("{labels}reporter=\"destination\",destination_service_name=\"{app}\"");
        text.push_str("# TYPE istio_requests_total counter\n");
        for code in [200, 500] {
            let _ =
                writeln!(text, "istio_requests_total{{{whose},response_code=\"{code}\"}} {}", count(code));
        }
    }
    text
}
