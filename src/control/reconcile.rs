//! One pass: look, decide, check, act, remember. The clock is read once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tracing::{Instrument as _, info_span};

use super::{
    lease::Term,
    queue::{Due, Queue, Reason},
    saying::{self, Said},
};
use crate::{
    api::ProcessMemory,
    apply::{
        Executed, Halt, Observer, Sender, execute,
        render::{self, Step, Versions, render},
    },
    clock,
    decide::{
        self,
        invariants::{self, Violation},
        observed::{Exposure, ExposureHistory, Observed, OwnedRun, Settings},
        plan::{Action, Attempt, Plan, Remember, Tell},
    },
    domain::{Key, Uid},
    observe::{Stores, Target, sampler::Sampler},
    telemetry::Metrics,
};

/// Outcomes that are kept for one Rollout: more than one pass sends.
const OUTCOMES: usize = 64;

/// What passes share.
pub struct Reconciler {
    pub(super) stores: Arc<Stores>,
    pub(super) sampler: Sampler,
    pub(super) sender: Sender,
    pub(super) queue: Arc<Queue>,
    pub(super) settings: Settings,
    pub(super) versions: Versions,
    pub(super) metrics: Metrics,
    /// `None` where nobody else can lead.
    pub(super) term: Option<Term>,
    pub(super) kept: Mutex<BTreeMap<Key, Kept>>,
}

/// What the process remembers of one Rollout. All of it may be lost.
pub(super) struct Kept {
    uid: Uid,
    exposure: ExposureHistory,
    last: Vec<Attempt>,
    said: Option<Said>,
    unshed: Option<Unshed>,
}

/// Traffic that has to be taken away, and is not yet.
#[derive(Clone, Copy)]
struct Unshed {
    since: Timestamp,
    /// The end of the measurement that it is for. The mark is gone once the verdict is booked.
    sample: Option<Timestamp>,
}

/// Longest pause before a run is created again, or a measurement booked, that could not be: the next measurement, which may take
/// traffic away, is not asked for before.
const LAST_BOOKING_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// How a pass ended.
struct Ended {
    /// What to back off for; `None` when nothing failed.
    failure: Option<String>,
    is_urgent: bool,
    /// A run could not be created, or a measurement booked.
    is_unbooked: bool,
}

impl Reconciler {
    /// One pass, and what follows from it for the queue.
    pub async fn pass(&self, due: Due) {
        let began = clock::instant();
        let ended = match &due.target {
            Target::Rollout(key) => self.rollout(&due, key).await,
            Target::Run(key) => self.run(&due, key).await,
        };
        let Some(ended) = ended else {
            self.queue.forget(&due.target);
            return;
        };
        let Key { namespace, name } = due.target.key();
        let seconds = began.elapsed().as_secs_f64();
        match &due.target {
            Target::Rollout(_) => self.metrics.pass(namespace, name, seconds, ended.failure.is_some()),
            Target::Run(_) => self.metrics.run_pass(namespace, name, seconds, ended.failure.is_some()),
        }
        match ended.failure {
            None => self.queue.done(&due.target, ended.is_urgent),
            Some(cause) => self.queue.failed(&due.target, &cause, ended.is_urgent),
        }
        if ended.is_unbooked {
            let now = self.sender.clock().now();
            let again = now.saturating_add(LAST_BOOKING_PAUSE).unwrap_or(now);
            self.queue.add_at(&due.target, again, Reason::Retry);
        }
    }

    /// `None` where the Rollout is gone.
    async fn rollout(&self, due: &Due, key: &Key) -> Option<Ended> {
        let process = self.process_memory(key);
        let seen = info_span!(target: "trace", "observe").in_scope(|| self.observe(key, process.clone()));
        let Some((observed, now)) = seen else {
            self.forget(&due.target, key);
            return None;
        };
        let (mut plan, broken) = info_span!(target: "trace", "decide").in_scope(|| {
            let plan = decide::step(&observed, now);
            let broken = invariants::check(&observed, &plan, now);
            (plan, broken)
        });
        if !broken.is_empty() {
            self.refuse(key, &mut plan, &broken);
        }
        let executed = self.act(due, &plan, process, now, broken.is_empty()).await;
        self.count_lag(&observed.runs, &plan, &executed);
        if broken.is_empty() {
            self.measure(&due.target, &plan, &executed);
        }
        self.keep(key, &observed, &plan, &executed, now);
        let failure = broken.first().map(|violation| violation.rule.to_string()).or_else(|| cause(&executed));
        self.wake(&due.target, &plan, &executed, now, failure.is_some());
        Some(Ended { failure, is_urgent: plan.shed.weights.is_some(), is_unbooked: is_unbooked(&executed) })
    }

