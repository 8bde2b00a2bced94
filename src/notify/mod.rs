//! The Slack lane: one message a story. Never on the path of traffic.
//!
//! ```text
//! watches of Rollout, RolloutRecord, SelfHeal -> own queue
//!   story::stories(facts)           pure: what there is to tell, and in which words
//!   ledger::next(entry, message)    pure: post, search, edit, or nothing
//!   lane                            ledger entry first, then Slack, then the ledger again
//! ```
//!
//! The ledger entry is written before Slack is asked, so a process that died in between leaves a doubt and never a
//! silence; the doubt is resolved by looking for the message's key in the channel's history.

mod git;
mod lane;
mod ledger;
mod message;
mod outlet;
mod queue;
mod recipient;
mod rollout;
mod settings;
mod slack;
mod stores;
mod story;
mod tell;
mod words;

pub use lane::{Config, run};
