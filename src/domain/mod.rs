//! The nouns: types that cannot hold nonsense. No I/O. No clock.

mod name;
mod weight;

pub use name::{Key, PodHash, Uid};
pub use weight::Weight;
