//! What the lab prints.
//!
//! Lanes run side by side, so the process of a lane does not print for people: what belongs together (a journey's lines and its
//! result) goes to its starter as one piece, which a mark ends.

use std::{io::Write, time::Duration};

/// Ends a piece. The word behind it says what the piece was.
pub(crate) const MARK: char = '\u{1e}';
/// The piece is a journey that passed.
pub(crate) const PASSED: &str = "passed";
/// The piece is a journey that failed.
pub(crate) const FAILED: &str = "failed";
/// The piece is something to be known at once.
const SAID: &str = "said";

/// No piece ends: numbers to be added up over all lanes follow.
pub(crate) const SERVED: &str = "served";

/// What became of users' requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) requests: usize,
    /// Lost although nothing had crashed: by the routing.
    pub(crate) by_routing: usize,
    /// Lost to pods that had crashed.
    pub(crate) by_crashes: usize,
}

impl Served {
    /// From what [`served`] prints behind its word.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let numbers: Vec<usize> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [requests, by_routing, by_crashes] = numbers[..] else { return None };
        Some(Self { requests, by_routing, by_crashes })
    }
}

/// Has the requests of a story added up.
pub(crate) fn served(Served { requests, by_routing, by_crashes }: Served) {
    line(&format!("{MARK}{SERVED} {requests} {by_routing} {by_crashes}"));
}

/// How one journey went.
pub(crate) struct Result {
    pub(crate) name: String,
    pub(crate) time: Duration,
    /// Why it failed; none when it passed.
    pub(crate) failure: Option<String>,
}

/// Prints one line, which belongs to the journey under way.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to print to is no reason to stop.
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Prints one line at once.
pub(crate) fn say(text: &str) {
    line(&format!("{text}\n{MARK}{SAID}"));
}

/// Prints the result of one journey.
pub(crate) fn result(result: &Result) {
    let verdict = if result.failure.is_none() { "ok" } else { "FAILED" };
    line(&format!("lab: {} ... {verdict} ({:.1} s)", result.name, result.time.as_secs_f64()));
    if let Some(failure) = &result.failure {
        for text in failure.lines() {
            line(&format!("lab:   {text}"));
        }
    }
    line(&format!("{MARK}{}", if result.failure.is_none() { PASSED } else { FAILED }));
}
