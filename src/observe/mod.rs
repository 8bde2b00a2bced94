//! I/O in: stores filled by watches, and the sampler that asks Prometheus. Never names `apply`.

mod kinds;
mod object;
mod references;
pub mod sampler;
mod store;
mod stores;
mod watch;

pub use kinds::{Scope, Template};
pub use object::{Entry, Owner, Slim};
pub use references::Reference;
pub use store::{Changed, State, Store};
pub use stores::{Call, Stores};

use crate::domain::Key;

/// What one pass is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A Rollout with the AnalysisRuns that it controls.
    Rollout(Key),
    /// An AnalysisRun that no Rollout controls.
    Run(Key),
}

impl Target {
    pub fn key(&self) -> &Key {
        match self {
            Self::Rollout(key) | Self::Run(key) => key,
        }
    }
}
