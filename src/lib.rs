//! serin: a progressive-delivery controller for Kubernetes.
//!
//! ```text
//! watch events, samples, timers -> control's queue -> control::reconcile(key)     clock read once
//!   observed = observe::snapshot(key)          stores, sampler slots, outcomes of our last requests
//!   plan     = decide::step(observed, now)     pure, total
//!   decide::invariants(observed, plan)         violation: log, count, apply only `shed`
//!   apply    = render(plan) -> Vec<Request>    sent in order, outcomes kept
//!   requeue at plan.wake, with its reason
//! ```
//!
//! Who may name whom (checked by `architecture`):
//!
//! ```text
//! domain <- expr <- decide <- api <- { observe, apply, gitops, notify } <- control <- cli, main
//! clock, telemetry: leaves.      sim sees all; only cli and tests see sim.
//! ```

#![recursion_limit = "512"]

pub mod api;
pub mod apply;
pub mod cli;
pub mod clock;
pub mod control;
pub mod decide;
pub mod decisions;
pub mod domain;
pub mod expr;
pub mod gitops;
pub mod notify;
pub mod observe;
pub mod sim;
pub mod telemetry;

#[cfg(test)]
mod architecture;
