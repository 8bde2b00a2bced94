//! Stories played from end to end on the embedded world: the whole controller, the Git lane and the notifier as they
//! run in production, around them a GitOps engine, a scripted Prometheus and a Slack receiver.

pub mod cast;
pub mod judge;
pub mod prometheus;
pub mod stage;
pub mod timeline;
