//! `/metrics`, `/healthz` and `/readyz`.
//!
//! | | 200 `ok` | 503, with one line for each reason |
//! |---|---|---|
//! | `/healthz` | every loop of this process turns; on a standby there is none that has to | a loop has not turned within its limit: it hangs, and only a new process helps |
//! | `/readyz` | this process does its job. The leader's is to act: its stores are filled. A standby's is to wait: it has heard from the API server who leads | the Lease could not be read yet, or this process leads and a store is not filled; the line says which, and what the API server said |
//!
//! Neither depends on Prometheus, Git, Slack or, once the stores are filled, on the API server: when those are down, a
//! restart makes nothing better and loses what the process has seen. Both servers begin before the leadership is asked
//! for and end with the process, after the Lease was given back. A process whose threads are all stuck answers
//! neither, which the probe counts as a failure.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `/metrics` until `shutdown`; `page` is called at each scrape.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    page: impl Fn() -> String + Clone + Send + Sync + 'static,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let app = Router::new()
        .route("/metrics", get(|State(page): State<_>| async move { scrape(&page) }))
        .with_state(Page(Arc::new(page)));
    axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

#[derive(Clone)]
struct Page(Arc<dyn Fn() -> String + Send + Sync>);

fn scrape(page: &Page) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], (page.0)())
}

/// Serves `/healthz` and `/readyz` until `shutdown`: 200 `ok`, or 503 with one line for each thing that is wrong.
///
/// # Errors
/// When the listener fails.
pub async fn serve_health(
    listener: TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|State(health): State<Health>| async move { answer(&health.stalled()) }))
        .route("/readyz", get(|State(health): State<Health>| async move { answer(&health.missing()) }))
        .with_state(health);
    axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn answer(wrong: &[String]) -> (StatusCode, String) {
    if wrong.is_empty() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", wrong.join("\n")))
    }
}

