//! Decision records: one page each, what was chosen, what it replaced, and why.

pub mod analysis_memory;
pub mod bad_api_server;
pub mod condition_language;
pub mod git_lane;
pub mod libraries;
pub mod reference_quirks;
