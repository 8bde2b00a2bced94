//! Stories on the embedded world, told through door 1.

mod fixture;
mod story;
