use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("git-transfer") => serin::cli::transfer::run(),
        Some(_) | None => ExitCode::FAILURE,
    }
}
