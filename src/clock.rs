//! Time as a value: the one place of the program that reads a clock, and every wait.
//!
//! Production runs on `Wall`. The embedded world runs on `Scaled`: virtual time that starts at `origin` and
//! passes `rate` times as fast as tokio's clock, which tests pause.

use std::{future::Future, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where `now` comes from and how long a wait lasts.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's clock.
    Wall,
    /// Virtual time: `origin + offset + (elapsed since started) * rate`. `rate` is at least 1.
    Scaled { origin: Timestamp, started: Instant, rate: u32, offset: SignedDuration },
}

impl Clock {
    /// Virtual time from `origin` on, `rate` times as fast as tokio's clock. A rate of 0 counts as 1.
    pub fn scaled(origin: Timestamp, rate: u32) -> Self {
        Self::Scaled { origin, started: instant(), rate: rate.max(1), offset: SignedDuration::ZERO }
    }

    /// The current time. One pass calls this once.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match *self {
            Self::Wall => Timestamp::now(),
            Self::Scaled { origin, started, rate, offset } => {
                let elapsed = instant().saturating_duration_since(started).saturating_mul(rate);
                let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
                origin
                    .saturating_add(elapsed)
                    .and_then(|t| t.saturating_add(offset))
                    .unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Time since some moment of this process, by a clock that nobody can set: tells a step of `now` from time that
    /// has passed.
    pub fn steady(&self) -> Duration {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        match *self {
            Self::Wall => instant().saturating_duration_since(*START.get_or_init(instant)),
            Self::Scaled { started, rate, .. } => {
                instant().saturating_duration_since(started).saturating_mul(rate)
            }
        }
    }

    /// Waits for `time` of this clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(self.real(time)).await;
    }

    /// Waits until this clock shows `at`; returns at once when it already does.
    pub async fn sleep_until(&self, at: Timestamp) {
        let wait = at.duration_since(self.now());
        if wait.is_positive() {
            self.sleep(wait.unsigned_abs()).await;
        }
    }

    /// Ends `future` with `None` when it has not ended within `limit` of this clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.real(limit), future).await.ok()
    }

    /// How much of tokio's time a duration of this clock is.
    fn real(&self, time: Duration) -> Duration {
        match *self {
            Self::Wall => time,
            Self::Scaled { rate, .. } => time / rate.max(1),
        }
    }
}

/// A monotonic reading, for latencies that are measured and never decided on.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Waits for something outside of tokio's timers (a socket, a child process) for at most `limit` of *real* time.
/// `None` when the limit was reached.
///
/// Paused tokio jumps to the next timer whenever it idles, also while a real socket is waited on. A parked
/// blocking task keeps it from idling, so virtual time stands still until the answer is there.
pub async fn outside<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (done, parked) = std::sync::mpsc::channel::<()>();
    let (expired, expiry) = tokio::sync::oneshot::channel::<()>();
    let park = tokio::task::spawn_blocking(move || {
        if parked.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = expired.send(());
        }
    });
    let answer = tokio::select! {
        biased;
        answer = future => Some(answer),
        Ok(()) = expiry => None,
    };
    drop(done);
    let _ = park.await;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn scaled_time_passes_faster_than_tokio_by_its_rate() {
        let clock = Clock::scaled(origin(), 10);
        let before = instant();
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(instant() - before, Duration::from_secs(6));
        assert_eq!(clock.now().duration_since(origin()).as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_stands_still_while_something_outside_is_waited_for() {
        let clock = Clock::scaled(origin(), 1);
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        let timer = tokio::spawn(async move { clock.sleep(Duration::from_secs(3600)).await });
        let thread = std::thread::spawn(move || {
            for _ in 0..1_000_000 {
                std::hint::spin_loop();
            }
            send.send(()).unwrap();
        });
        assert!(outside(Duration::from_secs(60), receive).await.is_some());
        thread.join().unwrap();
        assert!(clock.now().duration_since(origin()).as_secs() < 60);
        timer.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn something_outside_that_never_ends_is_given_up_at_its_limit() {
        let never = std::future::pending::<()>();
        assert!(outside(Duration::from_millis(20), never).await.is_none());
    }
}
