//! The verbs of the command line. The only room, with `main`, that reads arguments and environment.

pub mod condition;
use std::process::ExitCode;

pub mod controller;
pub mod crds;
pub mod demo;
pub mod gitops;
mod ignored;
mod process;
pub mod transfer;

/// Progressive delivery for Kubernetes: canary steps through Istio, gated on Prometheus, reverted in Git.
#[derive(Debug, clap::Parser)]
#[command(name = "serin", version)]
pub struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Condition(condition::Args),
    Controller(Box<controller::Args>),
    Crds(crds::Args),
    Demo(demo::Args),
    Gitops(Box<gitops::Args>),
    /// One fetch or push, for `serin gitops`.
    #[command(hide = true)]
    GitTransfer,
}

impl Line {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        match self.verb {
            Verb::Condition(args) => condition::run(args),
            Verb::Controller(args) => controller::run(&args),
            Verb::Crds(args) => crds::run(&args),
            Verb::Demo(args) => demo::run(&args),
            Verb::Gitops(args) => gitops::run(&args),
            Verb::GitTransfer => transfer::run(),
        }
    }
}
