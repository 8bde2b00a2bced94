//! Logs, metrics and health. A leaf: names no other room.
