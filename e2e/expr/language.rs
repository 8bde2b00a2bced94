//! The condition language alone, from serin's own files.

#[path = "../../src/domain/value.rs"]
pub mod value;

#[path = "../../src/expr/mod.rs"]
pub mod expr;

/// The language names this room from the root of the crate.
pub mod domain {
    pub use super::value;
}
