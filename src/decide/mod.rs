//! The decisions: what is observed goes in, a plan comes out. No I/O. No clock. No async.

pub mod analysis;
