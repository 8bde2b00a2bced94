//! The Git lane: finds the failed value in Git and restores it. Never on the path of traffic.

pub mod commit;
pub mod edit;
pub mod message;
pub mod perform;
pub mod repo;
pub mod transfer;

#[cfg(test)]
mod fixtures;
