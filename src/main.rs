//! The one binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Fails only where one is installed already, and that is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    serin::cli::Line::parse().run()
}
