use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt;
use kube::client::Body as Payload;
use serde_json::json;

use super::*;
use crate::{
    apply::{
        gate::{Limits, Rate},
        render::{
            Versions, render, shed as render_shed,
            tests::{at, idle, lowering, owner},
        },
    },
    clock::Clock,
    decide::{
        memory::Memory,
        plan::{NewReplicaSet, Plan, Prepare, Remember, Retire, Shed, StatusWrite},
    },
    domain::{PodHash, Uid},
};

type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A server that gives its answers in order, then 200 with an empty object; and what it was asked.
fn server(answers: Vec<(u16, Value)>) -> (Sender, Seen) {
    server_at(None, answers)
}

/// The same, asked so many times a second.
fn server_at(rate: Option<Rate>, answers: Vec<(u16, Value)>) -> (Sender, Seen) {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let service = tower::service_fn(move |request: http::Request<Payload>| {
        let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
        async move {
            let what = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            log.lock().unwrap().push((what, String::from_utf8_lossy(&body).into_owned()));
            let answer = answers.lock().unwrap().pop_front();
            let (status, body) = answer.unwrap_or((200, json!({ "kind": "Thing" })));
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let after = body.get("retryAfter").map(Value::to_string);
            let body = Payload::from(body.to_string().into_bytes());
            let response = http::Response::builder().status(status).body(body).unwrap();
            let (mut head, body) = response.into_parts();
            if let Some(after) = after {
                head.headers.insert("retry-after", after.parse().unwrap());
            }
            Ok::<_, Infallible>(http::Response::from_parts(head, body))
        }
    });
    let client = kube::Client::new(service, "default");
    (Sender::new(client, Clock::scaled(at(), 1), Limits { under_way: 10, rate }), seen)
}

fn whats(seen: &Seen) -> Vec<String> {
    let last = |what: &str| what.split(['?', ' ']).nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
    seen.lock().unwrap().iter().map(|(what, _)| last(what)).collect()
}

fn plan() -> Vec<Step> {
    let new = Memory { abort: true, ..Memory::default() };
    let rollout = Some(StatusWrite { old: Memory::default(), new });
    let plan = Plan {
        shed: Shed { weights: Some(lowering()), grow: None },
        memory: Remember { rollout, ..Remember::default() },
        prepare: vec![Prepare::TerminateRun("run".into())],
        retire: vec![Retire::DeleteRun { name: "old-run".into(), uid: Uid("x".into()) }],
        ..idle()
    };
    render(&plan, &Versions::default(), at()).collect()
}

/// Answers for the loop: what it says, and what it was given.
#[derive(Default)]
struct Loop {
    halt: Option<Halt>,
    is_overtaken: bool,
    again: Option<Step>,
    returned: Mutex<Vec<Value>>,
    /// How many requests had been sent whenever one had to wait.
    waited: Mutex<Vec<usize>>,
}

impl Observer for Loop {
    fn halt(&self) -> Option<Halt> {
        self.halt
    }

    fn waits(&self, done: &Executed) {
        self.waited.lock().unwrap().push(done.attempts.len());
    }

    async fn overtaken(&self) {
        if !self.is_overtaken {
            std::future::pending::<()>().await;
        }
    }

    fn again(&self, _: &Value) -> Option<Step> {
        self.again.clone()
    }

    fn returned(&self, object: Value) {
        self.returned.lock().unwrap().push(object);
    }
}

async fn run(sender: &Sender) -> Executed {
    execute(sender, plan().into_iter(), &Loop::default()).await
}

