//! The verbs of the command line. The only room, with `main`, that reads arguments and environment.

pub mod condition;
pub mod crds;
pub mod transfer;
