//! Drawn schedules, and the planted mistakes that they must find.
//!
//!     cargo test --test net                              what ./e2e/run runs
//!     cargo test --test net -- planted [WORD]            the mistakes only
//!     cargo test --test net -- seeds FROM TO             these schedules
//!     cargo test --test net -- seed N                    one schedule, shrunk where it fails
//!     cargo test --test net -- script FILE               one that is written down
#![expect(clippy::print_stdout, reason = "the report is its output")]

mod planted;

use std::{
    num::NonZero,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serin::sim::net::{Cover, KINDS, Played, Script, draw, play, shrink};

/// Schedules that `./e2e/run` plays: the seeds from 1.
const SCHEDULES: u64 = 10_000;
/// How often each kind of event must have had its effect in these.
const HITS: u32 = 1_000;
/// Schedules that a planted mistake may take to be found.
const FOR_EACH_MISTAKE: u64 = 1_000;

fn main() -> std::process::ExitCode {
    std::panic::set_hook(Box::new(|panic| println!("# {panic}")));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().unwrap_or(0);
    let failed = match words.as_slice() {
        ["seed", seed] => one(number(seed)),
        ["drawn", seed] => {
            println!("{}", draw(number(seed)));
            0
        }
        ["script", path] => script(path),
        ["seeds", from, to] => many(number(from)..number(to)).0,
        ["planted"] => mistakes(""),
        ["planted", name] => mistakes(name),
        _ => all() + mistakes(""),
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

/// Does `work` for each number on every processor. What it gives is in the order of the numbers.
fn each<T: Send>(numbers: Range<u64>, work: impl Fn(u64) -> T + Sync) -> Vec<(u64, T)> {
    let next = AtomicU64::new(numbers.start);
    let done = Mutex::new(vec![]);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= numbers.end {
                        return;
                    }
                    let given = work(number);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, given));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done
}

/// Plays schedules and tells which broke a law, and what all of them reached.
fn many(seeds: Range<u64>) -> (usize, Cover) {
    let count = seeds.end.saturating_sub(seeds.start);
    let played = each(seeds, |seed| {
        // The story of a broken law is long: `seed N` tells it again.
        let Played { violations, cover, .. } = play(&draw(seed), None);
        if let Some(violation) = violations.first() {
            println!("seed {seed}: {violation}");
        }
        (violations.is_empty(), cover)
    });
    let mut cover = Cover::default();
    let mut failed = 0;
    for (_, (is_good, of_one)) in played {
        failed += usize::from(!is_good);
        cover.add(of_one);
    }
    for (kind, hits) in &cover.hits {
        println!("{hits:7} {kind}");
    }
    let triples = cover.triples.len();
    println!("{count} schedules, {triples} different (phase, event, next effect), {failed} failed");
    (failed, cover)
}

/// What `./e2e/run` plays, and whether it was enough of each kind.
fn all() -> usize {
    let (mut failed, cover) = many(1..SCHEDULES + 1);
    for kind in KINDS {
        let hits = cover.hits.get(kind).copied().unwrap_or(0);
        if hits < HITS {
            println!("only {hits} times {kind}, not {HITS}: 1 failed");
            failed += 1;
        }
    }
    failed
}

/// Plays schedules with each mistake until a law is broken. The honest controller has passed the same ones.
fn mistakes(word: &str) -> usize {
    let wanted: Vec<&planted::Planted> =
        planted::ALL.iter().filter(|planted| planted.name.contains(word)).collect();
    let found = each(0..wanted.len() as u64, |at| {
        let planted = wanted.get(usize::try_from(at).unwrap_or(0))?;
        let found = (0..FOR_EACH_MISTAKE).find_map(|seed| {
            let script = draw(seed);
            let violation = play(&script, Some((planted.make)())).violations.first().cloned()?;
            // What the honest controller trips over as well says nothing about the mistake.
            play(&script, None).violations.is_empty().then_some((seed, violation))
        });
        match &found {
            Some((seed, violation)) => println!("{:45} found at seed {seed}: {violation}", planted.name),
            None => println!("{:45} MISSED in {FOR_EACH_MISTAKE} schedules, 1 failed", planted.name),
        }
        found
    });
    let missed = found.iter().filter(|(_, found)| found.is_none()).count();
    println!("{} planted mistakes, {} found", found.len(), found.len() - missed);
    missed
}
