//! The stories of `serin demo`, on the very stage that it plays, in virtual time: their endings, a crash at every
//! effect, lies that the judge has to notice, and a reader's own manifests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod crash;
mod ending;
mod endings;
mod gate;
mod lies;
mod play;
mod reader;
mod story;
