//! The nouns: types that cannot hold nonsense. No I/O. No clock.

mod name;
pub mod value;
pub mod verdict;
mod weight;

pub use name::{Key, PodHash, Uid};
pub use weight::Weight;
