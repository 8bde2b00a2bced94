//! A Prometheus that knows the story instead of series: it answers a query with what the version behind it would
//! show.
//!
//! It cannot evaluate PromQL. It looks up which metric of which running AnalysisRun the query belongs to, which version
//! that run judges, and answers with a number that this metric's own conditions call good or bad. So it serves any
//! template, also a reader's own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Form, Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::any};
use jiff::Timestamp;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::aside::{Aside, Asides, What};
use crate::{
    api::run,
    clock,
    decide::analysis::Metric,
    domain::{Key, value::MetricValue},
    sim::{door::Door, store::Resource, world::World},
};

/// How a version behaves, as its metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    Bad,
    /// Its series are not there.
    Silent,
}

/// What this Prometheus knows.
#[derive(Clone, Debug)]
pub struct Script {
    /// By image tag; others are good.
    pub versions: BTreeMap<String, Behaviour>,
    /// The traffic that the numbers come from.
    pub virtual_service: Key,
}

/// A Prometheus on loopback that can go away and come back. Ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    /// Base URL.
    pub url: String,
    address: SocketAddr,
    shared: Shared,
    serving: Option<Serving>,
}

#[derive(Debug)]
struct Serving {
    task: JoinHandle<()>,
    stop: DropGuard,
}

#[derive(Clone)]
struct Shared {
    door: Door,
    script: Arc<Mutex<Script>>,
    asides: Asides,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("script", &self.script).finish_non_exhaustive()
    }
}

impl Prometheus {
    /// Serves on a free port of loopback.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(door: Door, script: Script, asides: Asides) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let shared = Shared { door, script: Arc::new(Mutex::new(script)), asides };
        let mut started = Self { url: format!("http://{address}"), address, shared, serving: None };
        started.serve(listener);
        Ok(started)
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new().route("/api/v1/query", any(query)).with_state(self.shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the scripted Prometheus ended");
            }
        });
        self.serving = Some(Serving { task, stop: stop.drop_guard() });
    }

    /// Goes away: connections are refused from now on.
    pub async fn go(&mut self) {
        if let Some(Serving { task, stop }) = self.serving.take() {
            drop(stop);
            // Its connections are idle, so this takes no time. A panic in it was told by its own.
            let _ = clock::outside(GOING, task).await;
        }
    }

    /// Comes back at the same address.
    ///
    /// # Errors
    /// Somebody else has taken the port.
    pub async fn come_back(&mut self) -> std::io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// Changes how a version behaves.
    pub fn set(&self, version: &str, behaviour: Behaviour) {
        let mut script = self.shared.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.versions.insert(version.to_owned(), behaviour);
    }
}

/// How long the end of the server may take.
const GOING: Duration = Duration::from_secs(5);

async fn query(
    State(shared): State<Shared>,
    Form(form): Form<BTreeMap<String, String>>,
) -> impl IntoResponse {
    let Some(promql) = form.get("query") else {
        let error =
            json!({"status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\""});
        return (StatusCode::BAD_REQUEST, Json(error));
    };
    let is_scalar = promql.trim_start().starts_with("scalar(");
    let script = shared.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (at, after, (metric, value, is_good)) = shared
        .door
        .with(|world| (world.now(), world.log().len(), value(world, &script, promql).unwrap_or_default()));
    shared.asides.add(Aside { at, after, what: What::Answer { metric, value, is_good } });
    let at = seconds(at);
    let data = match (is_scalar, value) {
        (true, value) => {
            json!({"resultType": "scalar", "result": [at, value.map_or("NaN".to_owned(), |v| v.to_string())]})
        }
        (false, Some(value)) => {
            json!({"resultType": "vector", "result": [{"metric": {}, "value": [at, value.to_string()]}]})
        }
        (false, None) => json!({"resultType": "vector", "result": []}),
    };
    (StatusCode::OK, Json(json!({"status": "success", "data": data})))
}

#[expect(clippy::cast_precision_loss, reason = "times of a story fit into the 53 bits many times over")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// The metric of this query, what it shows now and whether that is good. `None` for a query of no run; no number for a
/// version without traffic.
fn value(world: &World, script: &Script, promql: &str) -> Option<(String, Option<f64>, bool)> {
    let runs = world.store().objects(Resource::AnalysisRuns).map(|(_, object)| run::parse(object));
    let (metric, hash) = runs.filter(|run| !run.owned.run.status.phase.is_done()).find_map(|run| {
        let metrics = run.owned.run.metrics.as_ref().ok()?;
        let asks =
            |metric: &&Metric| metric.query.as_ref().is_ok_and(|query| query.promql.masked() == promql);
        metrics.iter().find(asks).map(|metric| (metric.clone(), run.owned.hash.clone()))
    })?;
    let route = crate::sim::store::Key::new(&script.virtual_service.namespace, &script.virtual_service.name);
    let hash = hash.as_ref().map(|hash| hash.as_str());
    let carries = |share: &&crate::sim::actors::Share| share.share > 0.0 && Some(share.hash.as_str()) == hash;
    let Some(share) = world.actors.mesh.serving(&route).iter().find(carries) else {
        return Some((metric.name, None, false));
    };
    let behaviour = script.versions.get(&share.version).copied().unwrap_or(Behaviour::Good);
    if behaviour == Behaviour::Silent {
        return Some((metric.name, None, false));
    }
    let number = fitting(&metric, behaviour, promql.trim_start().starts_with("scalar("));
    Some((metric.name, number, behaviour == Behaviour::Good))
}

/// The first of some everyday numbers that the metric's conditions judge as the story wants it.
fn fitting(metric: &Metric, wanted: Behaviour, is_scalar: bool) -> Option<f64> {
    let candidates: &[f64] = match wanted {
        Behaviour::Bad => &[0.08, 0.92, 0.5, 5.0, 50.0, 500.0, 5e3, 5e6, 0.0, 1.0, -1.0],
        Behaviour::Good | Behaviour::Silent => {
            &[0.004, 0.996, 0.5, 5.0, 50.0, 500.0, 5e3, 5e6, 0.0, 1.0, -1.0]
        }
    };
    candidates.iter().copied().find(|number| {
        let value = if is_scalar { MetricValue::Float(*number) } else { MetricValue::Floats(vec![*number]) };
        let holds = |criterion: &Option<crate::decide::analysis::Criterion>| {
            criterion.as_ref().map(|criterion| {
                criterion.parsed.as_ref().ok().and_then(|condition| condition.evaluate(&value).ok())
            })
        };
        let is_bad =
            holds(&metric.failure) == Some(Some(true)) || holds(&metric.success) == Some(Some(false));
        let is_good =
            !is_bad && (holds(&metric.success) != Some(None)) && (holds(&metric.failure) != Some(None));
        match wanted {
            Behaviour::Bad => is_bad,
            Behaviour::Good | Behaviour::Silent => is_good,
        }
    })
}
