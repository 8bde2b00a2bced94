//! Against a real HTTP server on a loopback socket.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::{
    decide::analysis::{Part, SecretRef, Text},
    domain::{Key, value::MetricValue},
};

#[derive(Clone)]
enum Reply {
    Http(u16, String),
    Hang,
}

#[derive(Clone, Default)]
struct Server {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// Answers every question of this text, and never in order.
    by_query: Arc<Mutex<BTreeMap<String, Reply>>>,
    seen: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let asked = if text.is_empty() { uri.query().unwrap_or_default().to_owned() } else { text };
    server.seen.lock().unwrap().push((format!("{method} {}", uri.path()), headers, asked.clone()));
    let now = server.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    server.most.fetch_max(now, Ordering::SeqCst);
    let _ended = Ended(Arc::clone(&server.under_way));
    let fixed = server
        .by_query
        .lock()
        .unwrap()
        .iter()
        .find(|(query, _)| asked.contains(*query))
        .map(|(_, reply)| reply.clone());
    let reply = fixed.or_else(|| server.replies.lock().unwrap().pop_front());
    tokio::task::yield_now().await;
    match reply.unwrap_or_else(|| scalar("0.08")) {
        Reply::Http(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Reply::Hang => std::future::pending().await,
    }
}

/// Counts a question as over, also one whose asker has gone away.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn scalar(value: &str) -> Reply {
    data("scalar", json!([1, value]))
}

fn data(kind: &str, result: Value) -> Reply {
    let body = json!({ "status": "success", "data": { "resultType": kind, "result": result } });
    Reply::Http(200, body.to_string())
}

/// A sampler with its server, and a Secret in the API server.
struct Bench {
    server: Server,
    sampler: Sampler,
    answers: mpsc::UnboundedReceiver<Target>,
    clock: Clock,
    asker: Arc<Asker>,
    _tasks: JoinSet<()>,
}

async fn bench() -> Bench {
    let server = Server::default();
    let app = Router::new().fallback(answer).with_state(server.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let clock = Clock::scaled("2026-01-01T00:00:00Z".parse().unwrap(), 1);
    let (send, answers) = mpsc::unbounded_channel();
    let settings = Settings { address: Some(address), seed: 1 };
    let (sampler, worker) = Sampler::new(secrets(), clock, settings, move |target| {
        let _ = send.send(target.clone());
    })
    .unwrap();
    let asker = Arc::clone(&worker.asker);
    tasks.spawn(worker.run());
    Bench { server, sampler, answers, clock, asker, _tasks: tasks }
}

/// An API server that knows one Secret, `login`, with the key `token`.
fn secrets() -> Client {
    let service = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
        let path = request.uri().path().to_owned();
        let (status, body) = if path.ends_with("/namespaces/shop/secrets/login") {
            (
                200,
                json!({ "kind": "Secret", "metadata": { "name": "login" }, "data": { "token": "aHVzaA==" } }),
            )
        } else if path.ends_with("/secrets/broken") {
            (500, json!({ "kind": "Status", "code": 500, "message": "etcd" }))
        } else {
            (404, json!({ "kind": "Status", "code": 404, "reason": "NotFound" }))
        };
        let body = kube::client::Body::from(body.to_string().into_bytes());
        Ok::<_, std::convert::Infallible>(http::Response::builder().status(status).body(body).unwrap())
    });
    Client::new(service, "default")
}

fn query(promql: &str) -> Query {
    Query {
        address: None,
        promql: Text::plain(promql),
        timeout: SignedDuration::from_secs(30),
        range: None,
        headers: vec![],
        basic_auth: None,
        insecure: false,
    }
}

impl Bench {
    fn want(&self, run: &str, metric: &str, ordinal: u32, query: Query) -> Want {
        Want {
            run: run.into(),
            namespace: "shop".into(),
            metric: metric.into(),
            ordinal,
            due: self.clock.now(),
            query,
        }
    }

    fn ask(&self, wants: &[Want]) {
        self.sampler.want(&target(), &wants.iter().cloned().collect());
    }

    async fn outcome(&mut self, query: Query) -> Outcome {
        let want = self.want("run", "metric", 0, query);
        self.ask(&[want]);
        self.answers.recv().await.unwrap();
        self.sampler.samples("run")["metric"].outcome.clone()
    }
}

