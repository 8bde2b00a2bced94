//! I/O in: stores filled by watches, and the sampler that asks Prometheus. Never names `apply`.

mod object;
mod references;
mod store;

pub use object::{Entry, Owner, Slim};
pub use references::Reference;
pub use store::{State, Store};
