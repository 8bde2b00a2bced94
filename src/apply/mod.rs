//! I/O out: plans become requests, requests are sent in order. Never names `observe`.

mod execute;
pub mod render;
mod send;

pub use execute::{holder, Executed, Halt, Observer, execute};
pub use send::Sender;
