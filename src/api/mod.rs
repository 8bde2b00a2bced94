//! The wire: Kubernetes objects as types, parsed once and printed once. No behaviour, no I/O.

pub mod http;
pub mod serin;
