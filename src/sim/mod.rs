//! The embedded world: one API server, its actors and its clock, for the demo, `simulate` and tests.
//! Production code never names it.

pub mod slack;
