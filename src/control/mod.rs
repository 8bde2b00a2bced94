//! The loop: triggers, queue, passes, leadership.