/// What the probes ask: which loops must keep turning, and what must be there before work can be done.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    elapsed: Box<dyn Fn() -> Duration + Send + Sync>,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    next: u64,
    /// Last turn, and how long a turn may take, by registration.
    loops: BTreeMap<u64, (&'static str, Duration, Duration)>,
    /// What says whether the thing is there, by registration.
    gates: BTreeMap<u64, (&'static str, Missing)>,
}

/// Says what is missing; `None` where nothing is. Asked at each probe; must not wait.
type Missing = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl Health {
    /// Healthy, with nothing to watch yet. `elapsed` is monotonic time since any fixed moment: a step of the
    /// machine's clock must not get the process killed.
    pub fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { elapsed: Box::new(elapsed), parts: Mutex::default() }))
    }

    /// A loop that from now on must turn at least every `limit`, also when it has nothing to do, until the
    /// heartbeat is dropped. A standby replica holds none.
    pub fn heartbeat(&self, name: &'static str, limit: Duration) -> Heartbeat {
        let now = (self.0.elapsed)();
        let mut parts = self.0.parts();
        let id = parts.take_id();
        parts.loops.insert(id, (name, now, limit));
        Heartbeat { health: self.clone(), id }
    }

    /// Something that is needed before work can be done, until the gate is dropped. `missing` is asked at each probe
    /// and says what is missing, if something is. It must not wait.
    pub fn gate(
        &self,
        name: &'static str,
        missing: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Gate {
        let mut parts = self.0.parts();
        let id = parts.take_id();
        parts.gates.insert(id, (name, Arc::new(missing)));
        Gate { health: self.clone(), id }
    }

    /// The loops that have not completed a turn within their limit.
    fn stalled(&self) -> Vec<String> {
        let now = (self.0.elapsed)();
        let parts = self.0.parts();
        let late = parts.loops.values().filter(|(_, last, limit)| now.saturating_sub(*last) > *limit);
        late.map(|(name, last, limit)| {
            let since = now.saturating_sub(*last).as_secs();
            format!("{name}: no turn completed for {since}s (limit {}s)", limit.as_secs())
        })
        .collect()
    }

    /// What is missing, by gate.
    fn missing(&self) -> Vec<String> {
        // Asked without the lock: what they look at has locks of its own.
        let gates: Vec<(&'static str, Missing)> = self.0.parts().gates.values().cloned().collect();
        gates.into_iter().filter_map(|(name, missing)| Some(format!("{name}: {}", missing()?))).collect()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("stalled", &self.stalled()).field("missing", &self.missing()).finish()
    }
}

impl Inner {
    /// Each change is one assignment, so what a panicked thread left is still consistent.
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    fn take_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Held by a loop that must keep turning.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    id: u64,
}

impl Heartbeat {
    /// A turn was completed.
    pub fn beat(&self) {
        let now = (self.health.0.elapsed)();
        if let Some((_, last, _)) = self.health.0.parts().loops.get_mut(&self.id) {
            *last = now;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.0.parts().loops.remove(&self.id);
    }
}

/// Held as long as something is needed.
#[derive(Debug)]
pub struct Gate {
    health: Health,
    id: u64,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.health.0.parts().gates.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    fn health() -> (Health, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(0));
        let read = seconds.clone();
        (Health::new(move || Duration::from_secs(read.load(Ordering::SeqCst))), seconds)
    }

    #[test]
    fn a_loop_that_stops_turning_fails_liveness_until_it_turns_again() {
        let (health, seconds) = health();
        let heartbeat = health.heartbeat("rollouts", Duration::from_secs(30));
        seconds.store(30, Ordering::SeqCst);
        assert_eq!(health.stalled(), Vec::<String>::new());
        seconds.store(31, Ordering::SeqCst);
        assert_eq!(health.stalled(), ["rollouts: no turn completed for 31s (limit 30s)"]);
        heartbeat.beat();
        assert_eq!(health.stalled(), Vec::<String>::new());
    }

    #[test]
    fn a_replica_that_stops_leading_is_not_stalled() {
        let (health, seconds) = health();
        drop(health.heartbeat("rollouts", Duration::from_secs(30)));
        seconds.store(3600, Ordering::SeqCst);
        assert_eq!(health.stalled(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_probes_and_the_page_are_served_until_shutdown() {
        let (health, seconds) = health();
        let is_filled = Arc::new(AtomicBool::new(false));
        let asked = is_filled.clone();
        let _gate = health.gate("stores", move || {
            (!asked.load(Ordering::SeqCst)).then(|| "Service is not listed yet".to_owned())
        });
        let _heartbeat = health.heartbeat("rollouts", Duration::from_secs(30));
        let shutdown = CancellationToken::new();
        let (probes, page) = (listener().await, listener().await);
        let (probes_at, page_at) = (probes.local_addr().unwrap(), page.local_addr().unwrap());
        let serving = tokio::spawn(serve_health(probes, health.clone(), shutdown.clone()));
        let paging = tokio::spawn(serve_metrics(page, || "a 1\n".to_owned(), shutdown.clone()));

        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask = async |path: &str| {
            let answer = client.get(format!("http://{probes_at}{path}")).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(ask("/readyz").await, (503, "stores: Service is not listed yet\n".to_owned()));
        is_filled.store(true, Ordering::SeqCst);
        assert_eq!(ask("/readyz").await, (200, "ok".to_owned()));
        assert_eq!(ask("/healthz").await, (200, "ok".to_owned()));
        seconds.store(60, Ordering::SeqCst);
        assert_eq!(ask("/healthz").await.0, 503);

        let scraped = client.get(format!("http://{page_at}/metrics")).send().await.unwrap();
        assert!(scraped.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        assert_eq!(scraped.text().await.unwrap(), "a 1\n");
        drop(client);
        shutdown.cancel();
        serving.await.unwrap().unwrap();
        paging.await.unwrap().unwrap();
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }
}