    /// What a decision sees, with the present exposure noted, and the time of it: not before the stores were read, so
    /// that nothing is taken for older than it is.
    fn observe(&self, key: &Key, process: ProcessMemory) -> Option<(Observed, Timestamp)> {
        let mut observed = self.stores.snapshot(key, process, self.settings)?;
        let now = self.sender.clock().now();
        let mut kept = self.kept();
        let uid = observed.rollout.uid.clone();
        let entry = kept.entry(key.clone()).or_insert_with(|| Kept::new(uid.clone(), now));
        if entry.uid != uid {
            // Another Rollout of the same name.
            *entry = Kept::new(uid, now);
        }
        let steady = self.sender.clock().steady();
        entry.exposure.note(now, steady, Exposure::of(&observed), self.settings.data_plane_delay);
        observed.exposure = entry.exposure.clone();
        observed.last.clone_from(&entry.last);
        Some((observed, now))
    }

    fn process_memory(&self, key: &Key) -> ProcessMemory {
        let samples = self.stores.runs_of(key).into_iter().filter_map(|run| {
            let samples = self.sampler.samples(&run.0);
            (!samples.is_empty()).then_some((run.0, samples))
        });
        let (exposure, last) = match self.kept().get(key) {
            Some(kept) => (kept.exposure.clone(), kept.last.clone()),
            // Nothing has been watched yet; the history begins with this observation.
            None => (ExposureHistory::begin(Timestamp::MAX), vec![]),
        };
        ProcessMemory { exposure, last, samples: samples.collect() }
    }

    /// A plan that breaks an invariant is not carried out, but for its shed.
    fn refuse(&self, key: &Key, plan: &mut Plan, broken: &[Violation]) {
        for violation in broken {
            self.metrics.violation(violation.rule.into());
            tracing::error!(
                rollout.namespace = %key.namespace,
                rollout.name = %key.name,
                invariant.name = %violation.rule,
                detail = %violation.detail,
                "The plan for `{key}` breaks an invariant and is not carried out, but for its shed"
            );
        }
        plan.memory = Remember::default();
        plan.prepare.clear();
        plan.expose.clear();
        plan.retire.clear();
        plan.tell.clear();
    }

    async fn act(
        &self,
        due: &Due,
        plan: &Plan,
        process: ProcessMemory,
        now: Timestamp,
        measures: bool,
    ) -> Executed {
        let mut steps = render(plan, &self.versions, now).peekable();
        if steps.peek().is_none() {
            return Executed::default();
        }
        let acting = Acting { reconciler: self, due, process, now, plan, measures };
        if !self.is_leading() {
            return Executed { halted: Some(Halt::NotLeader), ..Executed::default() };
        }
        let span = info_span!(target: "trace", "apply", requests = tracing::field::Empty);
        let executed = execute(&self.sender, steps, &acting).instrument(span.clone()).await;
        span.record("requests", executed.attempts.len());
        self.count(plan, &executed);
        executed
    }

    /// Asks for what the plan wants measured. Not where what was measured could not be stored: the answer that decided
    /// has to be there in the next pass, a second one may say something else.
    fn measure(&self, target: &Target, plan: &Plan, executed: &Executed) {
        if plan.memory.runs.iter().all(|write| is_stored(executed, &write.name)) {
            self.sampler.want(target, &plan.measure);
        }
    }

    fn is_leading(&self) -> bool {
        self.term.as_ref().is_none_or(Term::is_running)
    }

    fn count(&self, plan: &Plan, executed: &Executed) {
        let Key { namespace, name } = &plan.owner.key;
        // They are sent in order, and the rest of a plan may not be sent.
        let sent = executed.attempts.iter().filter(|attempt| attempt.action == Action::Event).count();
        let events = plan.tell.iter().filter_map(|tell| match tell {
            Tell::Event(event) => Some(event),
            Tell::SelfHeal(_) => None,
        });
        for event in events.take(sent) {
            self.metrics.event(namespace, name, &event.kind.to_string(), &event.reason);
        }
    }

