//! The sampler: owns every metric query. It asks what is wanted, when it is due, and keeps the answers until the
//! want is gone. It decides nothing and writes nothing.

mod decode;
mod limits;
mod query;
mod range;
mod secrets;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use jiff::Timestamp;
use kube::Client;
use sha2::{Digest, Sha256};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, JoinSet},
};
use tracing::{Instrument as _, field::Empty};

use self::{limits::Limits, query::Clients, secrets::Secrets};
use super::Target;
use crate::{
    clock::Clock,
    decide::analysis::{Outcome, Query, Sample, Want},
};

/// Queries under way at one endpoint.
const PER_ENDPOINT: usize = 20;
/// Queries under way for one run: slow ones of one run must not take all the places of an endpoint.
const PER_RUN: usize = 4;
/// Queries that are due at one moment are spread over this.
const JITTER: Duration = Duration::from_millis(500);

/// Where queries go that name no address, and how they are spread.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub address: Option<String>,
    pub seed: u64,
}

/// Why no sampler can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an HTTP client: {0}")]
pub struct Error(#[from] reqwest::Error);

/// The handle: tells what is wanted, shows what was answered. Neither waits.
#[derive(Clone)]
pub struct Sampler {
    slots: Arc<Mutex<Slots>>,
    changes: UnboundedSender<Change>,
}

/// Run and metric: at most one query at a time.
type Slot = (String, String);

#[derive(Default)]
struct Slots {
    wanted: BTreeMap<Slot, Want>,
    by_target: BTreeMap<Target, BTreeSet<Slot>>,
    answers: BTreeMap<Slot, Sample>,
}

enum Change {
    Start(Box<(Target, Want)>),
    Stop(Slot),
}

/// The side that works: to be run by whoever owns the tasks. Dropped, it takes all queries with it.
pub struct Worker {
    changes: UnboundedReceiver<Change>,
    asker: Arc<Asker>,
}

struct Asker {
    client: Client,
    clock: Clock,
    settings: Settings,
    clients: Clients,
    endpoints: Limits,
    runs: Limits,
    in_flight: Mutex<BTreeMap<Question, WeakShared<BoxFuture<'static, Answer>>>>,
    slots: Arc<Mutex<Slots>>,
    on_answer: Box<dyn Fn(&Target) + Send + Sync>,
}

/// What makes two queries the same: Secrets are of a namespace.
type Question = (Option<String>, Query);

/// A sample without its ordinal.
#[derive(Clone)]
struct Answer {
    started_at: Timestamp,
    finished_at: Timestamp,
    outcome: Outcome,
    metadata: BTreeMap<String, String>,
}

impl Sampler {
    /// `on_answer` is called after an answer was kept.
    ///
    /// # Errors
    /// The machine's TLS set-up does not work.
    pub fn new(
        client: Client,
        clock: Clock,
        settings: Settings,
        on_answer: impl Fn(&Target) + Send + Sync + 'static,
    ) -> Result<(Self, Worker), Error> {
        let slots = Arc::<Mutex<Slots>>::default();
        let (changes, receiver) = unbounded_channel();
        let asker = Asker {
            client,
            clock,
            settings,
            clients: Clients::new()?,
            endpoints: Limits::new(PER_ENDPOINT),
            runs: Limits::new(PER_RUN),
            in_flight: Mutex::default(),
            slots: Arc::clone(&slots),
            on_answer: Box::new(on_answer),
        };
        Ok((Self { slots, changes }, Worker { changes: receiver, asker: Arc::new(asker) }))
    }

    /// Replaces all that `target` wants: starts what is new, drops what is gone, with its answer.
    pub fn want(&self, target: &Target, wants: &BTreeSet<Want>) {
        let mut slots = lock(&self.slots);
        let old = slots.by_target.remove(target).unwrap_or_default();
        let new: BTreeMap<Slot, &Want> =
            wants.iter().map(|want| ((want.run.clone(), want.metric.clone()), want)).collect();
        for slot in &old {
            if slots.wanted.get(slot) != new.get(slot).copied() {
                slots.wanted.remove(slot);
                slots.answers.remove(slot);
                let _ = self.changes.send(Change::Stop(slot.clone()));
            }
        }
        for (slot, want) in &new {
            if slots.wanted.get(slot) != Some(*want) {
                slots.wanted.insert(slot.clone(), (*want).clone());
                slots.answers.remove(slot);
                // Nobody listens after the worker has been dropped: the program ends.
                let _ = self.changes.send(Change::Start(Box::new((target.clone(), (*want).clone()))));
            }
        }
        if !new.is_empty() {
            slots.by_target.insert(target.clone(), new.into_keys().collect());
        }
    }

    /// When the measurement that is wanted or was answered was due; `None` where it is another one by now.
    pub fn due(&self, run: &str, metric: &str, ordinal: u32) -> Option<Timestamp> {
        let slots = lock(&self.slots);
        let want = slots.wanted.get(&(run.to_owned(), metric.to_owned()))?;
        (want.ordinal == ordinal).then_some(want.due)
    }

    /// The answers that are there for a run, by metric.
    pub fn samples(&self, run: &str) -> BTreeMap<String, Sample> {
        let slots = lock(&self.slots);
        let from = slots.answers.range((run.to_owned(), String::new())..);
        let of_run = from.take_while(|((of, _), _)| of == run);
        of_run.map(|((_, metric), sample)| (metric.clone(), sample.clone())).collect()
    }
}

impl Worker {
    /// Asks until it is dropped.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<Slot, AbortHandle> = BTreeMap::new();
        loop {
            let change = tokio::select! {
                change = self.changes.recv() => change,
                Some(_) = tasks.join_next() => continue,
            };
            match change {
                Some(Change::Start(start)) => {
                    let (target, want) = *start;
                    let slot = (want.run.clone(), want.metric.clone());
                    let task = tasks.spawn(Arc::clone(&self.asker).measure(target, want));
                    if let Some(earlier) = running.insert(slot, task) {
                        earlier.abort();
                    }
                }
                Some(Change::Stop(slot)) => {
                    if let Some(task) = running.remove(&slot) {
                        task.abort();
                    }
                }
                None => return,
            }
        }
    }
}

