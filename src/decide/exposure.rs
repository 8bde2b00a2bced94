//! Who carries traffic now, and who may still carry some because the data plane lags behind.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    observed::{Exposure, ExposureHistory, Observed, Side},
    record::Record,
};
use crate::domain::{PodHash, Weight};

/// A clock that is slewed, as NTP does it, is off by far less between two passes.
const STEP_SECONDS: f64 = 0.5;

impl Exposure {
    /// What is observed right now. Where the routes cannot be told, both sides count as carrying everything.
    pub fn of(observed: &Observed) -> Self {
        let (canary, stable) = match &observed.virtual_service {
            Some(service) if service.routes.is_ok() => {
                (service.share(Side::Canary), service.share(Side::Stable))
            }
            Some(_) => (Weight::FULL, Weight::FULL),
            None => (Weight::ZERO, Weight::ZERO),
        };
        Self {
            canary,
            stable,
            canary_leads_to: observed.canary_service.as_ref().and_then(|service| service.selected.clone()),
            stable_leads_to: observed.stable_service.as_ref().and_then(|service| service.selected.clone()),
        }
    }

    pub fn share(&self, side: Side) -> Weight {
        match side {
            Side::Canary => self.canary,
            Side::Stable => self.stable,
            Side::Other => Weight::ZERO,
        }
    }

    pub fn leads_to(&self, side: Side) -> Option<&PodHash> {
        match side {
            Side::Canary => self.canary_leads_to.as_ref(),
            Side::Stable => self.stable_leads_to.as_ref(),
            Side::Other => None,
        }
    }

    /// The share that reaches pods of `hash`. A Service without a hash in its selector reaches every version, so
    /// its whole share counts.
    pub fn of_hash(&self, hash: &PodHash) -> Weight {
        let part = |side| match self.leads_to(side) {
            Some(other) if other != hash => 0,
            Some(_) | None => i64::from(self.share(side).percent()),
        };
        Weight::new((part(Side::Canary) + part(Side::Stable)).min(100)).unwrap_or(Weight::FULL)
    }
}

impl ExposureHistory {
    /// A history that begins now.
    pub fn begin(now: Timestamp) -> Self {
        Self { since: now, noted: None, seen: vec![], put_back: vec![] }
    }

    /// Adds what a request of ours has made of the canary's weight by `now`: it may be over before anybody looks, and
    /// proxies may have been told of it.
    pub fn note_weight(&mut self, now: Timestamp, canary: Weight) {
        let Some((_, last)) = self.seen.last() else { return };
        let exposure = Exposure { canary, stable: canary.complement(), ..last.clone() };
        if *last != exposure {
            self.seen.push((now, exposure));
        }
    }

    /// Adds that a weight was put back at `now`.
    pub fn note_put_back(&mut self, now: Timestamp) {
        self.put_back.push(now);
        let surplus = self.put_back.len().saturating_sub(Record::KEPT_REASSERTS);
        self.put_back.drain(..surplus);
    }

    /// Adds what is seen at `now` and forgets what is older than `delay`, but for the newest of those. `steady` is the
    /// time of a clock that nobody can set: where the two do not agree on how much has passed, `now` has stepped, and
    /// nothing is known of how long ago anything was.
    pub fn note(&mut self, now: Timestamp, steady: Duration, exposure: Exposure, delay: Duration) {
        if now < self.since || self.has_stepped(now, steady) {
            *self = Self { put_back: std::mem::take(&mut self.put_back), ..Self::begin(now) };
        }
        self.noted = Some((now, steady));
        let horizon = before(now, delay);
        let news = self.news(horizon, exposure);
        // Once is enough of each: whoever changes weights all the time makes the history no longer than there are pairs.
        self.seen.retain(|(_, seen)| !news.contains(seen));
        self.seen.extend(news.into_iter().map(|one| (now, one)));
        let keep_from = self.seen.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        self.seen.drain(..keep_from);
    }

    /// What there was since the last look, `exposure` last; nothing where all is as it was. Where weights or a Service are not as
    /// they were nobody has seen since when: a watch may have been silent, so what is new may have met all that was seen
    /// since `horizon`.
    fn news(&self, horizon: Timestamp, exposure: Exposure) -> Vec<Exposure> {
        let weights = |one: &Exposure| (one.canary, one.stable);
        let leads = |one: &Exposure| (one.canary_leads_to.clone(), one.stable_leads_to.clone());
        let last = self.seen.last().map(|(_, last)| last);
        if last == Some(&exposure) {
            return vec![];
        }
        let is_weighted = last.is_some_and(|last| weights(last) != weights(&exposure));
        let is_led = last.is_some_and(|last| leads(last) != leads(&exposure));
        let first = self.seen.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        let mut news: Vec<Exposure> = vec![];
        for (_, seen) in self.seen.iter().skip(first) {
            let (canary, stable) = weights(&exposure);
            let weighted = Exposure { canary, stable, ..seen.clone() };
            let led = Exposure { canary: seen.canary, stable: seen.stable, ..exposure.clone() };
            for one in [is_weighted.then_some(weighted), is_led.then_some(led)].into_iter().flatten() {
                if one != exposure && !news.contains(&one) {
                    news.push(one);
                }
            }
        }
        news.push(exposure);
        news
    }

    fn has_stepped(&self, now: Timestamp, steady: Duration) -> bool {
        let Some((then, then_steady)) = self.noted else { return false };
        let by_clock = now.duration_since(then).as_secs_f64();
        let passed = steady.as_secs_f64() - then_steady.as_secs_f64();
        (by_clock - passed).abs() > STEP_SECONDS
    }