    /// How long it took until traffic was away, or since when it is not. Answers with what is still to be moved.
    fn count_shed(
        &self,
        Key { namespace, name }: &Key,
        plan: &Plan,
        executed: &Executed,
        now: Timestamp,
        before: Option<Unshed>,
    ) -> Option<Unshed> {
        let lowering = plan.shed.weights.as_ref().filter(|_| executed.halted != Some(Halt::NotLeader));
        let sample =
            lowering.and_then(|lowering| lowering.mark.as_ref()).map(|mark| mark.verdict.at.min(now));
        let sample = sample.or(before.and_then(|before| before.sample));
        let done = executed.attempts.iter().rfind(|attempt| attempt.action == Action::Shed);
        let done = done.filter(|_| !executed.failed.contains(&Action::Shed));
        if let (Some(done), Some(sample)) = (done, sample) {
            self.metrics.shed(namespace, name, done.at.duration_since(sample).as_secs_f64());
        }
        let since = before.map_or(now, |before| before.since);
        let unshed = lowering.filter(|_| done.is_none()).map(|_| Unshed { since, sample });
        let seconds = unshed.map(|one| one.since.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
        self.metrics.not_moved(namespace, name, seconds);
        unshed
    }

    /// How late the measurements were that this pass stored.
    fn count_lag(&self, runs: &[OwnedRun], plan: &Plan, executed: &Executed) {
        let Key { namespace, name } = &plan.owner.key;
        for write in plan.memory.runs.iter().filter(|write| is_stored(executed, &write.name)) {
            let Some(owned) = runs.iter().find(|owned| owned.run.name == write.name) else { continue };
            let at = executed.attempts.iter().find(|one| one.action == Action::RunStatus(write.name.clone()));
            for result in &write.new.metric_results {
                let before = write.old.ordinal(&result.name);
                let due = self.sampler.due(&owned.run.uid, &result.name, before);
                if let (Some(due), Some(at), true) = (due, at, result.ordinal() > before) {
                    self.metrics.verdict_lag(namespace, name, at.at.duration_since(due).as_secs_f64());
                }
            }
        }
    }

    /// Keeps the last outcome of each action, and says what is new.
    fn keep(&self, key: &Key, observed: &Observed, plan: &Plan, executed: &Executed, now: Timestamp) {
        let mut kept = self.kept();
        let Some(entry) = kept.get_mut(key) else { return };
        saying::failures(key, &entry.last, executed);
        saying::troubles(key, plan, executed);
        for attempt in &executed.attempts {
            entry.last.retain(|known| known.action != attempt.action);
            entry.last.push(attempt.clone());
        }
        let is_set = |sent: &Attempt| sent.action == Action::Weights && sent.is_success();
        if let Some(weight) = plan.weight().filter(|_| executed.attempts.iter().any(is_set)) {
            // Not the time of the look: until the answer came the other side may have had its share.
            let now = self.sender.clock().now();
            entry.exposure.note_weight(now, weight);
            if plan.puts_back() {
                entry.exposure.note_put_back(now);
            }
        }
        let surplus = entry.last.len().saturating_sub(OUTCOMES);
        entry.last.drain(..surplus);
        entry.unshed = self.count_shed(key, plan, executed, now, entry.unshed);
        let said = Said::of(plan, executed);
        if entry.said.as_ref() != Some(&said) {
            said.log(key, observed, plan);
            entry.said = Some(said);
        }
    }

    pub(super) fn forget(&self, target: &Target, key: &Key) {
        self.sampler.want(target, &std::collections::BTreeSet::new());
        self.kept().remove(key);
        self.metrics.forget(&key.namespace, &key.name);
    }

    /// A run that no Rollout controls.
    async fn run(&self, due: &Due, key: &Key) -> Option<Ended> {
        let now = self.sender.clock().now();
        let Some(stored) = self.stores.run_alone(key) else {
            self.sampler.want(&due.target, &std::collections::BTreeSet::new());
            self.metrics.forget_run(&key.namespace, &key.name);
            return None;
        };
        let samples = self.sampler.samples(&stored.uid.0);
        let plan = super::alone::plan(&stored.slim.owned, &samples, now, self.settings.outage);
        let executed = self.act(due, &plan, self.process_memory(key), now, true).await;
        self.count_lag(std::slice::from_ref(&stored.slim.owned), &plan, &executed);
        self.measure(&due.target, &plan, &executed);
        saying::failures(key, &[], &executed);
        let failure = cause(&executed);
        self.wake(&due.target, &plan, &executed, now, failure.is_some());
        Some(Ended { failure, is_urgent: false, is_unbooked: is_unbooked(&executed) })
    }

    /// Asks for the next pass. After a failure the pause of the queue counts, not a wish to go on at once.
    fn wake(&self, target: &Target, plan: &Plan, executed: &Executed, now: Timestamp, has_failed: bool) {
        let is_ours = executed.halted != Some(Halt::NotLeader);
        if let Some(wake) = plan.wake.filter(|wake| is_ours && (!has_failed || wake.at > now)) {
            self.queue.add_at(target, wake.at, Reason::Wake);
        }
    }

    /// A poisoned lock is as good as any: no code that holds it can leave half a change behind.
    fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(uid: Uid, now: Timestamp) -> Self {
        Self { uid, exposure: ExposureHistory::begin(now), last: vec![], said: None, unshed: None }
    }
}

/// What to back off for. A plan that was overtaken, or is another replica's business, did not fail.
fn cause(executed: &Executed) -> Option<String> {
    let action = executed.failed.first()?;
    let attempt = executed.attempts.iter().rev().find(|attempt| attempt.action == *action)?;
    Some(format!("{action:?} {}", attempt.status))
}

fn is_unbooked(executed: &Executed) -> bool {
    executed.failed.iter().any(|action| matches!(action, Action::CreateRun(_) | Action::RunStatus(_)))
}

/// What a running pass answers to `execute`.
struct Acting<'a> {
    reconciler: &'a Reconciler,
    due: &'a Due,
    /// What the plan was made from, so that a shed is made again from the very samples that decided.
    process: ProcessMemory,
    now: Timestamp,
    plan: &'a Plan,
    /// The plan is one to measure by.
    measures: bool,
}

