//! Who leads: one Lease, with the name, identity and times of the reference controller, so that it and serin never
//! both act during a take-over.
//!
//! Nobody compares wall clocks. A Lease has expired when *we* have seen no change of it for its duration, on our
//! own monotonic clock; and we stop leading a renew deadline after we *began* the last renewal that succeeded,
//! which is before anyone else can take it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Clock},
    telemetry::logging,
};

/// The reference controller's Lease.
const CONTROLLER_LOCK: &str = "argo-rollouts-controller-lock";
/// The Git lane has a Lease of its own: it may run elsewhere.
const GITOPS_LOCK: &str = "serin-gitops";
/// Limit of one request. Under the renew deadline, so that one lost answer does not cost the leadership.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);

/// Which Lease, who asks for it, and how patient everyone is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    pub namespace: String,
    pub name: String,
    /// `<hostname>_<uuid>`; see [`identity`]. Unique to this process.
    pub identity: String,
    /// How long others wait after the last renewal that they saw. 15 s by default.
    pub duration: Duration,
    /// How long we go on leading after the last renewal that succeeded. 10 s; must be below `duration`.
    pub renew_deadline: Duration,
    /// Pause between two attempts. 2 s.
    pub retry_period: Duration,
}

impl LeaseConfig {
    /// The Lease of the controller. An instance id that is not empty makes it another Lease.
    pub fn controller(namespace: &str, instance_id: &str, identity: String) -> Self {
        Self::named(CONTROLLER_LOCK, namespace, instance_id, identity)
    }

    /// The Lease of `serin gitops`.
    pub fn gitops(namespace: &str, instance_id: &str, identity: String) -> Self {
        Self::named(GITOPS_LOCK, namespace, instance_id, identity)
    }

