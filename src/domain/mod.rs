//! The nouns: types that cannot hold nonsense. No I/O. No clock.

pub mod value;
