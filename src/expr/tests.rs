//! The laws of the language.

mod limits;
mod vectors;
