//! Tests of the wire side of analysis.

mod flatten;
mod parse;
mod shipped;
mod traces;
mod wire;
