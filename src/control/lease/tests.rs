use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;

use super::*;

fn lease(holder: &str, seconds: i64) -> Value {
    json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": "x"}})
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_lease_is_taken_only_when_free_released_or_unchanged_for_its_duration() {
    let decide = |object: Value, now| {
        step(Some(&Seen { object, since: seconds(100) }), "me", seconds(15), seconds(now))
    };
    assert_eq!(step(None, "me", seconds(15), seconds(0)), Action::Create);
    assert_eq!(decide(lease("me", 15), 100), Action::Renew);
    assert_eq!(decide(lease("", 1), 100), Action::Take);
    assert_eq!(decide(lease("other", 15), 115), Action::Stand);
    assert_eq!(decide(lease("other", 15), 116), Action::Take);
    assert_eq!(decide(lease("other", 60), 116), Action::Stand, "the holder's own duration counts");
    assert_eq!(decide(lease("other", -5), 116), Action::Take, "a duration that makes no sense is ours");
    assert_eq!(decide(json!({"spec": "?"}), 100), Action::Take);
    assert_eq!(decide(lease("other", 15), 3), Action::Stand, "time that went back expires nothing");
}

#[test]
fn the_age_of_a_lease_follows_its_content_and_no_clock_written_into_it() {
    let old = saw(None, lease("other", 15), seconds(10));
    let same = saw(Some(old.clone()), lease("other", 15), seconds(20));
    assert_eq!(same.since, seconds(10));
    let mut renewed = lease("other", 15);
    renewed["spec"]["renewTime"] = json!("1970-01-01T00:00:00.000000Z");
    assert_eq!(saw(Some(old), renewed, seconds(20)).since, seconds(20));
}

#[test]
fn names_and_identities_are_the_references() {
    let config = LeaseConfig::controller("argo-rollouts", "", identity("pod-1"));
    assert_eq!(config.name, "argo-rollouts-controller-lock");
    assert_eq!(
        LeaseConfig::controller("a", "blue", String::new()).name,
        "argo-rollouts-controller-lock-blue"
    );
    assert_eq!(LeaseConfig::gitops("a", "", String::new()).name, "serin-gitops");
    let uuid = config.identity.strip_prefix("pod-1_").unwrap();
    assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_ne!(config.identity, identity("pod-1"));
}

/// A Lease kept as the API server keeps it, with the faults of a bad day for each candidate.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    object: Option<Value>,
    version: u64,
    writes: Vec<String>,
    faults: BTreeMap<usize, Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Unavailable,
    /// Never answers; nothing took effect.
    Hangs,
    /// The write takes effect, the answer is lost.
    AnswerLost,
}

