//! Which Rollout is looked at next. No I/O. No clock: the time is passed in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::stores::Key;

/// Nothing is ever put off longer than this; a due time beyond it means that the clock was set back.
const HORIZON: SignedDuration = SignedDuration::from_hours(2);

/// When to look at a key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// When there is news.
    News,
    /// Then, or when there is news before.
    At(Timestamp),
    /// The attempt failed: then, and not before.
    Retry(Timestamp),
}

/// Keys with their due times; one attempt a key at a time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeMap<Key, Timestamp>,
    /// Keys whose last attempt failed: how often in a row, and when to try again. News does not shorten that, for
    /// a failing attempt writes to the ledger, and that is news.
    failing: BTreeMap<Key, (u32, Timestamp)>,
    running: BTreeSet<Key>,
}

impl Queue {
    /// There is news about `key`.
    pub(super) fn mark(&mut self, key: Key, now: Timestamp) {
        let at = self.failing.get(&key).map_or(now, |(_, until)| now.max(*until));
        self.due.entry(key).and_modify(|due| *due = at.min(*due)).or_insert(at);
    }

    /// The next key to attend to, which counts as running from here on.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Key> {
        let free = self.due.iter().filter(|(key, at)| is_due(**at, now) && !self.running.contains(*key));
        let key = free.min_by_key(|(_, at)| **at)?.0.clone();
        self.due.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// How often `key` has failed in a row.
    pub(super) fn failures(&self, key: &Key) -> u32 {
        self.failing.get(key).map_or(0, |(times, _)| *times)
    }

    /// The attempt ended.
    pub(super) fn done(&mut self, key: &Key, next: Next) {
        self.running.remove(key);
        match next {
            Next::News => drop(self.failing.remove(key)),
            Next::At(at) => {
                self.failing.remove(key);
                self.due.entry(key.clone()).and_modify(|due| *due = at.min(*due)).or_insert(at);
            }
            Next::Retry(at) => {
                let times = self.failures(key).saturating_add(1);
                self.failing.insert(key.clone(), (times, at));
                self.due.insert(key.clone(), at);
            }
        }
    }

    /// When something is due next; `None` while everything waits for news.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.due.iter().filter(|(key, _)| !self.running.contains(*key));
        waiting.map(|(_, at)| if is_due(*at, now) { now } else { *at }).min()
    }
}

fn is_due(at: Timestamp, now: Timestamp) -> bool {
    at <= now || at.duration_since(now) > HORIZON
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    #[test]
    fn one_attempt_a_key_and_news_during_it_is_not_lost() {
        let mut queue = Queue::default();
        queue.mark(key("a"), at(0));
        assert_eq!(queue.take(at(0)), Some(key("a")));
        queue.mark(key("a"), at(1));
        assert_eq!(queue.take(at(1)), None);
        assert_eq!(queue.next_due(at(1)), None);
        queue.done(&key("a"), Next::News);
        assert_eq!(queue.take(at(1)), Some(key("a")));
    }

    #[test]
    fn news_does_not_shorten_a_back_off() {
        let mut queue = Queue::default();
        queue.mark(key("a"), at(0));
        queue.take(at(0));
        queue.mark(key("a"), at(0));
        queue.done(&key("a"), Next::Retry(at(60)));
        queue.mark(key("a"), at(1));
        assert_eq!((queue.take(at(59)), queue.next_due(at(59))), (None, Some(at(60))));
        assert_eq!(queue.failures(&key("a")), 1);
        assert_eq!(queue.take(at(60)), Some(key("a")));
        queue.done(&key("a"), Next::News);
        assert_eq!(queue.failures(&key("a")), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off_for_hours() {
        let mut queue = Queue::default();
        queue.mark(key("a"), at(0));
        assert_eq!(queue.take(at(-86_400)), Some(key("a")));
    }
}
