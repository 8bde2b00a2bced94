//! The vectors: serin and the reference, both against what the file says.
//!
//! ```text
//! vectors ORACLE
//! ```

mod language;
mod measured;

use language::domain;

use std::{
    io::Write,
    process::{Command, ExitCode, Stdio},
};

use language::expr::Condition;
use measured::measured;
use serde_json::Value;

const VECTORS: &str = include_str!("conditions.jsonl");

/// What the oracle says of each line.
fn oracle(program: &str) -> std::io::Result<Vec<Value>> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or_else(|| std::io::Error::other("no input"))?;
    let writer = std::thread::spawn(move || input.write_all(VECTORS.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn main() -> ExitCode {
    let Some(program) = std::env::args().nth(1) else {
        eprintln!("vectors: the oracle's path is missing");
        return ExitCode::from(2);
    };
    let theirs = match oracle(&program) {
        Ok(theirs) => theirs,
        Err(error) => {
            eprintln!("vectors: {error}");
            return ExitCode::from(2);
        }
    };
    let now = Some(jiff::Timestamp::now());
    let (mut count, mut wrong) = (0, 0);
    for (line, theirs) in VECTORS.lines().zip(&theirs) {
        let vector: Value = serde_json::from_str(line).unwrap_or_default();
        let text = vector["condition"].as_str().unwrap_or_default();
        let kind = vector["resultType"].as_str().unwrap_or_default();
        let verdict = Condition::parse(text)
            .and_then(|condition| condition.evaluate_at(&measured(kind, &vector["result"]), now));
        let (ours, message) = match verdict {
            Ok(verdict) => (Value::Bool(verdict), None),
            Err(error) => (Value::from("error"), Some(error.to_string())),
        };
        count += 1;
        // The reference's keys() has no order, so neither verdict nor file count there.
        let unordered = text.starts_with("keys(result)[0]") && ours.is_boolean();
        let agree = ours == vector["expect"]
            && theirs["verdict"] == vector["expect"]
            && message.as_deref() == vector["message"].as_str();
        if !agree && !unordered {
            wrong += 1;
            println!("WRONG {line}\n    serin {ours} {message:?}\n    reference {theirs}");
        }
    }
    // A line that the oracle did not answer is wrong too.
    wrong += VECTORS.lines().count() - count;
    println!("vectors: {} passed, {wrong} failed", count.min(VECTORS.lines().count() - wrong));
    if wrong == 0 && count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
