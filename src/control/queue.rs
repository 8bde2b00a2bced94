//! Which pass is due when, and why. One pass at a time per key, failing rollouts first, back-off by key and error.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::{clock::Clock, observe::Target};

/// First pause after a failure; doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// The same while traffic has to be taken away: users are hurt meanwhile.
const LAST_URGENT_PAUSE: Duration = Duration::from_millis(500);
/// Longest sleep without a look at the clock: the machine's clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Why a pass is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum Reason {
    /// A query was answered.
    Answer,
    /// Somebody wants something else: a new spec, or an abort.
    News,
    /// An object changed.
    Change,
    /// The last pass asked for it.
    Wake,
    /// The last pass failed.
    Retry,
    /// Everything is looked at from time to time.
    Resync,
}

/// A pass to be made now.
#[derive(Clone, Debug)]
pub struct Due {
    pub target: Target,
    pub reasons: BTreeSet<Reason>,
    /// Turns true when an answer or news arrives while the pass is running.
    pub outdated: Arc<AtomicBool>,
}

/// The queue. Its methods do not wait, but for `next`.
pub struct Queue {
    clock: Clock,
    items: Mutex<BTreeMap<Target, Item>>,
    changed: Notify,
}

#[derive(Default)]
struct Item {
    due: Option<Timestamp>,
    reasons: BTreeSet<Reason>,
    is_urgent: bool,
    /// Set while a pass is running.
    running: Option<Arc<AtomicBool>>,
    failures: BTreeMap<String, u32>,
}

impl Item {
    /// Answers and news before everything else of the same urgency: they may be verdicts.
    fn rank(&self) -> (bool, bool) {
        let may_decide = self.reasons.contains(&Reason::Answer) || self.reasons.contains(&Reason::News);
        (!self.is_urgent, !may_decide)
    }
}

impl Queue {
    pub fn new(clock: Clock) -> Self {
        Self { clock, items: Mutex::default(), changed: Notify::new() }
    }

    /// Asks for a pass at once.
    pub fn add(&self, target: &Target, reason: Reason) {
        self.add_at(target, self.clock.now(), reason);
    }

    /// Asks for a pass at `due`, or earlier if one is due earlier.
    pub fn add_at(&self, target: &Target, due: Timestamp, reason: Reason) {
        let mut items = self.lock();
        let item = items.entry(target.clone()).or_default();
        item.due = Some(item.due.map_or(due, |earlier| earlier.min(due)));
        item.reasons.insert(reason);
        if let (Some(outdated), Reason::Answer | Reason::News) = (&item.running, reason) {
            outdated.store(true, Ordering::SeqCst);
        }
        drop(items);
        self.changed.notify_one();
    }

    /// Waits for the next pass that is due. Whoever takes it calls `done` afterwards. Cancel-safe.
    pub async fn next(&self) -> Due {
        loop {
            let now = self.clock.now();
            let changed = self.changed.notified();
            let wait = match self.take(now) {
                Ok(due) => return due,
                Err(earliest) => earliest.map(|at| at.duration_since(now)),
            };
            let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(LONGEST_SLEEP);
            tokio::select! {
                () = changed => {}
                () = self.clock.sleep(wait.min(LONGEST_SLEEP)) => {}
            }
        }
    }

    /// The best of what is due, or when the next will be.
    fn take(&self, now: Timestamp) -> Result<Due, Option<Timestamp>> {
        let mut items = self.lock();
        let waiting = || items.iter().filter(|(_, item)| item.running.is_none());
        let due = waiting().filter_map(|(target, item)| Some((item.due?, item.rank(), target)));
        let best = due.filter(|(at, _, _)| *at <= now).min_by_key(|(at, rank, _)| (*rank, *at));
        let Some(target) = best.map(|(_, _, target)| target.clone()) else {
            return Err(waiting().filter_map(|(_, item)| item.due).min());
        };
        let outdated = Arc::<AtomicBool>::default();
        let item = items.entry(target.clone()).or_default();
        item.due = None;
        item.running = Some(Arc::clone(&outdated));
        let reasons = std::mem::take(&mut item.reasons);
        Ok(Due { target, reasons, outdated })
    }

    /// The pass has ended well: earlier failures are forgotten.
    pub fn done(&self, target: &Target, is_urgent: bool) {
        self.end(target, |item| {
            item.failures.clear();
            item.is_urgent = is_urgent;
        });
    }

    /// The pass has failed for `cause`: another one after a pause, which grows with each failure of the same cause.
    pub fn failed(&self, target: &Target, cause: &str, is_urgent: bool) {
        let now = self.clock.now();
        self.end(target, |item| {
            item.failures.retain(|known, _| known == cause);
            let count = item.failures.entry(cause.to_owned()).or_default();
            let pause = SignedDuration::try_from(pause(*count, is_urgent)).unwrap_or(SignedDuration::ZERO);
            *count = count.saturating_add(1);
            let due = now.saturating_add(pause).unwrap_or(now);
            item.due = Some(item.due.map_or(due, |earlier| earlier.min(due)));
            item.reasons.insert(Reason::Retry);
            item.is_urgent = is_urgent;
        });
    }