    /// The largest share that `measure` finds within the last `delay`; all of the traffic while that time has not
    /// been watched in full.
    pub fn largest(&self, now: Timestamp, delay: Duration, measure: impl Fn(&Exposure) -> Weight) -> Weight {
        let horizon = before(now, delay);
        if self.since > horizon {
            return Weight::FULL;
        }
        let first = self.seen.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        self.seen.iter().skip(first).map(|(_, seen)| measure(seen)).max().unwrap_or(Weight::FULL)
    }

    /// True when `holds` was so during the whole of the last `delay`.
    pub fn held(&self, now: Timestamp, delay: Duration, holds: impl Fn(&Exposure) -> bool) -> bool {
        self.largest(now, delay, |seen| if holds(seen) { Weight::ZERO } else { Weight::FULL }) == Weight::ZERO
    }

    /// Since when `holds` has been so without a break; `None` when it is not so now.
    pub fn since(&self, holds: impl Fn(&Exposure) -> bool) -> Option<Timestamp> {
        let held = self.seen.iter().rev().take_while(|(_, seen)| holds(seen)).last();
        held.map(|(at, _)| (*at).max(self.since))
    }
}

/// `now - delay`, held inside what a time can be.
fn before(now: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    now.saturating_sub(delay).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn canary(percent: i64) -> Exposure {
        let canary = Weight::new(percent).unwrap();
        Exposure { canary, stable: canary.complement(), ..Exposure::default() }
    }

    const DELAY: Duration = Duration::from_secs(10);

    #[test]
    fn what_was_not_watched_counts_as_everything() {
        let mut history = ExposureHistory::begin(at(0));
        history.note(at(0), Duration::from_secs(0), canary(0), DELAY);
        assert_eq!(history.largest(at(9), DELAY, |seen| seen.canary), Weight::FULL);
        assert_eq!(history.largest(at(10), DELAY, |seen| seen.canary), Weight::ZERO);
    }

    #[test]
    fn a_weight_lingers_for_the_data_plane_delay() {
        let mut history = ExposureHistory::begin(at(0));
        history.note(at(0), Duration::from_secs(0), canary(50), DELAY);
        history.note(at(100), Duration::from_secs(100), canary(0), DELAY);
        history.note(at(105), Duration::from_secs(105), canary(0), DELAY);
        assert_eq!(history.largest(at(109), DELAY, |seen| seen.canary).percent(), 50);
        assert_eq!(history.largest(at(110), DELAY, |seen| seen.canary), Weight::ZERO);
        assert_eq!(history.since(|seen| seen.canary == Weight::ZERO), Some(at(100)));
        assert_eq!(history.since(|seen| seen.canary > Weight::ZERO), None);
    }

    #[test]
    fn a_clock_that_steps_back_begins_the_history_anew() {
        let mut history = ExposureHistory::begin(at(100));
        history.note(at(100), Duration::from_secs(100), canary(0), DELAY);
        history.note(at(50), Duration::from_secs(50), canary(0), DELAY);
        assert_eq!(history.largest(at(55), DELAY, |seen| seen.canary), Weight::FULL);
    }

    #[test]
    fn a_clock_that_steps_on_begins_the_history_anew() {
        let mut history = ExposureHistory::begin(at(0));
        history.note(at(0), Duration::from_secs(0), canary(50), DELAY);
        history.note(at(100), Duration::from_secs(100), canary(0), DELAY);
        history.note(at(161), Duration::from_secs(101), canary(0), DELAY);
        assert_eq!(history.largest(at(161), DELAY, |seen| seen.canary), Weight::FULL);
        assert_eq!(history.largest(at(171), DELAY, |seen| seen.canary), Weight::ZERO);
    }

    #[test]
    fn of_two_changes_between_looks_either_may_have_been_the_first() {
        let (old, new) = (PodHash::new("abc").unwrap(), PodHash::new("def").unwrap());
        let leads = |percent, hash: &PodHash| Exposure {
            canary_leads_to: Some(hash.clone()),
            stable_leads_to: PodHash::new("ghi"),
            ..canary(percent)
        };
        let mut history = ExposureHistory::begin(at(0));
        history.note(at(0), Duration::from_secs(0), leads(0, &old), DELAY);
        history.note(at(20), Duration::from_secs(20), leads(50, &new), DELAY);
        assert_eq!(history.largest(at(29), DELAY, |seen| seen.of_hash(&old)).percent(), 50);
        assert_eq!(history.largest(at(30), DELAY, |seen| seen.of_hash(&old)), Weight::ZERO);
    }

    #[test]
    fn whoever_changes_weights_all_the_time_makes_no_long_history() {
        let mut history = ExposureHistory::begin(at(0));
        for round in 0..200_i64 {
            let passed = Duration::from_millis(40 * round.unsigned_abs());
            let canary_leads_to = PodHash::new(if round % 2 == 0 { "abc" } else { "def" });
            let exposure = Exposure { canary_leads_to, ..canary(round % 10) };
            history.note(at(0) + passed, passed, exposure, DELAY);
        }
        assert!(history.seen.len() <= 10 * 2 + 1, "{} entries", history.seen.len());
    }

    #[test]
    fn a_service_without_a_hash_reaches_every_version() {
        let hash = PodHash::new("abc").unwrap();
        let mut seen = canary(20);
        assert_eq!(seen.of_hash(&hash), Weight::FULL);
        seen.stable_leads_to = PodHash::new("def");
        assert_eq!(seen.of_hash(&hash).percent(), 20);
    }
}
