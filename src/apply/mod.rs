//! I/O out: plans become requests, requests are sent in order. Never names `observe`.

mod execute;
mod gate;
pub mod render;
mod send;

pub use execute::{Executed, Halt, Observer, Stops, execute, is_done, second_look, seen, stops};
pub use gate::{Limits, Rate};
pub use send::Sender;