#[tokio::test(start_paused = true)]
async fn requests_are_sent_in_order_and_what_came_back_is_kept() {
    let (sender, seen) = server(vec![]);
    let pass = Loop::default();
    let done = execute(&sender, plan().into_iter(), &pass).await;
    assert_eq!(whats(&seen), ["cart-vs", "status", "run", "old-run"]);
    assert_eq!(done.halted, None);
    assert_eq!(done.attempts.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [200; 4]);
    assert_eq!(pass.returned.lock().unwrap().len(), 4);
    assert_eq!(seen.lock().unwrap()[1].0.split('?').nth(1), Some("fieldManager=rollouts-controller"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_shed_stops_everything_but_memory() {
    let (sender, seen) = server(vec![(500, json!({ "reason": "InternalError" }))]);
    let done = run(&sender).await;
    assert_eq!(whats(&seen), ["cart-vs", "status"]);
    assert_eq!(done.halted, Some(Halt::Failed));
    assert_eq!(done.failed, [Action::Shed]);
    assert_eq!(done.attempts[0].reason, "InternalError");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_status_stops_what_builds_on_it() {
    let (sender, seen) = server(vec![(200, json!({})), (409, json!({ "reason": "Conflict" }))]);
    let done = run(&sender).await;
    assert_eq!(whats(&seen), ["cart-vs", "status"]);
    assert_eq!(done.failed, [Action::Status]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_after_five_seconds() {
    let (sender, seen) = server(vec![(200, json!({})), (0, json!({}))]);
    let done = run(&sender).await;
    assert_eq!(whats(&seen), ["cart-vs", "status"]);
    assert_eq!((done.attempts[1].status, done.attempts[1].reason.as_str()), (0, "Unanswered"));
    assert_eq!(done.attempts[1].at.duration_since(done.attempts[0].at).as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn news_stop_everything_but_the_shed() {
    let (sender, seen) = server(vec![]);
    let done =
        execute(&sender, plan().into_iter(), &Loop { halt: Some(Halt::News), ..Loop::default() }).await;
    assert_eq!(whats(&seen), ["cart-vs"]);
    assert_eq!(done.halted, Some(Halt::News));
}

#[tokio::test(start_paused = true)]
async fn a_refused_shed_is_made_again_from_the_live_object_and_then_without_its_mark() {
    let live = json!({ "kind": "VirtualService", "metadata": { "resourceVersion": "99" } });
    let refused = || (422, json!({ "reason": "Invalid" }));
    let (sender, seen) = server(vec![refused(), (200, live.clone()), refused(), (200, json!({}))]);
    let mut lowering = lowering();
    lowering.routes[0].index = 0;
    let again = Some(render_shed(&lowering, &owner(), &Versions::default()));
    let pass = Loop { again, ..Loop::default() };
    let done = execute(&sender, plan().into_iter(), &pass).await;
    assert_eq!(pass.returned.lock().unwrap()[0], live);
    assert_eq!(whats(&seen)[..5], ["cart-vs", "cart-vs", "cart-vs", "cart-vs", "status"]);
    let seen = seen.lock().unwrap();
    assert!(seen[1].0.starts_with("GET "));
    assert!(seen[2].1.contains("/spec/http/0/") && seen[2].1.contains("shed.serin.dev"));
    assert!(seen[3].1.contains("/spec/http/0/") && !seen[3].1.contains("shed.serin.dev"));
    assert_eq!(done.failed, []);
    assert_eq!(done.halted, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_already_needs_no_deleting() {
    let answers = vec![(200, json!({})), (200, json!({})), (404, json!({})), (404, json!({}))];
    let (sender, _) = server(answers);
    let done = run(&sender).await;
    assert_eq!((done.failed, done.halted), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_shed_is_sent_again_each_second_until_one_is_answered() {
    let (sender, seen) = server(vec![(0, json!({})), (0, json!({})), (200, json!({}))]);
    let before = sender.clock().steady();
    let done = run(&sender).await;
    assert_eq!(whats(&seen), ["cart-vs", "cart-vs", "cart-vs", "status", "run", "old-run"]);
    assert_eq!((sender.clock().steady() - before).as_secs(), 2);
    assert_eq!((done.failed, done.halted), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn after_a_shed_that_nobody_answers_memory_has_a_second() {
    let (sender, seen) = server(vec![(0, json!({})); 8]);
    let before = sender.clock().steady();
    let done = run(&sender).await;
    assert_eq!(whats(&seen), ["cart-vs", "cart-vs", "cart-vs", "cart-vs", "cart-vs", "status"]);
    assert_eq!((sender.clock().steady() - before).as_secs(), 6);
    assert_eq!(done.failed, [Action::Shed, Action::Status]);
}

#[tokio::test(start_paused = true)]
async fn a_shed_waits_for_no_rate_and_for_no_wish_of_the_server() {
    let busy = (429, json!({ "retryAfter": 30 }));
    let (sender, seen) = server_at(Rate::new(0.1, 1), vec![busy]);
    drop(sender.admitted().await);
    let before = sender.clock().steady();
    let refused = run(&sender).await;
    assert_eq!((refused.failed, whats(&seen)), (vec![Action::Shed], vec!["cart-vs".to_owned()]));
    assert_eq!(sender.clock().steady(), before, "memory is not waited for");
    let taken = run(&sender).await;
    assert_eq!(taken.attempts[0].at.duration_since(at()).as_secs(), 0, "the shed is tried again at once");
    assert_eq!(
        taken.attempts[1].at.duration_since(at()).as_secs(),
        30,
        "memory obeys the server, and no rate"
    );
    assert_eq!((taken.failed, taken.halted), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn other_writes_wait_for_the_rate() {
    let (sender, seen) = server_at(Rate::new(0.1, 1), vec![]);
    let pass = Loop::default();
    let done = execute(&sender, plan().into_iter().skip(1), &pass).await;
    assert_eq!(whats(&seen), ["status", "run", "old-run"]);
    assert_eq!(*pass.waited.lock().unwrap(), [1, 2], "the loop knows what was stored before the wait");
    let seconds: Vec<i64> = done.attempts.iter().map(|one| one.at.duration_since(at()).as_secs()).collect();
    assert_eq!(seconds, [0, 10, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_its_turn_is_overtaken_by_what_cannot_wait() {
    let (sender, seen) = server_at(Rate::new(0.1, 1), vec![]);
    let before = sender.clock().steady();
    drop(sender.admitted().await);
    let done =
        execute(&sender, plan().into_iter().skip(1), &Loop { is_overtaken: true, ..Loop::default() }).await;
    assert!(whats(&seen).is_empty());
    assert_eq!((done.halted, sender.clock().steady() - before), (Some(Halt::News), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_a_name_is_looked_up_by_a_list() {
    let holder = json!({ "metadata": { "name": "cart-abc" } });
    let list = json!({ "kind": "ReplicaSetList", "apiVersion": "apps/v1", "items": [holder] });
    let (sender, seen) =
        server(vec![(409, json!({ "kind": "Status", "reason": "AlreadyExists" })), (200, list)]);
    let new = NewReplicaSet {
        name: "cart-abc".into(),
        hash: PodHash::new("abc").unwrap(),
        revision: 2,
        desired: 3,
        min_ready_seconds: 0,
        selector: Arc::default(),
        template: Arc::default(),
        annotations: BTreeMap::new(),
    };
    let plan = Plan { prepare: vec![Prepare::CreateReplicaSet(new)], ..idle() };
    let pass = Loop::default();
    execute(&sender, render(&plan, &Versions::default(), at()), &pass).await;
    let asked = seen.lock().unwrap()[1].0.clone();
    assert!(asked.ends_with("/replicasets?fieldSelector=metadata.name%3Dcart-abc"), "{asked}");
    let known = json!({ "metadata": { "name": "cart-abc" }, "kind": "ReplicaSet", "apiVersion": "apps/v1" });
    assert_eq!(*pass.returned.lock().unwrap(), [known]);
}
