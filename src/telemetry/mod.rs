//! Logs, metrics and health. A leaf: names no other room.

pub mod logging;
pub mod metrics;
mod series;
pub mod server;

pub use logging::{Format, Options};
pub use metrics::{Metrics, RolloutFacts, RunFacts, Snapshot};
pub use server::{Gate, Health, Heartbeat};
