//! The laws of the language.

mod limits;
mod nothing;
mod vectors;