impl Api {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, candidate: usize, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.kept().faults.insert(candidate, fault),
            None => self.kept().faults.remove(&candidate),
        };
    }

    fn holder(&self) -> String {
        let kept = self.kept();
        let object = kept.object.as_ref();
        object.map(|o| o["spec"]["holderIdentity"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    fn client(&self, candidate: usize) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(candidate, request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, candidate: usize, request: http::Request<Body>) -> http::Response<Body> {
        let fault = self.kept().faults.get(&candidate).copied();
        match fault {
            Some(Fault::Unavailable) => return reply(500, &json!({"code": 500, "message": "down"})),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::AnswerLost) | None => {}
        }
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let (status, object) = self.kept().serve(&method, serde_json::from_slice(&body).ok());
        if fault == Some(Fault::AnswerLost) {
            std::future::pending::<()>().await;
        }
        reply(status, &object)
    }
}

impl Kept {
    fn serve(&mut self, method: &http::Method, sent: Option<Value>) -> (u16, Value) {
        let refusal =
            |code: u16, reason: &str| (code, json!({"code": code, "reason": reason, "message": reason}));
        if *method == http::Method::GET {
            return self.object.clone().map_or_else(|| refusal(404, "NotFound"), |object| (200, object));
        }
        let mut sent = sent.unwrap();
        let is_create = *method == http::Method::POST;
        match &self.object {
            Some(_) if is_create => return refusal(409, "AlreadyExists"),
            None if !is_create => return refusal(404, "NotFound"),
            Some(have) if have["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] => {
                return refusal(409, "Conflict");
            }
            _ => {}
        }
        self.version += 1;
        sent["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.writes.push(sent["spec"]["holderIdentity"].as_str().unwrap().to_owned());
        self.object = Some(sent.clone());
        (200, sent)
    }
}

fn reply(status: u16, body: &Value) -> http::Response<Body> {
    let mut body = body.clone();
    if status >= 400 {
        body["kind"] = json!("Status");
        body["status"] = json!("Failure");
    }
    http::Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).unwrap()
}

/// A clock whose wall time is `skew` hours away from the others'.
fn clock(skew_hours: i64) -> Clock {
    let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let offset = SignedDuration::from_hours(skew_hours);
    Clock::Scaled { origin, started: clock::instant(), rate: 1, offset }
}

fn stand(api: &Api, candidate: usize, skew_hours: i64) -> (Leadership, CancellationToken) {
    let shutdown = CancellationToken::new();
    let config = LeaseConfig::controller("argo-rollouts", "", format!("host_{candidate}"));
    (lead(api.client(candidate), clock(skew_hours), config, shutdown.clone()), shutdown)
}

async fn pass(time: Duration) {
    clock(0).sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_waits_until_the_lease_is_given_back() {
    let api = Api::default();
    let (mut first, stop) = stand(&api, 1, 0);
    assert!(first.acquired().await);
    let (mut second, _running) = stand(&api, 2, 0);
    pass(seconds(60)).await;
    assert!(first.is_leader() && !second.is_leader());
    let given_up = clock::instant();
    stop.cancel();
    assert_eq!(first.ended().await, State::Released);
    first.finished().await;
    assert!(second.acquired().await);
    assert!(clock::instant() - given_up <= seconds(2), "a release need not be waited out");
    assert_eq!(api.kept().object.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_leader_is_succeeded_after_the_duration_and_not_before() {
    for skew in [0, 24, -24] {
        let api = Api::default();
        let (mut first, _running) = stand(&api, 1, 0);
        assert!(first.acquired().await);
        let (mut second, _running2) = stand(&api, 2, skew);
        pass(seconds(7)).await;
        let last_renewal = clock::instant();
        first.task.abort();
        assert!(second.acquired().await);
        let gap = clock::instant() - last_renewal;
        assert!(gap > seconds(12) && gap <= seconds(20), "skew {skew} h: gap {gap:?}");
        assert!(!first.is_leader(), "the crashed one's term ended by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn leadership_is_lost_before_the_lease_expires_for_others() {
    for fault in [Fault::Unavailable, Fault::Hangs, Fault::AnswerLost] {
        let api = Api::default();
        let (mut first, _running) = stand(&api, 1, 0);
        assert!(first.acquired().await);
        api.fault(1, Some(fault));
        let cut_off = clock::instant();
        assert_eq!(first.ended().await, State::Lost, "{fault:?}");
        assert!(!first.is_leader());
        let after = clock::instant() - cut_off;
        assert!(after <= seconds(10), "{fault:?}: gave up after {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_does_not_cost_the_leadership() {
    for fault in [Fault::Unavailable, Fault::Hangs, Fault::AnswerLost] {
        let api = Api::default();
        let (mut first, _running) = stand(&api, 1, 0);
        assert!(first.acquired().await);
        let (second, _running2) = stand(&api, 2, 0);
        pass(seconds(5)).await;
        api.fault(1, Some(fault));
        pass(seconds(4)).await;
        api.fault(1, None);
        pass(seconds(60)).await;
        assert!(first.is_leader() && !second.is_leader(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_by_another_hand_ends_the_term_at_once() {
    let api = Api::default();
    let (mut first, _running) = stand(&api, 1, 0);
    assert!(first.acquired().await);
    let mut stolen = api.kept().object.clone().unwrap();
    stolen["spec"]["holderIdentity"] = json!("thief");
    assert_eq!(api.kept().serve(&http::Method::PUT, Some(stolen)).0, 200);
    let at = clock::instant();
    assert_eq!(first.ended().await, State::Lost);
    assert!(clock::instant() - at <= seconds(2));
    assert_eq!(api.holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn fields_that_are_newer_than_we_are_survive_a_renewal() {
    let api = Api::default();
    let (mut first, _running) = stand(&api, 1, 0);
    assert!(first.acquired().await);
    let mut changed = api.kept().object.clone().unwrap();
    changed["spec"]["strategy"] = json!("OldestEmulationVersion");
    changed["metadata"]["labels"] = json!({"team": "sre"});
    assert_eq!(api.kept().serve(&http::Method::PUT, Some(changed)).0, 200);
    pass(seconds(5)).await;
    let kept = api.kept().object.clone().unwrap();
    assert_eq!(kept["spec"]["strategy"], "OldestEmulationVersion");
    assert_eq!(kept["metadata"]["labels"]["team"], "sre");
    assert!(first.is_leader());
}

/// Many bad hours with crashes, outages, lost answers and skewed clocks.
#[tokio::test(start_paused = true)]
async fn never_do_two_lead_at_the_same_time() {
    let (mut took_over, mut leading) = (0, 0);
    for seed in 0..12_u64 {
        let api = Api::default();
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = move |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % sides
        };
        let mut next = 3;
        let mut all: Vec<_> =
            (0..3).map(|n| (n, stand(&api, n, i64::try_from(n).unwrap() * 7 - 9))).collect();
        for _ in 0..120 {
            let at = usize::try_from(roll(3)).unwrap();
            let candidate = all[at].0;
            match roll(9) {
                0 => api.fault(candidate, Some(Fault::Unavailable)),
                1 => api.fault(candidate, Some(Fault::Hangs)),
                2 => api.fault(candidate, Some(Fault::AnswerLost)),
                3 => {
                    // A crash in the middle of anything; the process comes back under a new identity.
                    all[at].1.0.task.abort();
                    all[at].1.0.term.end();
                    all[at] = (next, stand(&api, next, 3));
                    next += 1;
                }
                4 => all[at].1.1.cancel(),
                _ => api.fault(candidate, None),
            }
            pass(Duration::from_millis(roll(6000))).await;
            let leaders = all.iter().filter(|(_, (leadership, _))| leadership.is_leader()).count();
            assert!(leaders <= 1, "seed {seed}: {leaders} leaders");
            leading += leaders;
            if matches!(*all[at].1.0.state.borrow(), State::Lost | State::Released) {
                all[at] = (next, stand(&api, next, 0));
                next += 1;
            }
        }
        took_over +=
            api.kept().object.as_ref().map_or(0, |o| o["spec"]["leaseTransitions"].as_i64().unwrap());
    }
    // The schedules must really move the leadership about, and mostly have a leader.
    assert!(took_over > 60 && leading > 400, "{took_over} take-overs, {leading} of 1440 moments led");
}