impl Observer for Acting<'_> {
    fn halt(&self) -> Option<Halt> {
        if !self.reconciler.is_leading() {
            return Some(Halt::NotLeader);
        }
        self.due.meanwhile.is_outdated().then_some(Halt::News)
    }

    /// What may lead to a shed does not wait with the rest.
    fn waits(&self, done: &Executed) {
        if self.measures {
            self.reconciler.measure(&self.due.target, self.plan, done);
        }
    }

    async fn overtaken(&self) {
        loop {
            self.due.meanwhile.stirred().await;
            if self.halt().is_some() || (self.plan.shed.weights.is_none() && self.must_shed()) {
                return;
            }
        }
    }

    fn again(&self, live: &Value) -> Option<Step> {
        let Target::Rollout(key) = &self.due.target else { return None };
        let process = self.process.clone();
        let stores = &self.reconciler.stores;
        let observed = stores.snapshot_with(key, live, process, self.reconciler.settings)?;
        let plan = decide::step(&observed, self.now);
        let lowering = plan.shed.weights.as_ref()?;
        Some(render::shed(lowering, &plan.owner, &self.reconciler.versions))
    }

    /// The watch will not tell of what is known already: the next look at it is asked for here.
    fn returned(&self, object: Value) {
        for call in self.reconciler.stores.overlay(object) {
            self.reconciler.queue.add(&call.target, Reason::Change);
        }
    }
}

/// Whether the server took the new status of the run.
fn is_stored(executed: &Executed, run: &str) -> bool {
    let stored = Action::RunStatus(run.to_owned());
    executed.attempts.iter().any(|attempt| attempt.action == stored && attempt.is_success())
}

impl Acting<'_> {
    /// Whether traffic has to be taken away by what is there now.
    fn must_shed(&self) -> bool {
        let Target::Rollout(key) = &self.due.target else { return false };
        let seen = self.reconciler.observe(key, self.reconciler.process_memory(key));
        seen.is_some_and(|(observed, now)| decide::step(&observed, now).shed.weights.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_that_nobody_answered_is_not_stored() {
        let sent = |status| {
            let (action, at) = (Action::RunStatus("run".into()), Timestamp::UNIX_EPOCH);
            let attempt = Attempt { action, at, status, reason: String::new(), message: String::new() };
            Executed { attempts: vec![attempt], ..Executed::default() }
        };
        assert!(is_stored(&sent(200), "run"));
        assert!(!is_stored(&sent(200), "another"));
        for status in [0, 409, 500] {
            assert!(!is_stored(&sent(status), "run"), "{status}");
        }
    }
}
