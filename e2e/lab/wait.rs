//! Waiting for something to become true, with a limit and an answer that says what was seen last.

use std::time::Duration;

use serin::clock::{Clock, instant};

use crate::Fallible;

const CLOCK: Clock = Clock::Wall;
const POLL: Duration = Duration::from_millis(100);

/// Sleeps.
pub(crate) async fn pause(time: Duration) {
    CLOCK.sleep(time).await;
}

/// Asks again and again until `check` answers with a value.
///
/// # Errors
/// After `limit`: what was waited for and what `check` said last.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    check: impl AsyncFnMut() -> Fallible<T>,
) -> Fallible<T> {
    while_alive(what, limit, || Ok(()), check).await
}

/// As [`until`], and ends as soon as `alive` says that it is of no use to go on.
///
/// # Errors
/// What `alive` says, at once; after `limit` what was waited for and what `check` said last.
pub(crate) async fn while_alive<T>(
    what: &str,
    limit: Duration,
    mut alive: impl FnMut() -> Fallible,
    mut check: impl AsyncFnMut() -> Fallible<T>,
) -> Fallible<T> {
    let started = instant();
    loop {
        alive()?;
        match check().await {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() > limit => {
                return Err(format!("{what}: not within {} s; last seen: {last}", limit.as_secs()).into());
            }
            Err(_) => pause(POLL).await,
        }
    }
}
