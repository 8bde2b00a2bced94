//! The lab: serin's own processes on a real Kubernetes control plane and a real Prometheus, without containers.
//!
//! `cargo test --test lab` plays every journey; `cargo test --test lab -- NAME..` those whose name holds one of the words.
//! The first process builds or finds the programs and starts itself again for each lane, in a network namespace of the lane's own
//! with a whole stack of its own: nothing outside of that namespace is touched, and everything in it ends with it. Journeys mostly
//! wait, so lanes are played side by side; the journeys of a lane are played one after the other.
//!
//! | variable | what it does |
//! |---|---|
//! | `SERIN_LAB_LANES=1` | plays one lane after the other (4 side by side without it, 0.8 GB each) |
//! | `SERIN_LAB_KEEP=1` | keeps the folders of a run that passed: logs, audit log, repositories |
//! | `SERIN_LAB_ISTIOD=<pilot-discovery>` | this istiod configures Envoy, not the one that `control-plane` builds |
//! | `SERIN_LAB_ISTIOD=stand-in` | the mesh stand-in does, see `mesh`; no istiod is built |
//! | `SERIN_LAB_EVERY_RIGHT=all` | takes each single right of `deploy/` out, one story each |
#![recursion_limit = "512"]

use std::process::ExitCode;

mod apply;
mod audit;
mod control_plane;
mod engine;
mod git;
mod images;
mod journeys;
mod lanes;
mod load;
mod mesh;
mod metrics;
mod namespace;
mod node;
mod pod;
mod process;
mod report;
mod roles;
#[expect(dead_code, reason = "others look for free ports")]
#[path = "../server/mod.rs"]
mod server;
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
    let outcome = if settings.lane.is_some() {
        journeys::run(settings)
    } else {
        lanes::run(&settings).map(lanes::code)
    };
    match outcome {
        Ok(code) => code,
        Err(error) => refused(&*error),
    }
}

fn refused(error: &dyn std::error::Error) -> ExitCode {
    report::line(&format!("lab: {error}"));
    ExitCode::FAILURE
}