fn target() -> Target {
    Target::Rollout(Key::new("shop", "cart"))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_stamped_kept_and_told() {
    let mut bench = bench().await;
    let mut want = bench.want("run", "errors", 3, query("up"));
    want.due = bench.clock.now() + SignedDuration::from_secs(60);
    bench.ask(std::slice::from_ref(&want));
    assert_eq!(bench.answers.recv().await.unwrap(), target());
    let sample = bench.sampler.samples("run")["errors"].clone();
    assert_eq!(sample.ordinal, 3);
    assert_eq!(sample.outcome, Outcome::Value { value: MetricValue::Float(0.08), text: "0.08".into() });
    let late = sample.started_at.duration_since(want.due);
    assert!(!late.is_negative() && late <= SignedDuration::from_millis(500), "{late}");
    assert!(sample.finished_at >= sample.started_at);
    let seen = bench.server.seen.lock().unwrap();
    assert_eq!(seen[0].0, "POST /api/v1/query");
    assert!(seen[0].2.starts_with("query=up&time=17672256"), "{}", seen[0].2);
}

#[tokio::test(start_paused = true)]
async fn the_same_want_is_asked_once_and_its_answer_goes_with_it() {
    let mut bench = bench().await;
    let want = bench.want("run", "errors", 0, query("up"));
    bench.ask(std::slice::from_ref(&want));
    bench.answers.recv().await.unwrap();
    bench.ask(std::slice::from_ref(&want));
    bench.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.server.seen.lock().unwrap().len(), 1);
    assert_eq!(bench.sampler.samples("run").len(), 1);
    bench.ask(&[Want { ordinal: 1, ..want }]);
    assert!(bench.sampler.samples("run").is_empty());
    bench.answers.recv().await.unwrap();
    assert_eq!(bench.sampler.samples("run")["errors"].ordinal, 1);
    bench.ask(&[]);
    assert!(bench.sampler.samples("run").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_any_more_is_not_asked() {
    let bench = bench().await;
    let mut want = bench.want("run", "errors", 0, query("up"));
    want.due = bench.clock.now() + SignedDuration::from_secs(60);
    bench.ask(&[want]);
    bench.ask(&[]);
    bench.clock.sleep(Duration::from_secs(120)).await;
    assert!(bench.server.seen.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn identical_questions_under_way_are_one() {
    let bench = bench().await;
    let wants: Vec<Want> = (0..5).map(|run| bench.want(&format!("run-{run}"), "m", 0, query("up"))).collect();
    let together: Vec<_> = wants.iter().map(|want| bench.asker.shared(want)).collect();
    assert_eq!(futures::future::join_all(together).await.len(), 5);
    assert_eq!(bench.server.seen.lock().unwrap().len(), 1);
    bench.asker.shared(&wants[0]).await;
    assert_eq!(bench.server.seen.lock().unwrap().len(), 2, "an answer is not kept for later questions");
}

#[tokio::test(start_paused = true)]
async fn values_that_say_nothing_are_values() {
    let mut bench = bench().await;
    let replies =
        [data("vector", json!([])), scalar("NaN"), data("vector", json!([{ "value": [1, "0.5"] }]))];
    bench.server.replies.lock().unwrap().extend(replies);
    let Outcome::Value { value, text } = bench.outcome(query("a")).await else { panic!() };
    assert_eq!((value, text.as_str()), (MetricValue::Floats(vec![]), "[]"));
    let Outcome::Value { value: MetricValue::Float(nan), text } = bench.outcome(query("b")).await else {
        panic!()
    };
    assert!(nan.is_nan() && text == "NaN");
    let Outcome::Value { text, .. } = bench.outcome(query("c")).await else { panic!() };
    assert_eq!(text, "[0.5]");
}

#[tokio::test(start_paused = true)]
async fn nobody_answering_is_an_outage_and_a_refusal_is_none() {
    let mut bench = bench().await;
    let refusal = json!({ "status": "error", "errorType": "bad_data", "error": "parse error" }).to_string();
    let replies =
        [Reply::Http(503, "down".into()), Reply::Http(400, refusal), Reply::Http(429, String::new())];
    bench.server.replies.lock().unwrap().extend(replies);
    assert!(matches!(bench.outcome(query("a")).await, Outcome::Outage { .. }));
    assert_eq!(bench.outcome(query("b")).await, Outcome::Refused { message: "bad_data: parse error".into() });
    assert!(matches!(bench.outcome(query("c")).await, Outcome::Outage { .. }));
    let nowhere = Query { address: Some(Text::plain("http://127.0.0.1:1")), ..query("d") };
    let Outcome::Outage { message } = bench.outcome(nowhere).await else { panic!() };
    assert!(message.contains("cannot connect"), "{message}");
    let wrong = Query { address: Some(Text::plain("nowhere")), ..query("e") };
    let message = "prometheus address is not is url format".to_owned();
    assert_eq!(bench.outcome(wrong).await, Outcome::Refused { message });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_costs_its_time_and_delays_nobody_else() {
    let mut bench = bench().await;
    bench.server.by_query.lock().unwrap().insert("slow".into(), Reply::Hang);
    let slow = Query { timeout: SignedDuration::from_millis(300), ..query("slow") };
    let wants: Vec<Want> = (0..8)
        .map(|n| {
            bench.want(
                "slow",
                &format!("m{n}"),
                0,
                Query { promql: Text::plain(format!("slow{n}")), ..slow.clone() },
            )
        })
        .collect();
    bench.ask(&wants);
    let other = Target::Rollout(Key::new("shop", "other"));
    let mut quick = bench.want("quick", "m", 0, query("up"));
    // Overdue, for virtual time stands still while the slow ones are waited for.
    quick.due = bench.clock.now() - SignedDuration::from_secs(1);
    bench.sampler.want(&other, &BTreeSet::from([quick]));
    assert_eq!(bench.answers.recv().await.unwrap(), other, "the quick one first");
    for _ in &wants {
        assert_eq!(bench.answers.recv().await.unwrap(), target());
    }
    let samples = bench.sampler.samples("slow");
    assert!(
        samples.values().all(
            |sample| matches!(&sample.outcome, Outcome::Outage { message } if message.contains("0.3 s"))
        )
    );
    let most = bench.server.most.load(Ordering::SeqCst);
    assert!(most <= PER_RUN + 1, "{most} at a time");
}

#[tokio::test(start_paused = true)]
async fn no_time_is_over_at_once() {
    let mut bench = bench().await;
    let query = Query { timeout: SignedDuration::ZERO, ..query("up") };
    assert!(matches!(bench.outcome(query).await, Outcome::Outage { .. }));
    assert!(bench.server.seen.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_not_allowed_is_asked_again_as_get() {
    for status in [403, 405, 501] {
        let mut bench = bench().await;
        bench.server.replies.lock().unwrap().push_back(Reply::Http(status, String::new()));
        assert!(matches!(bench.outcome(query("up")).await, Outcome::Value { .. }));
        let seen = bench.server.seen.lock().unwrap();
        assert_eq!(seen[1].0, "GET /api/v1/query");
        assert!(seen[1].2.starts_with("query=up&time="));
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_filled_in_and_never_shown() {
    let mut bench = bench().await;
    let secret = |name: &str, key: &str| {
        Text(vec![
            Part::Plain("Bearer ".into()),
            Part::Secret(SecretRef { name: name.into(), key: key.into() }),
        ])
    };
    let with = |text: Text| Query { headers: vec![("Authorization".into(), text)], ..query("up") };
    let refusal =
        json!({ "status": "error", "errorType": "bad_data", "error": "token hush is old" }).to_string();
    bench.server.replies.lock().unwrap().push_back(Reply::Http(400, refusal));
    let outcome = bench.outcome(with(secret("login", "token"))).await;
    assert_eq!(outcome, Outcome::Refused { message: "bad_data: token ***** is old".into() });
    assert_eq!(bench.server.seen.lock().unwrap()[0].1["authorization"], "Bearer hush");
    for (name, key) in [("login", "other"), ("absent", "token")] {
        assert!(matches!(bench.outcome(with(secret(name, key))).await, Outcome::Unresolved { .. }), "{name}");
    }
    assert!(matches!(bench.outcome(with(secret("broken", "token"))).await, Outcome::Outage { .. }));
    assert_eq!(bench.server.seen.lock().unwrap().len(), 1, "nothing is asked without its secrets");
}

#[tokio::test(start_paused = true)]
async fn basic_auth_gives_way_to_a_header() {
    let mut bench = bench().await;
    let login = Some((Text::plain("ann"), Text::plain("pass")));
    bench.outcome(Query { basic_auth: login.clone(), ..query("a") }).await;
    let headers = vec![("authorization".to_owned(), Text::plain("mine"))];
    bench.outcome(Query { basic_auth: login, headers, ..query("b") }).await;
    let seen = bench.server.seen.lock().unwrap();
    assert_eq!(seen[0].1["authorization"], "Basic YW5uOnBhc3M=");
    assert_eq!(seen[1].1["authorization"], "mine");
}

#[tokio::test(start_paused = true)]
async fn a_range_has_bounds() {
    let mut bench = bench().await;
    bench
        .server
        .replies
        .lock()
        .unwrap()
        .push_back(data("matrix", json!([{ "values": [[1, "1"], [2, "2"]] }])));
    let range = crate::decide::analysis::Range {
        start: "now() - duration(\"1m\")".into(),
        end: "now()".into(),
        step: SignedDuration::from_secs(15),
    };
    let Outcome::Value { text, .. } = bench.outcome(Query { range: Some(range), ..query("up") }).await else {
        panic!()
    };
    assert_eq!(text, "[1,2]");
    let seen = bench.server.seen.lock().unwrap();
    assert_eq!(seen[0].0, "POST /api/v1/query_range");
    assert!(seen[0].2.contains("start=1767225540&end=1767225600&step=15"), "{}", seen[0].2);
}
