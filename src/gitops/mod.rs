//! The Git lane: finds the failed value in Git and restores it. Never on the path of traffic.
//!
//! ```text
//! watch SelfHeal, SelfHealPolicy -> worker's queue -> pass(key)       everything read anew
//!   heal::gate(intent, policies, rollout)    pure: may Git be asked?
//!   lane (one for each remote)               fetch in a killable child, edit, prove
//!   heal::next(tip)                          pure: ours already? good already? a third value? show, or push?
//!   push in the child, status                a lost race: fetch and decide again
//! ```
//!
//! It holds the credentials of Git and nothing else does. It reads Rollouts and never writes them.

pub mod access;
mod callbacks;
pub mod cluster;
pub mod commit;
pub mod edit;
pub mod heal;
mod hosts;
pub mod lane;
mod local;
pub mod message;
pub mod pass;
pub mod pause;
pub mod perform;
pub mod remote;
pub mod repo;
pub mod rollout;
pub mod status;
mod tls;
pub mod transfer;
mod trouble;
mod worker;

pub use worker::{Config, Error, run};

#[cfg(test)]
mod fixtures;
