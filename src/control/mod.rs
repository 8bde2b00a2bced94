//! The loop: triggers, queue, passes, leadership.

mod alone;
mod facts;
pub mod lease;
pub mod queue;
mod reconcile;
mod run;
mod saying;

pub use facts::Page;
pub use queue::{Due, Queue, Reason};
pub use reconcile::Reconciler;
pub use run::{Config, Error, run};
