//! The loop: triggers, queue, passes, leadership.

pub mod lease;
