//! The embedded world: one API server, its actors and its clock, for the demo, `simulate` and tests.
//! Production code never names it.

pub mod actors;
pub mod door;
pub mod fault;
pub mod slack;
pub mod store;
mod wire;
pub mod world;

#[cfg(test)]
mod leases;
