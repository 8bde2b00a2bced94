//! The contract suite: the embedded API server and a real kube-apiserver are asked the same, and have to answer the same.
//!
//!     cargo test --test contract                      every case
//!     cargo test --test contract -- cases WORD..      the hand-written ones whose name holds one of the words
//!     cargo test --test contract -- seed N            one drawn case, shrunk where it fails
//!     cargo test --test contract -- seeds FROM TO     these drawn cases
//!
//! Compared are status code, reason, body and watch events. Set apart is only what has to differ: uids, versions, times, generated
//! names and addresses, each replaced by the order in which it was first seen.
#![recursion_limit = "512"]
#![expect(clippy::print_stdout, reason = "the report is its output")]

mod compare;
mod draw;
mod normal;
#[expect(dead_code, reason = "the lab uses the rest of it")]
#[path = "../lab/process.rs"]
mod process;
mod script;
#[expect(dead_code, reason = "others use the rest of it")]
#[path = "../server/mod.rs"]
mod server;
mod side;
#[path = "../lab/wait.rs"]
mod wait;

use std::{path::Path, process::ExitCode};

use compare::Outcome;
use futures::{StreamExt, stream};
use script::Case;
use serin::clock::instant;
use server::{ApiServer, Place};
use side::Sides;

/// What the suite's own steps answer. The error is for a person to read.
type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Cases that are drawn, from seed 0 on.
const DRAWN: u64 = 240;

/// Cases in flight: most of the time is the server's.
const AT_ONCE: usize = 16;

/// Drawn cases that are made short; with more of them something common is wrong.
const SHRUNK: usize = 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error),
    };
    match runtime.block_on(run(&words.iter().map(String::as_str).collect::<Vec<_>>())) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => refused(&*error),
    }
}

fn refused(error: &dyn std::error::Error) -> ExitCode {
    println!("contract: {error}");
    ExitCode::FAILURE
}

/// The number of cases that differ.
async fn run(words: &[&str]) -> Fallible<usize> {
    let started = instant();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vocabulary = script::Vocabulary::read(&root.join("e2e/contract/cases"))?;
    let all = asked_for(words, &vocabulary)?;
    let folder = tempfile::tempdir()?;
    let programs = server::programs(root, &[])?;
    let server = ApiServer::start(&programs, folder.path(), Place::free()?, &[]).await?;
    let sides = Sides::new(&server, root, &programs).await?;
    println!("contract: both servers are up after {:.1} s", started.elapsed().as_secs_f64());
    let outcomes: Vec<(Case, Outcome)> = stream::iter(all)
        .map(async |case| {
            let outcome = compare::play(&sides, &case).await;
            (case, outcome)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut failed = 0;
    for (case, outcome) in &outcomes {
        if !outcome.differences.is_empty() {
            failed += 1;
            report(&sides, case, outcome, failed <= SHRUNK).await;
        }
    }
    tally(&outcomes, failed);
    println!("contract: compared in {:.1} s", started.elapsed().as_secs_f64());
    Ok(if outcomes.is_empty() { 1 } else { failed })
}

/// The cases that the command line names; all where it names none.
fn asked_for(words: &[&str], vocabulary: &script::Vocabulary) -> Fallible<Vec<Case>> {
    let drawn = |from, to| (from..to).map(|seed| draw::case(seed, vocabulary));
    Ok(match words {
        ["seed", seed] => vec![draw::case(seed.parse()?, vocabulary)],
        ["seeds", from, to] => drawn(from.parse()?, to.parse()?).collect(),
        ["cases", only @ ..] => chosen(vocabulary, only),
        _ => vocabulary.cases.iter().cloned().chain(drawn(0, DRAWN)).collect(),
    })
}

/// Says what was compared. Cases that are refused are named.
fn tally(outcomes: &[(Case, Outcome)], failed: usize) {
    let cases = || outcomes.iter().map(|(case, _)| case);
    let mut refused = 0;
    for case in cases() {
        if let Some(why) = &case.refused {
            refused += 1;
            println!("contract: not served by the embedded server, and refused there: {} ({why})", case.name);
        }
    }
    let drawn = cases().filter(|case| case.seed.is_some()).count();
    let written = outcomes.len() - drawn;
    let requests: usize = outcomes.iter().map(|(_, outcome)| outcome.requests).sum();
    let events: usize = outcomes.iter().map(|(_, outcome)| outcome.events).sum();
    println!(
        "contract: {written} cases by hand ({refused} of them refusals by name), {drawn} drawn (seeds from 0); {requests} requests and \
         {events} watch events; {failed} cases differ"
    );
    println!("contract: {} passed, {failed} failed", outcomes.len() - failed);
}

fn chosen(vocabulary: &script::Vocabulary, words: &[&str]) -> Vec<Case> {
    let wanted = |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word));
    vocabulary.cases.iter().filter(wanted).cloned().collect()
}

/// Prints a case that differs; a drawn one as short as it can be made.
async fn report(sides: &Sides, case: &Case, outcome: &Outcome, shrinks: bool) {
    let mut shown = (case.clone(), outcome.differences.clone());
    if case.seed.is_some() && shrinks {
        let mut at = 0;
        while at < shown.0.steps.len() {
            let mut shorter = shown.0.clone();
            shorter.steps.remove(at);
            let outcome = compare::play(sides, &shorter).await;
            if outcome.differences.is_empty() || shorter.steps.is_empty() {
                at += 1;
            } else {
                shown = (shorter, outcome.differences);
            }
        }
    }
    println!("\n{}", shown.0);
    for difference in &shown.1 {
        println!("{difference}");
    }
}
