//! Evaluations and parses a second of `result[0] < 0.05`, beside the reference's, in one run on one core each.
//!
//! ```text
//! expr_bench ORACLE [--seconds N]
//! ```

#[path = "../expr/language.rs"]
mod language;

use language::domain;

use std::{
    hint::black_box,
    process::{Command, ExitCode},
    time::Instant,
};

use domain::value::MetricValue;
use language::expr::Condition;

const CONDITION: &str = "result[0] < 0.05";
const EVALUATIONS_WANTED: f64 = 5e6;
const PARSES_WANTED: f64 = 2e5;

/// How often a second `work` can be done.
fn rate(seconds: f64, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut count = 0.0;
    while begin.elapsed().as_secs_f64() < seconds {
        for _ in 0..1000 {
            work();
        }
        count += 1000.0;
    }
    count / begin.elapsed().as_secs_f64()
}

fn reference(program: &str, seconds: f64) -> Option<(f64, f64)> {
    let output = Command::new(program)
        .args(["-bench", CONDITION, "-seconds", &seconds.to_string()])
        .env("GOMAXPROCS", "1")
        .output()
        .ok()?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some((json["evaluations"].as_f64()?, json["parses"].as_f64()?))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments
        .iter()
        .position(|argument| argument == "--seconds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(2.0);
    let Ok(condition) = Condition::parse(CONDITION) else {
        return ExitCode::FAILURE;
    };
    let result = MetricValue::Floats(vec![0.01]);
    let evaluations = rate(seconds, || {
        let _ = black_box(condition.evaluate(black_box(&result)));
    });
    let parses = rate(seconds, || {
        let _ = black_box(Condition::parse(black_box(CONDITION)));
    });
    // The reference's parse includes its compilation for one type of result, so ours is measured with it too.
    let compiles = rate(seconds, || {
        if let Ok(condition) = Condition::parse(black_box(CONDITION)) {
            let _ = black_box(condition.evaluate(&result));
        }
    });
    let theirs = arguments.get(1).and_then(|program| reference(program, seconds));
    println!("{CONDITION}");
    println!("                          serin a second    reference a second    ratio");
    let row = |name: &str, ours: f64, theirs: Option<f64>| match theirs {
        Some(theirs) => println!("{name:<24}{ours:>16.0}{theirs:>22.0}{:>9.1}", ours / theirs),
        None => println!("{name:<24}{ours:>16.0}{:>22}", "not measured"),
    };
    row("evaluations", evaluations, theirs.map(|theirs| theirs.0));
    row("parses", parses, None);
    row("parses and compilations", compiles, theirs.map(|theirs| theirs.1));
    let enough = evaluations >= EVALUATIONS_WANTED && parses >= PARSES_WANTED;
    println!("wanted: {EVALUATIONS_WANTED:.0} evaluations and {PARSES_WANTED:.0} parses a second");
    if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