impl Asker {
    async fn measure(self: Arc<Self>, target: Target, want: Want) {
        let due = want.due.saturating_add(jitter(self.settings.seed, &want)).unwrap_or(want.due);
        self.clock.sleep_until(due).await;
        let permit = self.runs.permit(&want.run).await;
        let span = tracing::info_span!(
            target: "trace",
            "sample",
            analysis_run.uid = %want.run,
            analysis_run.metric = %want.metric,
            sample.ordinal = want.ordinal,
            sample.outcome = Empty
        );
        let answer = self.shared(&want).instrument(span.clone()).await;
        span.record("sample.outcome", said(&answer.outcome));
        drop(span);
        drop(permit);
        let sample = Sample {
            ordinal: want.ordinal,
            started_at: answer.started_at,
            finished_at: answer.finished_at,
            outcome: answer.outcome,
            metadata: answer.metadata,
        };
        {
            let mut slots = lock(&self.slots);
            let slot = (want.run.clone(), want.metric.clone());
            if slots.wanted.get(&slot) != Some(&want) {
                return;
            }
            slots.answers.insert(slot, sample);
        }
        (self.on_answer)(&target);
    }

    /// The answer to a query, together with all who ask the same just now.
    fn shared(self: &Arc<Self>, want: &Want) -> impl Future<Output = Answer> + Send + use<> {
        let namespace = want.query.secrets().next().map(|_| want.namespace.clone());
        let question: Question = (namespace, want.query.clone());
        let mut in_flight = lock(&self.in_flight);
        in_flight.retain(|_, asked| asked.upgrade().is_some_and(|asked| asked.peek().is_none()));
        if let Some(asked) = in_flight.get(&question).and_then(WeakShared::upgrade) {
            return asked;
        }
        let asker = Arc::clone(self);
        let (namespace, query) = (want.namespace.clone(), want.query.clone());
        let asked: Shared<BoxFuture<'static, Answer>> =
            async move { asker.ask(&namespace, &query).await }.boxed().shared();
        if let Some(weak) = asked.downgrade() {
            in_flight.insert(question, weak);
        }
        asked
    }

    async fn ask(&self, namespace: &str, query: &Query) -> Answer {
        let permit = self.endpoints.permit(&query::endpoint(query)).await;
        let started_at = self.clock.now();
        let (outcome, metadata) = match Secrets::read(&self.client, self.clock, namespace, query).await {
            Ok(secrets) => {
                let address = self.settings.address.as_deref();
                match query::prepare(query, &secrets, address, started_at) {
                    Ok(question) => {
                        let (outcome, metadata) = query::ask(&self.clients, &question, started_at).await;
                        (query::masked(outcome, &secrets), metadata)
                    }
                    Err(outcome) => (outcome, BTreeMap::new()),
                }
            }
            Err(outcome) => (outcome, BTreeMap::new()),
        };
        drop(permit);
        Answer { started_at, finished_at: self.clock.now(), outcome, metadata }
    }
}

/// What came of a query, without what was answered.
fn said(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Value { .. } => "value",
        Outcome::Refused { .. } => "refused",
        Outcome::Outage { .. } => "outage",
        Outcome::Unresolved { .. } => "unresolved",
    }
}

/// The same for the same measurement, so that a story can be played again.
fn jitter(seed: u64, want: &Want) -> Duration {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for part in [&want.run, &want.metric] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(want.ordinal.to_le_bytes());
    let share = hash.finalize().first().copied().unwrap_or(0);
    JITTER * u32::from(share) / 256
}

/// A poisoned lock is as good as any: no code that holds one can leave half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
