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
        Self { since: now, noted: None, present: None, past: vec![], unseen: vec![], put_back: vec![] }
    }

    /// Adds what a request of ours has made of the canary's weight by `now`: it may be over before anybody looks, and
    /// proxies may have been told of it.
    pub fn note_weight(&mut self, now: Timestamp, canary: Weight) {
        let Some((_, present)) = &self.present else { return };
        self.turn(now, Exposure { canary, stable: canary.complement(), ..present.clone() });
    }

    /// Adds that a weight was put back at `now`.
    pub fn note_put_back(&mut self, now: Timestamp) {
        self.put_back.push(now);
        let surplus = self.put_back.len().saturating_sub(Record::KEPT_REASSERTS);
        self.put_back.drain(..surplus);
    }

    /// Adds what is seen at `now` and forgets what was over before the last `delay`. `steady` is the time of a clock that nobody
    /// can set: where the two do not agree on how much has passed, `now` has stepped, and nothing is known of how long ago
    /// anything was.
    pub fn note(&mut self, now: Timestamp, steady: Duration, exposure: Exposure, delay: Duration) {
        if now < self.since || self.has_stepped(now, steady) {
            *self = Self { put_back: std::mem::take(&mut self.put_back), ..Self::begin(now) };
        }
        self.noted = Some((now, steady));
        let horizon = before(now, delay);
        self.past.retain(|(until, _)| *until > horizon);
        self.unseen.retain(|(until, _)| *until > horizon);
        for one in self.between(&exposure) {
            over(&mut self.unseen, now, one);
        }
        self.turn(now, exposure);
    }

    /// What there is now in the place of what there was.
    fn turn(&mut self, now: Timestamp, exposure: Exposure) {
        if self.present.as_ref().is_some_and(|(_, present)| *present == exposure) {
            return;
        }
        if let Some((_, ended)) = self.present.replace((now, exposure)) {
            over(&mut self.past, now, ended);
        }
    }

    /// What may have been since the last look. Where weights or a Service are not as they were nobody has seen since when: a watch
    /// may have been silent, so what is new may have met all that was seen within the delay. What nobody saw meets nothing: it
    /// would go on for as long as somebody changes something.
    fn between(&self, exposure: &Exposure) -> Vec<Exposure> {
        let Some((_, present)) = &self.present else { return vec![] };
        let is_weighted = (present.canary, present.stable) != (exposure.canary, exposure.stable);
        let is_led = (&present.canary_leads_to, &present.stable_leads_to)
            != (&exposure.canary_leads_to, &exposure.stable_leads_to);
        let Exposure { canary, stable, .. } = *exposure;
        let seen = || self.past.iter().map(|(_, seen)| seen).chain([present]);
        let weighted = seen().filter(|_| is_weighted).map(|seen| Exposure { canary, stable, ..seen.clone() });
        let led = seen().filter(|_| is_led).map(|seen| {
            let Exposure { canary, stable, .. } = *seen;
            Exposure { canary, stable, ..exposure.clone() }
        });
        weighted.chain(led).filter(|one| one != exposure).collect()
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
        let Some((_, present)) = &self.present else { return Weight::FULL };
        let earlier = self.past.iter().chain(&self.unseen).filter(|(until, _)| *until > horizon);
        earlier.map(|(_, earlier)| measure(earlier)).fold(measure(present), Weight::max)
    }

    /// True when `holds` was so during the whole of the last `delay`.
    pub fn held(&self, now: Timestamp, delay: Duration, holds: impl Fn(&Exposure) -> bool) -> bool {
        self.largest(now, delay, |seen| if holds(seen) { Weight::ZERO } else { Weight::FULL }) == Weight::ZERO
    }

    /// Since when `holds` has been so without a break; `None` when it is not so now.
    pub fn since(&self, holds: impl Fn(&Exposure) -> bool) -> Option<Timestamp> {
        self.present.as_ref().filter(|(_, present)| holds(present))?;
        let broken = self.past.iter().chain(&self.unseen).filter(|(_, earlier)| !holds(earlier));
        Some(broken.map(|(until, _)| *until).fold(self.since, Timestamp::max))
    }
}

/// Notes until when something was.
fn over(all: &mut Vec<(Timestamp, Exposure)>, until: Timestamp, exposure: Exposure) {
    match all.iter_mut().find(|(_, known)| *known == exposure) {
        Some(known) => known.0 = until,
        None => all.push((until, exposure)),
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
            history.note(at(0) + passed, passed, Exposure { canary_leads_to, ..canary(round % 10) }, DELAY);
        }
        let (past, unseen) = (history.past.len(), history.unseen.len());
        assert!(past <= 10 * 2 && unseen <= 10 * 2, "{past} past and {unseen} unseen");
    }

    #[test]
    fn whoever_changes_weights_all_the_time_keeps_no_version_alive() {
        let (old, new) = (PodHash::new("abc").unwrap(), PodHash::new("def").unwrap());
        let leads =
            |percent, hash: &PodHash| Exposure { canary_leads_to: Some(hash.clone()), ..canary(percent) };
        let mut history = ExposureHistory::begin(at(0));
        let mut note = |second: u32, exposure| {
            history.note(at(second.into()), Duration::from_secs(second.into()), exposure, DELAY);
            history.largest(at(second.into()), DELAY, |seen| {
                if seen.canary_leads_to.as_ref() == Some(&old) { seen.canary } else { Weight::ZERO }
            })
        };
        note(0, leads(0, &old));
        note(100, leads(0, &new));
        // These weights may have been there while the Service led to the old version.
        assert_eq!(note(105, leads(90, &new)).percent(), 90);
        note(110, leads(0, &new));
        assert_eq!(note(115, leads(90, &new)), Weight::ZERO);
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
