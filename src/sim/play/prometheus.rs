//! A Prometheus that knows the story instead of series: it answers a query with what the version behind it would
//! show.
//!
//! It cannot evaluate PromQL. It looks up which metric of which running AnalysisRun the query belongs to, which version
//! that run judges, and answers with a number that this metric's own conditions call good or bad. So it serves any
//! template, also a reader's own.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{Form, Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::any};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{read, run},
    decide::analysis::Metric,
    domain::{Key, value::MetricValue},
    sim::{door::Door, store::Resource, world::World},
};

/// How a version behaves, as its metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    Bad,
}

/// What this Prometheus knows.
#[derive(Clone, Debug)]
pub struct Script {
    /// By image tag; others are good.
    pub versions: BTreeMap<String, Behaviour>,
    /// The traffic that the numbers come from.
    pub virtual_service: Key,
}

/// A sample that was given, for whoever tells the story.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub at: Timestamp,
    pub metric: String,
    /// `None`: no data.
    pub value: Option<f64>,
    pub is_good: bool,
}

#[derive(Clone)]
struct Shared {
    door: Door,
    script: Script,
}

/// Serves on loopback until `shutdown`; answers its base URL.
///
/// # Errors
/// No port can be had.
pub async fn serve(door: Door, script: Script, shutdown: CancellationToken) -> std::io::Result<String> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = Router::new().route("/api/v1/query", any(query)).with_state(Shared { door, script });
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the scripted Prometheus ended");
        }
    });
    Ok(url)
}

async fn query(State(shared): State<Shared>, Form(form): Form<BTreeMap<String, String>>) -> impl IntoResponse {
    let Some(promql) = form.get("query") else {
        let error = json!({"status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\""});
        return (StatusCode::BAD_REQUEST, Json(error));
    };
    let is_scalar = promql.trim_start().starts_with("scalar(");
    let (value, at) = shared.door.with(|world| (value(world, &shared.script, promql), world.now()));
    let at = seconds(at);
    let data = match (is_scalar, value) {
        (true, value) => json!({"resultType": "scalar", "result": [at, value.map_or("NaN".to_owned(), |v| v.to_string())]}),
        (false, Some(value)) => json!({"resultType": "vector", "result": [{"metric": {}, "value": [at, value.to_string()]}]}),
        (false, None) => json!({"resultType": "vector", "result": []}),
    };
    (StatusCode::OK, Json(json!({"status": "success", "data": data})))
}

#[expect(clippy::cast_precision_loss, reason = "times of a story fit into the 53 bits many times over")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// What the metric of this query shows now; `None` for a query of no run, or of a version without traffic.
fn value(world: &World, script: &Script, promql: &str) -> Option<f64> {
    let runs = world.store().objects(Resource::AnalysisRuns).map(|(_, object)| run::parse(object));
    let asked = runs.filter(|run| !run.owned.run.status.phase.is_done()).find_map(|run| {
        let metrics = run.owned.run.metrics.as_ref().ok()?;
        let asks = |metric: &&Metric| metric.query.as_ref().is_ok_and(|query| query.promql.masked() == promql);
        metrics.iter().find(asks).map(|metric| (metric.clone(), run.owned.hash.clone()))
    });
    let (metric, hash) = asked?;
    let shares = world.actors.mesh.serving(&crate::sim::store::Key::new(&script.virtual_service.namespace, &script.virtual_service.name));
    let version = shares.iter().find(|share| share.share > 0.0 && Some(share.hash.as_str()) == hash.as_ref().map(|hash| hash.as_str()))?;
    let behaviour = script.versions.get(&version.version).copied().unwrap_or(Behaviour::Good);
    fitting(&metric, behaviour, promql.trim_start().starts_with("scalar("))
}

/// The first of some everyday numbers that the metric's conditions judge as the story wants it.
fn fitting(metric: &Metric, wanted: Behaviour, is_scalar: bool) -> Option<f64> {
    let candidates: &[f64] = match wanted {
        Behaviour::Bad => &[0.08, 0.92, 0.5, 5.0, 50.0, 500.0, 5e3, 5e6, 0.0, 1.0, -1.0],
        Behaviour::Good => &[0.004, 0.996, 0.5, 5.0, 50.0, 500.0, 5e3, 5e6, 0.0, 1.0, -1.0],
    };
    candidates.iter().copied().find(|number| {
        let value = if is_scalar { MetricValue::Float(*number) } else { MetricValue::Floats(vec![*number]) };
        let holds = |criterion: &Option<crate::decide::analysis::Criterion>| {
            criterion.as_ref().map(|criterion| criterion.parsed.as_ref().ok().and_then(|condition| condition.evaluate(&value).ok()))
        };
        let is_bad = holds(&metric.failure) == Some(Some(true)) || holds(&metric.success) == Some(Some(false));
        let is_good = !is_bad && (holds(&metric.success) != Some(None)) && (holds(&metric.failure) != Some(None));
        match wanted {
            Behaviour::Bad => is_bad,
            Behaviour::Good => is_good,
        }
    })
}

/// The measurement results of a run's status, as a story wants them.
pub fn given(object: &Value) -> Vec<Given> {
    let mut given = vec![];
    for result in read::list(object, &["status", "metricResults"]) {
        let metric = read::owned(result, &["name"]);
        for measurement in read::list(result, &["measurements"]) {
            let value = read::text(measurement, &["value"]).map(|text| text.trim_matches(['[', ']']));
            let Some(at) = read::time(measurement, &["finishedAt"]) else { continue };
            given.push(Given {
                at,
                metric: metric.clone(),
                value: value.and_then(|text| text.parse().ok()),
                is_good: read::text(measurement, &["phase"]) == Some("Successful"),
            });
        }
    }
    given
}
