use std::process::ExitCode;

use clap::Parser;

/// Progressive delivery for Kubernetes.
#[derive(Parser)]
#[command(name = "serin", version)]
enum Verb {
    /// Print the CustomResourceDefinitions of every kind that serin reads or writes.
    Crds(serin::cli::crds::Args),
    #[command(hide = true)]
    GitTransfer,
}

fn main() -> ExitCode {
    match Verb::parse() {
        Verb::Crds(args) => serin::cli::crds::run(&args),
        Verb::GitTransfer => serin::cli::transfer::run(),
    }
}
