//! What the lab prints.

use std::{io::Write, time::Duration};

/// How one journey went.
pub(crate) struct Result {
    pub(crate) name: &'static str,
    pub(crate) time: Duration,
    /// Why it failed; none when it passed.
    pub(crate) failure: Option<String>,
}

/// Prints one line.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to print to is no reason to stop.
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
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
}

/// Prints the closing line and says whether all is well. A run without a journey is not.
pub(crate) fn close(results: &[Result]) -> bool {
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    line(&format!("lab: {} passed, {failed} failed", results.len() - failed));
    failed == 0 && !results.is_empty()
}
