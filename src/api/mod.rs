//! The wire: Kubernetes objects as types, parsed once and printed once. No behaviour, no I/O.

pub mod analysis;
pub mod argo;
pub mod hash;
pub mod http;
mod lately;
pub mod merge;
mod observed;
mod read;
pub mod record;
pub mod rollout;
pub mod run;
pub mod serin;
pub mod status;
pub mod traffic;
pub mod workload;

pub use observed::{Objects, ProcessMemory, observed};
