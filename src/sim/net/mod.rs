//! The net: schedules from seeds, in which anything may happen to a rollout at any moment, judged at every step.
//!
//! ```text
//! seed -> draw -> Script -> play (World, Direct, events) -> Oracle -> violations -> shrink -> a script to keep
//! ```

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are many kinds of events, and each reader names those that it acts on"
)]

mod cover;
mod dice;
mod draw;
mod hand;
mod hits;
mod script;
mod shop;
mod shrink;
mod stage;

pub use cover::Cover;
pub use dice::Dice;
pub use draw::draw;
pub use script::{Event, KINDS, Script, Setup, StepOf, Timed, Unreadable};
pub use shrink::shrink;
pub use stage::{Played, play};
