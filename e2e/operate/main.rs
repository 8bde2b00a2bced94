//! Operating serin: `deploy/` says what it claims, every alert fires on a real Prometheus when its condition is made true
//! and not before, and traces reach a collector without anybody waiting for it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and it says what it saw"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

mod alerts;
mod cluster;
mod deploy;
mod page;
mod probes;
mod process;
mod prometheus;
mod restricted;
mod rules;
mod traces;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file of the rules, as plain Prometheus reads it.
fn rules_file() -> PathBuf {
    root().join("deploy/optional/monitoring/serin.rules.yaml")
}
