//! When a request may be sent that is not a shed: as often as the user allows (`--qps`, `--burst`), with so many under way at a
//! time, and not before the API server wants to hear from us again. A shed does not pass here, and what follows it, or
//! may lead to one, goes ahead.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;

/// Longest time that an API server's `Retry-After` is obeyed for: a larger one is a mistake of somebody between it and us.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Requests a second, and how many of them may come at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: u32,
}

impl Rate {
    /// `None`, no limit, where `per_second` is not a positive number. A burst of 0 counts as 1.
    pub fn new(per_second: f64, burst: u32) -> Option<Self> {
        let is_limit = per_second.is_finite() && per_second > 0.0;
        is_limit.then_some(Self { per_second, burst: burst.max(1) })
    }

    fn interval(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.per_second).unwrap_or(LONGEST_HOLD)
    }
}

/// How much may be asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests under way at a time, sheds not counted. 0 counts as 1.
    pub under_way: usize,
    /// `None`: as many a second as there are.
    pub rate: Option<Rate>,
}

/// A place among the requests under way. Given back when dropped.
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The gate. Requests pass it in the order in which they came.
pub(super) struct Gate {
    clock: Clock,
    rate: Option<Rate>,
    places: Arc<Semaphore>,
    /// Held by the one whose turn it is. Fair, and given back by one who stops waiting.
    turn: tokio::sync::Mutex<()>,
    times: Mutex<Times>,
}

/// On the clock that nobody can set.
#[derive(Default)]
struct Times {
    /// When the bucket of the rate is full again.
    full_at: Duration,
    /// Until when the API server asked to be left alone.
    held_until: Duration,
}

impl Gate {
    pub(super) fn new(clock: Clock, limits: Limits) -> Self {
        let places = Arc::new(Semaphore::new(limits.under_way.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            clock,
            rate: limits.rate,
            places,
            turn: tokio::sync::Mutex::default(),
            times: Mutex::default(),
        }
    }

    /// Waits for a turn. Cancel-safe: who stops waiting has used nothing up.
    pub(super) async fn pass(&self) -> Place {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        let _turn = self.turn.lock().await;
        loop {
            let wait = self.take();
            if wait.is_zero() {
                return Place { _permit: permit };
            }
            self.clock.sleep(wait).await;
        }
    }

    /// Waits for nothing but the API server's wish to be left alone: what follows a shed, or may lead to one, goes ahead of the line. Cancel-safe.
    pub(super) async fn pass_ahead(&self) -> Place {
        loop {
            let now = self.clock.steady();
            let held = self.times().held_until.saturating_sub(now);
            if held.is_zero() {
                return Place { _permit: None };
            }
            self.clock.sleep(held).await;
        }
    }

    /// The API server wants to be left alone for so long.
    pub(super) fn hold(&self, time: Duration) {
        let until = self.clock.steady() + time.min(LONGEST_HOLD);
        let mut times = self.times();
        times.held_until = times.held_until.max(until);
    }

    /// Takes a turn, or says how long there is none.
    fn take(&self) -> Duration {
        let now = self.clock.steady();
        let mut times = self.times();
        if times.held_until > now {
            return times.held_until - now;
        }
        let Some(rate) = self.rate else { return Duration::ZERO };
        let full_at = times.full_at.max(now);
        let earliest = full_at.saturating_sub(rate.interval() * rate.burst.saturating_sub(1));
        if earliest > now {
            return earliest - now;
        }
        times.full_at = full_at + rate.interval();
        Duration::ZERO
    }

    /// A poisoned lock is as good as any: no code that holds it can leave half a change behind.
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn gate(rate: Option<Rate>) -> Gate {
        let clock = Clock::scaled("2026-01-01T00:00:00Z".parse().unwrap(), 1);
        Gate::new(clock, Limits { under_way: 2, rate })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let gate = gate(Rate::new(5.0, 3));
        let mut at = vec![];
        for _ in 0..6 {
            drop(gate.pass().await);
            at.push(gate.clock.steady().as_millis());
        }
        // Tokio's timers have a grain of a millisecond.
        let wanted = [0, 0, 0, 200, 400, 600];
        assert!(at.iter().zip(wanted).all(|(at, wanted)| at.abs_diff(wanted) <= 3), "{at:?}");
        gate.clock.sleep(Duration::from_secs(60)).await;
        for _ in 0..3 {
            assert!(gate.pass().now_or_never().is_some(), "a quiet time fills the bucket again, and no more");
        }
        assert!(gate.pass().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_has_used_nothing_up() {
        let gate = gate(Rate::new(1.0, 1));
        drop(gate.pass().await);
        for _ in 0..10 {
            assert!(gate.pass().now_or_never().is_none());
        }
        gate.clock.sleep(Duration::from_secs(1)).await;
        assert!(gate.pass().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_under_way_at_a_time() {
        let gate = gate(None);
        let (first, _second) = (gate.pass().await, gate.pass().await);
        assert!(gate.pass().now_or_never().is_none());
        drop(first);
        assert!(gate.pass().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_passes_before_the_server_wants_to_hear_from_us_again() {
        let gate = gate(None);
        gate.hold(Duration::from_secs(7));
        gate.hold(Duration::from_secs(2));
        let before = gate.clock.steady();
        drop(gate.pass().await);
        assert_eq!((gate.clock.steady() - before).as_secs(), 7);
        gate.hold(Duration::from_secs(86_400));
        let before = gate.clock.steady();
        drop(gate.pass().await);
        assert_eq!((gate.clock.steady() - before).as_secs(), 60);
    }

    #[test]
    fn a_rate_that_is_none_is_no_limit() {
        assert_eq!(Rate::new(0.0, 5), None);
        assert_eq!(Rate::new(-1.0, 5), None);
        assert_eq!(Rate::new(f64::NAN, 5), None);
        assert_eq!(Rate::new(5.0, 0).map(|rate| rate.burst), Some(1));
    }
}
