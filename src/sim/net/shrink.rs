//! Makes a failing schedule shorter while it still fails: fewer events, then earlier and plainer ones.

use super::script::{Script, Setup};

/// The shortest schedule found for which `fails` is still true. Plays the schedule a few dozen times.
pub fn shrink(script: &Script, fails: impl Fn(&Script) -> bool) -> Script {
    let mut best = script.clone();
    loop {
        let before = best.clone();
        without_events(&mut best, &fails);
        at_once(&mut best, &fails);
        plainly(&mut best, &fails);
        if best == before {
            return best;
        }
    }
}

/// Takes events away, halves first.
fn without_events(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    let mut size = best.events.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < best.events.len() {
            let mut shorter = best.clone();
            shorter.events.drain(from..(from + size).min(best.events.len()));
            if fails(&shorter) {
                *best = shorter;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
}

/// Lets events happen at their time instead of in the midst of a plan.
fn at_once(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    for index in 0..best.events.len() {
        let mut plainer = best.clone();
        if let Some(event) = plainer.events.get_mut(index).filter(|event| event.after > 0) {
            event.after = 0;
            if fails(&plainer) {
                *best = plainer;
            }
        }
    }
}

/// Puts one setting after the other back to what it is by default.
fn plainly(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    let plain = Setup::default();
    let changes: [fn(&mut Setup, &Setup); 13] = [
        |setup, plain| setup.seed = plain.seed,
        |setup, plain| setup.steps.clone_from(&plain.steps),
        |setup, plain| setup.background = plain.background,
        |setup, plain| setup.replicas = plain.replicas,
        |setup, plain| setup.failure_limit = plain.failure_limit,
        |setup, plain| setup.scale_down_delay = plain.scale_down_delay,
        |setup, plain| setup.abort_delay = plain.abort_delay,
        |setup, plain| setup.deadline = plain.deadline,
        |setup, plain| setup.deadline_abort = plain.deadline_abort,
        |setup, plain| setup.history = plain.history,
        |setup, plain| setup.quiet_ms = plain.quiet_ms,
        |setup, plain| setup.ready_ms = plain.ready_ms,
        |setup, plain| (setup.latency_ms, setup.query_ms) = (plain.latency_ms, plain.query_ms),
    ];
    for change in changes {
        let mut plainer = best.clone();
        change(&mut plainer.setup, &plain);
        if plainer != *best && fails(&plainer) {
            *best = plainer;
        }
    }
}
