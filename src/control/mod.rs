//! The loop: triggers, queue, passes, leadership.

mod alone;
pub mod lease;
mod queue;
mod reconcile;
mod run;
mod saying;

pub use queue::{Due, Queue, Reason};
pub use reconcile::Reconciler;
pub use run::{Config, Error, run};
