//! Evaluations and parses a second of `result[0] < 0.05`, beside the reference's, in one run on one core each.
//!
//! ```text
//! expr_bench ORACLE [--seconds N]
//! ```
//!
//! The two take turns, and of each the best of several rounds counts: what else the machine does at the time slows
//! a round down, nothing speeds it up. Exit status 1 when serin is slower than it should be.

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

const ROUNDS: usize = 5;

/// How often a second each thing can be done. Zero where it was not measured.
#[derive(Clone, Copy, Default)]
struct Rates {
    evaluations: f64,
    parses: f64,
    /// The first evaluation for a type of result included, which checks and compiles. The reference does both before
    /// each evaluation.
    compilations: f64,
}

impl Rates {
    fn best(self, other: Self) -> Self {
        Self {
            evaluations: self.evaluations.max(other.evaluations),
            parses: self.parses.max(other.parses),
            compilations: self.compilations.max(other.compilations),
        }
    }
}

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

fn serin(seconds: f64) -> Option<Rates> {
    let condition = Condition::parse(CONDITION).ok()?;
    let result = MetricValue::Floats(vec![0.01]);
    Some(Rates {
        evaluations: rate(seconds, || {
            let _ = black_box(condition.evaluate(black_box(&result)));
        }),
        parses: rate(seconds, || {
            let _ = black_box(Condition::parse(black_box(CONDITION)));
        }),
        compilations: rate(seconds, || {
            if let Ok(condition) = Condition::parse(black_box(CONDITION)) {
                let _ = black_box(condition.evaluate(&result));
            }
        }),
    })
}

fn reference(program: &str, seconds: f64) -> Option<Rates> {
    let output = Command::new(program)
        .args(["-bench", CONDITION, "-seconds", &seconds.to_string()])
        .env("GOMAXPROCS", "1")
        .output()
        .ok()?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(Rates {
        evaluations: json["evaluations"].as_f64()?,
        parses: json["parses"].as_f64()?,
        compilations: json["compilations"].as_f64()?,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments
        .iter()
        .position(|argument| argument == "--seconds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(0.5);
    let (mut ours, mut theirs) = (Rates::default(), Rates::default());
    for _ in 0..ROUNDS {
        let Some(round) = serin(seconds) else {
            return ExitCode::FAILURE;
        };
        ours = ours.best(round);
        if let Some(round) = arguments.get(1).and_then(|program| reference(program, seconds)) {
            theirs = theirs.best(round);
        }
    }
    println!("{CONDITION}, best of {ROUNDS} rounds of {seconds} s, one core");
    println!("                          serin a second    reference a second    ratio");
    let row = |name: &str, ours: f64, theirs: f64| {
        if theirs > 0.0 {
            println!("{name:<24}{ours:>16.0}{theirs:>22.0}{:>9.1}", ours / theirs);
        } else {
            println!("{name:<24}{ours:>16.0}{:>22}", "not measured");
        }
    };
    row("evaluations", ours.evaluations, theirs.evaluations);
    row("parses", ours.parses, theirs.parses);
    row("parses and compilations", ours.compilations, theirs.compilations);
    let enough = ours.evaluations >= EVALUATIONS_WANTED && ours.parses >= PARSES_WANTED;
    println!("wanted: {EVALUATIONS_WANTED:.0} evaluations and {PARSES_WANTED:.0} parses a second");
    if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
