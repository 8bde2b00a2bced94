//! The lab: serin's own processes on a real Kubernetes control plane and a real Prometheus, without containers.
//!
//! `cargo test --test lab` plays every journey; `cargo test --test lab -- NAME..` those whose name holds one of the words.
//! The first process builds or finds the programs and enters a network namespace of its own, where it starts itself again:
//! nothing outside of that namespace is touched, and everything in it ends with it.
#![recursion_limit = "512"]

use std::process::ExitCode;

mod apply;
mod audit;
mod control_plane;
mod engine;
mod git;
mod images;
mod journeys;
mod load;
mod mesh;
mod metrics;
mod namespace;
mod node;
mod pod;
mod process;
mod report;
mod roles;
mod settings;
mod slack;
mod stack;
mod wait;

/// What the lab's own steps answer. The error is for a person to read.
type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let settings = match settings::read() {
        Ok(settings) => settings,
        Err(error) => return refused(&*error),
    };
    let outcome = if settings.inside { journeys::run(settings) } else { namespace::enter(&settings) };
    match outcome {
        Ok(code) => code,
        Err(error) => refused(&*error),
    }
}

fn refused(error: &dyn std::error::Error) -> ExitCode {
    report::line(&format!("lab: {error}"));
    ExitCode::FAILURE
}