    /// The object is gone.
    pub fn forget(&self, target: &Target) {
        self.end(target, |item| {
            item.failures.clear();
            item.is_urgent = false;
        });
    }

    /// Passes that are due and wait for their turn.
    pub fn depth(&self) -> usize {
        let now = self.clock.now();
        let items = self.lock();
        items.values().filter(|item| item.running.is_none() && item.due.is_some_and(|due| due <= now)).count()
    }

    fn end(&self, target: &Target, change: impl FnOnce(&mut Item)) {
        let mut items = self.lock();
        if let Some(item) = items.get_mut(target) {
            item.running = None;
            change(item);
            if item.due.is_none() && item.failures.is_empty() && !item.is_urgent {
                items.remove(target);
            }
        }
        drop(items);
        self.changed.notify_one();
    }

    /// A poisoned lock is as good as any: no code that holds it can leave half a change behind.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait after a failure that `before` others of its cause preceded.
pub fn pause(before: u32, is_urgent: bool) -> Duration {
    let last = if is_urgent { LAST_URGENT_PAUSE } else { LAST_PAUSE };
    FIRST_PAUSE.saturating_mul(1_u32 << before.min(20)).min(last)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::domain::Key;

    fn target(name: &str) -> Target {
        Target::Rollout(Key::new("shop", name))
    }

    fn queue() -> Queue {
        Queue::new(Clock::scaled("2026-01-01T00:00:00Z".parse().unwrap(), 1))
    }

    fn later(queue: &Queue, seconds: i64) -> Timestamp {
        queue.clock.now() + SignedDuration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_comes_when_it_is_due_and_the_earlier_time_counts() {
        let queue = queue();
        let began = queue.clock.now();
        queue.add_at(&target("a"), later(&queue, 300), Reason::Wake);
        queue.add_at(&target("a"), later(&queue, 120), Reason::Wake);
        queue.add_at(&target("a"), later(&queue, 900), Reason::Resync);
        let due = queue.next().await;
        assert_eq!(queue.clock.now().duration_since(began).as_secs(), 120);
        assert_eq!(due.reasons, BTreeSet::from([Reason::Wake, Reason::Resync]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_pass_at_a_time_for_a_key_and_nothing_is_lost_meanwhile() {
        let queue = queue();
        queue.add(&target("a"), Reason::Change);
        let first = queue.next().await;
        queue.add(&target("a"), Reason::Change);
        assert!(queue.next().now_or_never().is_none());
        assert!(!first.outdated.load(Ordering::SeqCst));
        queue.done(&target("a"), false);
        assert_eq!(queue.next().await.target, target("a"));
        queue.done(&target("a"), false);
        assert!(queue.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_makes_the_running_pass_out_of_date() {
        let queue = queue();
        queue.add(&target("a"), Reason::Change);
        let running = queue.next().await;
        queue.add(&target("b"), Reason::Answer);
        assert!(!running.outdated.load(Ordering::SeqCst));
        queue.add(&target("a"), Reason::Answer);
        assert!(running.outdated.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn failing_rollouts_come_first_then_answers_then_the_rest() {
        let queue = queue();
        for name in ["a", "b", "urgent"] {
            queue.add(&target(name), Reason::Change);
        }
        for _ in 0..3 {
            let due = queue.next().await;
            queue.done(&due.target, due.target == target("urgent"));
        }
        queue.add(&target("a"), Reason::Change);
        queue.clock.sleep(Duration::from_secs(1)).await;
        queue.add(&target("b"), Reason::Answer);
        queue.add(&target("urgent"), Reason::Change);
        let order: Vec<Target> = [queue.next().await, queue.next().await, queue.next().await]
            .into_iter()
            .map(|due| due.target)
            .collect();
        assert_eq!(order, [target("urgent"), target("b"), target("a")]);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_with_the_same_failure_and_begin_anew_with_another() {
        let queue = queue();
        queue.add(&target("a"), Reason::Change);
        let mut pauses = vec![];
        for cause in ["Status 409", "Status 409", "Status 409", "Shed 500", "Shed 500"] {
            queue.next().await;
            let before = queue.clock.now();
            queue.failed(&target("a"), cause, false);
            let due = queue.lock()[&target("a")].due.unwrap();
            pauses.push(due.duration_since(before).as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 100, 200]);
        for _ in 0..20 {
            queue.next().await;
            queue.failed(&target("a"), "Shed 500", false);
        }
        let due = queue.lock()[&target("a")].due.unwrap();
        assert_eq!(due.duration_since(queue.clock.now()).as_secs(), 30);
    }

    #[test]
    fn a_shed_is_tried_again_twice_a_second() {
        let pauses = [0, 1, 2, 3, 40].map(|before| pause(before, true).as_millis());
        assert_eq!(pauses, [100, 200, 400, 500, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_does_not_wait_for_the_pause_of_a_failure() {
        let queue = queue();
        queue.add(&target("a"), Reason::Change);
        queue.next().await;
        queue.failed(&target("a"), "x", false);
        queue.add(&target("a"), Reason::News);
        assert!(queue.next().now_or_never().is_some());
    }
}
