//! Logs, metrics and health. A leaf: names no other room.

pub mod logging;
pub mod metrics;
mod process;
pub mod requests;
mod series;
pub mod server;
pub mod traces;

pub use logging::{Format, Options};
pub use metrics::{MetricFacts, Metrics, QueueFacts, RolloutFacts, RunFacts, SelfHealFacts, Snapshot};
pub use server::{Gate, Health, Heartbeat};
