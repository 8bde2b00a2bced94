//! Tests of the engine: fixtures, tables, stories, laws.

mod fixture;
mod limits;
mod no_data;
mod outage;
mod properties;
mod schedule;
mod stories;
