//! Stories on the embedded world: through door 1, and the whole controller through door 2.

mod contest;
mod fixture;
mod net;
mod outage;
mod selectors;
mod story;
mod whole;