    fn named(name: &str, namespace: &str, instance_id: &str, identity: String) -> Self {
        let suffix = if instance_id.is_empty() { String::new() } else { format!("-{instance_id}") };
        Self {
            namespace: namespace.to_owned(),
            name: format!("{name}{suffix}"),
            identity,
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
}

/// `<hostname>_<uuid>` with a fresh uuid: a restarted process is another candidate.
pub fn identity(hostname: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    // Each RandomState is keyed by the system's random numbers; two of their hashes are a uuid's worth of them.
    let [high, low] = [0, 1].map(|n: u64| RandomState::new().hash_one((n, std::process::id())));
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0x0fff);
    let (d, e) = (((low >> 48) & 0x3fff) | 0x8000, low & 0xffff_ffff_ffff);
    format!("{hostname}_{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

/// How the candidacy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody else leads, or nobody could be asked yet.
    Standby,
    Leading,
    /// Led, and may not any more. Final: the process ends and comes back as another candidate.
    Lost,
    /// Shut down; the Lease was given back if it was ours.
    Released,
}

/// A candidacy: whether we lead, now and for how long.
#[derive(Debug)]
pub struct Leadership {
    state: watch::Receiver<State>,
    term: Term,
    unheard: Unheard,
    task: JoinHandle<()>,
}

/// Why nobody knows yet who leads; `None` from the first answer of the API server on.
type Unheard = Arc<Mutex<Option<String>>>;

impl Leadership {
    /// True while this process may act. Cheap, and right even when the task that renews is starved. Asked before
    /// every request that changes something.
    pub fn is_leader(&self) -> bool {
        self.term.is_running()
    }

    /// The same question, for those who outlive a borrow.
    pub fn term(&self) -> Term {
        self.term.clone()
    }

    /// Why nobody could be asked yet who leads. Nothing from the first answer on: what a standby has to do is to wait,
    /// and that it does. For a readiness probe.
    pub fn unheard(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let unheard = Arc::clone(&self.unheard);
        move || unheard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until we lead. False when the candidacy ended first.
    pub async fn acquired(&mut self) -> bool {
        let waited = self.state.wait_for(|state| *state != State::Standby).await;
        waited.is_ok_and(|state| *state == State::Leading)
    }

    /// Waits until the candidacy is over, and says how it ended.
    pub async fn ended(&mut self) -> State {
        let over = |state: &State| matches!(state, State::Lost | State::Released);
        self.state.wait_for(over).await.map_or(State::Lost, |state| *state)
    }

    /// Waits until the Lease was given back. Called after `shutdown` was cancelled.
    pub async fn finished(self) {
        // A panic in the task has already ended the term by its deadline.
        let _ = self.task.await;
    }
}

/// Until when we may act, on the clock of the candidacy.
#[derive(Clone, Debug)]
pub struct Term {
    time: Monotonic,
    until_ms: Arc<AtomicU64>,
}

impl Term {
    /// True while this process may act.
    pub fn is_running(&self) -> bool {
        !self.left().is_zero()
    }

    fn left(&self) -> Duration {
        Duration::from_millis(self.until_ms.load(Ordering::SeqCst)).saturating_sub(self.time.now())
    }

    fn extend(&self, until: Duration) {
        self.until_ms.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn end(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }
}

/// Time since the candidacy began, at the rate of its clock. Steps of the wall clock do not touch it.
#[derive(Clone, Copy, Debug)]
struct Monotonic {
    clock: Clock,
    started: Instant,
}

impl Monotonic {
    fn now(&self) -> Duration {
        let elapsed = clock::instant().saturating_duration_since(self.started);
        match self.clock {
            Clock::Wall => elapsed,
            Clock::Scaled { rate, .. } => elapsed.saturating_mul(rate.max(1)),
        }
    }
}

/// What the API server last said of the Lease.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    object: Value,
    /// When we first heard of this content (not of this resourceVersion: labels may change without a renewal).
    since: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// There is none.
    Create,
    /// It is free, released or expired.
    Take,
    /// It is ours.
    Renew,
    /// Somebody else holds it.
    Stand,
}

/// The decision, on what was seen and the time. `seen` is `None` when there is no Lease.
fn step(seen: Option<&Seen>, identity: &str, default_duration: Duration, now: Duration) -> Action {
    let Some(seen) = seen else { return Action::Create };
    let spec = &seen.object["spec"];
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    if holder == identity {
        return Action::Renew;
    }
    let declared = spec["leaseDurationSeconds"].as_u64().filter(|seconds| *seconds > 0);
    let duration = declared.map_or(default_duration, Duration::from_secs);
    if holder.is_empty() || now.saturating_sub(seen.since) > duration { Action::Take } else { Action::Stand }
}

/// Follows the object: the same content keeps its age.
fn saw(before: Option<Seen>, object: Value, now: Duration) -> Seen {
    let since = match before {
        Some(old) if old.object["spec"] == object["spec"] => old.since,
        _ => now,
    };
    Seen { object, since }
}

/// Stands as a candidate until the leadership is lost or `shutdown` is cancelled; then gives the Lease back.
///
/// Cancel `shutdown` only after everything that acts on the leadership has ended: from then on another replica
/// may lead at once.
pub fn lead(client: Client, clock: Clock, config: LeaseConfig, shutdown: CancellationToken) -> Leadership {
    let term =
        Term { time: Monotonic { clock, started: clock::instant() }, until_ms: Arc::new(AtomicU64::new(0)) };
    let (tell, state) = watch::channel(State::Standby);
    let unheard = Arc::new(Mutex::new(Some(format!("the Lease `{}` has not been read yet", config.name))));
    let candidate = Candidate {
        client,
        clock,
        config,
        term: term.clone(),
        seen: None,
        warned: false,
        unheard: Arc::clone(&unheard),
        told: None,
    };
    let task = tokio::spawn(async move {
        let ended = candidate.run(&tell, shutdown).await;
        tell.send_replace(ended);
    });
    Leadership { state, term, unheard, task }
}

/// Why an attempt brought nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the API server did not answer in time")]
    TimedOut,
    #[error("another candidate changed the Lease first")]
    Conflict,
    #[error("the Lease could not be built as a request")]
    Build(#[source] http::Error),
    #[error("the API server refused: {0}")]
    Refused(#[source] Box<kube::Error>),
    #[error("the API server cannot be reached: {0}")]
    Unreached(String),
}

struct Candidate {
    client: Client,
    clock: Clock,
    config: LeaseConfig,
    term: Term,
    seen: Option<Seen>,
    warned: bool,
    unheard: Unheard,
    /// Whom the log names as the leader.
    told: Option<String>,
}

impl Candidate {
    async fn run(mut self, tell: &watch::Sender<State>, shutdown: CancellationToken) -> State {
        loop {
            let was_leading = *tell.borrow() == State::Leading;
            let attempt = tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.release(was_leading).await,
                attempt = self.attempt(was_leading) => attempt,
            };
            let leads = self.note(attempt);
            if was_leading && !leads {
                self.term.end();
                let (name, holder) = (&self.config.name, self.holder().unwrap_or_default());
                tracing::error!(
                    lease.name = %name, lease.holder = holder,
                    "Lost the Lease `{name}`, which `{holder}` holds by what was last seen: nothing is done any more"
                );
                return State::Lost;
            }
            if leads && !was_leading {
                tracing::info!(
                    lease.name = %self.config.name, lease.identity = %self.config.identity,
                    "Leading: took the Lease `{}`", self.config.name
                );
                tell.send_replace(State::Leading);
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.release(leads).await,
                () = self.clock.sleep(self.pause(leads)) => {}
            }
        }
    }

    /// Until the next attempt; never past the end of our term.
    fn pause(&self, leads: bool) -> Duration {
        if leads { self.config.retry_period.min(self.term.left()) } else { self.config.retry_period }
    }

    /// Logs what an attempt came to; true when we lead after it.
    fn note(&mut self, attempt: Result<bool, Failure>) -> bool {
        match attempt {
            Ok(held) => {
                if std::mem::take(&mut self.warned) {
                    let name = &self.config.name;
                    tracing::info!(lease.name = %name, "The Lease `{name}` can be read and written again");
                }
                *self.unheard.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.stand_by(held);
                held
            }
            Err(failure) => {
                if let Some(why) = &mut *self.unheard.lock().unwrap_or_else(PoisonError::into_inner) {
                    *why = format!("the Lease `{}` could not be read yet: {failure}", self.config.name);
                }
                if !std::mem::replace(&mut self.warned, true) {
                    let name = &self.config.name;
                    tracing::warn!(lease.name = %name, error = %failure, "Could not hold the Lease `{name}`: {failure}");
                }
                self.term.is_running()
            }
        }
    }

    /// Says whom we wait for, each time that it is somebody else.
    fn stand_by(&mut self, is_leading: bool) {
        // One whose term is running has just lost the Lease, and that is another line.
        let holder = self.holder().filter(|_| !is_leading && !self.term.is_running()).map(str::to_owned);
        if let Some(holder) = holder.as_ref().filter(|holder| self.told.as_ref() != Some(*holder)) {
            tracing::info!(
                lease.name = %self.config.name, lease.holder = %holder,
                "Standing by: `{holder}` holds the Lease `{}`", self.config.name
            );
        }
        self.told = holder;
    }

    /// Who holds the Lease, by what was seen last.
    fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(|seen| seen.object["spec"]["holderIdentity"].as_str())
    }

    /// One round; true when the Lease is ours after it.
    async fn attempt(&mut self, is_leading: bool) -> Result<bool, Failure> {
        if is_leading && !self.term.is_running() {
            return Ok(false);
        }
        // A leader renews what it wrote itself; only a conflict makes it look.
        if !is_leading || self.seen.is_none() {
            self.look().await?;
        }
        match self.act().await {
            Err(Failure::Conflict) => {
                self.look().await?;
                self.act().await
            }
            done => done,
        }
    }

    async fn act(&mut self) -> Result<bool, Failure> {
        let now = self.term.time.now();
        let action = step(self.seen.as_ref(), &self.config.identity, self.config.duration, now);
        let transitions = |spec: &Value| spec["leaseTransitions"].as_i64().unwrap_or(0);
        let stamp = format!("{:.6}", self.clock.now());
        let spec = self.seen.as_ref().map_or(Value::Null, |seen| seen.object["spec"].clone());
        let (acquired, count) = match action {
            Action::Stand => return Ok(false),
            Action::Create => (json!(stamp), 0),
            Action::Take => (json!(stamp), transitions(&spec).saturating_add(1)),
            Action::Renew => (spec["acquireTime"].clone(), transitions(&spec)),
        };
        let content = json!({
            "holderIdentity": self.config.identity,
            "leaseDurationSeconds": self.config.duration.as_secs().max(1),
            "acquireTime": acquired,
            "renewTime": stamp,
            "leaseTransitions": count,
        });
        let object = self.write(content).await?;
        // Counted from before the request: others may have seen the renewal that early, never earlier.
        self.term.extend(now + self.config.renew_deadline);
        self.seen = Some(saw(self.seen.take(), object, now));
        Ok(true)
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let path = format!("{}/{}", self.config.collection(), self.config.name);
        let request = http::Request::get(path).body(vec![]).map_err(Failure::Build)?;
        let answer = self.ask(request).await;
        let now = self.term.time.now();
        match answer {
            Ok(object) => self.seen = Some(saw(self.seen.take(), object, now)),
            Err(Failure::Refused(error)) if status_code(&error) == 404 => self.seen = None,
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Creates or replaces the Lease with `content` as its spec, on the version that was seen.
    async fn write(&self, content: Value) -> Result<Value, Failure> {
        let path = self.config.collection();
        let (verb, object) = if let Some(seen) = &self.seen {
            let mut object = seen.object.clone();
            merge(&mut object["spec"], content);
            (http::Request::put(format!("{path}/{}", self.config.name)), object)
        } else {
            let object = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": self.config.name, "namespace": self.config.namespace},
                "spec": content,
            });
            (http::Request::post(path), object)
        };
        let request = verb
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(object.to_string().into_bytes())
            .map_err(Failure::Build)?;
        self.ask(request).await
    }

    async fn ask(&self, request: http::Request<Vec<u8>>) -> Result<Value, Failure> {
        let limit = REQUEST_LIMIT.min(self.config.renew_deadline / 2);
        // A term that has ended is not brought back by an answer that comes late.
        let left = self.term.left();
        let limit = if left.is_zero() { limit } else { limit.min(left) };
        let answer = self.clock.timeout(limit, self.client.request::<Value>(request)).await;
        answer.ok_or(Failure::TimedOut)?.map_err(|error| match status_code(&error) {
            409 => Failure::Conflict,
            0 => Failure::Unreached(logging::with_causes(&error)),
            _ => Failure::Refused(Box::new(error)),
        })
    }

    /// Gives the Lease back, so that the next leader need not wait for its expiry.
    async fn release(mut self, is_ours: bool) -> State {
        self.term.end();
        if !is_ours {
            return State::Released;
        }
        for _ in 0..2 {
            let freed = json!({
                "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": format!("{:.6}", self.clock.now()),
            });
            match self.write(freed).await {
                Ok(_) => {
                    tracing::info!(lease.name = %self.config.name, "Gave the Lease `{}` back", self.config.name);
                    break;
                }
                // A renewal of ours that was cut off may have arrived after all.
                Err(Failure::Conflict) if self.look().await.is_ok() => {
                    let holder = self.seen.as_ref().map(|seen| &seen.object["spec"]["holderIdentity"]);
                    if holder.and_then(Value::as_str) != Some(&self.config.identity) {
                        break;
                    }
                }
                Err(failure) => {
                    tracing::warn!(lease.name = %self.config.name, error = %failure, "Could not give the Lease back");
                    break;
                }
            }
        }
        State::Released
    }
}

/// Sets the fields of `content` in `spec` and leaves the others: a Lease may carry fields newer than we are.
fn merge(spec: &mut Value, content: Value) {
    if !spec.is_object() {
        *spec = json!({});
    }
    if let (Some(have), Value::Object(new)) = (spec.as_object_mut(), content) {
        have.extend(new);
    }
}

fn status_code(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error { status.code } else { 0 }
}

#[cfg(test)]
mod tests;
