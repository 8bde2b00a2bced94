//! The embedded world: one API server, its actors and its clock, for the demo, `simulate` and tests.
//! Production code never names it.

pub mod actors;
pub mod direct;
pub mod door;
pub mod engine;
pub mod fault;
pub mod net;
pub mod oracle;
pub mod play;
pub mod slack;
pub mod store;
mod wire;
pub mod world;

#[cfg(test)]
mod leases;
#[cfg(test)]
mod tests;
