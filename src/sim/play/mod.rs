//! Stories played from end to end on the embedded world: the whole controller, the Git lane and the notifier as they
//! run in production, around them a GitOps engine, a scripted Prometheus and a Slack receiver.

pub mod aside;
pub mod cast;
mod check;
mod glance;
pub mod judge;
pub mod narrate;
mod plot;
mod process;
pub mod prometheus;
pub mod scenario;
pub mod stage;
pub mod timeline;
mod troupe;
