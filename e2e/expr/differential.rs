//! Random conditions and results, judged by serin and by the reference: they must agree on true, false or error.
//!
//! ```text
//! differential ORACLE [--pairs N] [--seed N]
//! ```
//!
//! A disagreement is shrunk and printed as a vector. Exit status 1 when one remains that `accepted.jsonl` does not
//! list. Nearly every accepted difference is an error on our side; the order of maps, which the reference does not have,
//! is found by asking it again.

mod generate;
mod language;
mod measured;
mod oracle;
mod pair;
mod results;
mod rng;
mod sketch;

// The language names its siblings from the root of the crate.
use language::domain;

use std::{collections::BTreeMap, io, process::ExitCode};

use oracle::{Answer, Oracle};
use pair::Pair;
use rng::Rng;
use serde_json::Value;

const BATCH: usize = 2000;

/// A line is printed after this many pairs.
const PROGRESS: usize = 500_000;

/// Disagreements after which a run ends: more of them are mostly one cause.
const ENOUGH: usize = 60;

/// A difference that may stay: our error's message holds `ours`, or the condition holds all of `text`, in this order.
struct Accepted {
    ours: Option<String>,
    text: Vec<String>,
    reason: String,
}

impl Accepted {
    fn covers(&self, pair: &Pair, ours: &Answer) -> bool {
        match &self.ours {
            Some(part) => ours.verdict == "error" && ours.message.contains(part),
            None => {
                let mut rest = pair.text.as_str();
                self.text.iter().all(|part| match rest.split_once(part.as_str()) {
                    Some((_, behind)) => {
                        rest = behind;
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

/// The accepted differences.
fn accepted() -> Vec<Accepted> {
    let text = include_str!("accepted.jsonl");
    text.lines()
        .filter_map(|line| {
            let json: Value = serde_json::from_str(line).ok()?;
            let text = json["text"].as_array().into_iter().flatten();
            Some(Accepted {
                ours: json["ours"].as_str().map(str::to_owned),
                text: text.filter_map(|part| part.as_str().map(str::to_owned)).collect(),
                reason: json["reason"].as_str()?.to_owned(),
            })
        })
        .collect()
}

#[derive(Default)]
struct Tally {
    pairs: usize,
    verdicts: BTreeMap<String, usize>,
    same_message: usize,
    accepted: BTreeMap<String, usize>,
    found: usize,
}

struct Run {
    oracle: Oracle,
    accepted: Vec<Accepted>,
    now: jiff::Timestamp,
    tally: Tally,
}

impl Run {
    /// Why the two may differ; `None` when they may not.
    fn reason(&mut self, pair: &Pair, ours: &Answer, theirs: &Answer) -> io::Result<Option<String>> {
        if let Some(accepted) = self.accepted.iter().find(|accepted| accepted.covers(pair, ours)) {
            return Ok(Some(accepted.reason.clone()));
        }
        if pair.text.contains("now()") && self.agree_now(pair)? {
            return Ok(Some("now(): the clock went on between the two".to_owned()));
        }
        // A small map of the reference begins at its first key seven times out of eight.
        let unordered = ["keys", "values", "toPairs"].iter().any(|name| pair.text.contains(name));
        for _ in 0..if unordered { 200 } else { 3 } {
            if self.oracle.ask_one(pair.question())?.verdict != theirs.verdict {
                return Ok(Some(
                    "the order of an object's keys, which the reference does not have".to_owned(),
                ));
            }
        }
        Ok(None)
    }

    /// True when both say the same once they are asked at the same time.
    fn agree_now(&mut self, pair: &Pair) -> io::Result<bool> {
        self.now = jiff::Timestamp::now();
        Ok(pair.judged(self.now).verdict == self.oracle.ask_one(pair.question())?.verdict)
    }

    fn differs(&mut self, pair: &Pair) -> io::Result<bool> {
        let ours = pair.judged(self.now);
        let theirs = self.oracle.ask_one(pair.question())?;
        Ok(ours.verdict != theirs.verdict && self.reason(pair, &ours, &theirs)?.is_none())
    }

    /// The smallest pair that still differs.
    fn shrink(&mut self, mut pair: Pair) -> io::Result<Pair> {
        'again: loop {
            for smaller in pair.clone().smaller() {
                if self.differs(&smaller)? {
                    pair = smaller;
                    continue 'again;
                }
            }
            return Ok(pair);
        }
    }

    /// Makes a batch while the oracle answers the one before, and compares that.
    fn batch(
        &mut self,
        asked: Vec<(Pair, Answer)>,
        next: usize,
        rng: &mut Rng,
    ) -> io::Result<Vec<(Pair, Answer)>> {
        let questions = asked.iter().map(|(pair, _)| pair.question()).collect();
        let (oracle, now) = (&mut self.oracle, self.now);
        let (theirs, next) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| oracle.ask(questions));
            let next: Vec<_> = (0..next).map(|_| pair::pair(rng, now)).collect();
            (theirs.join(), next)
        });
        let theirs = theirs.map_err(|_| io::Error::other("asking"))??;
        for ((pair, ours), theirs) in asked.into_iter().zip(theirs) {
            self.compare(pair, &ours, &theirs)?;
            if self.tally.found >= ENOUGH {
                break;
            }
        }
        Ok(next)
    }

    fn compare(&mut self, pair: Pair, ours: &Answer, theirs: &Answer) -> io::Result<()> {
        self.tally.pairs += 1;
        *self.tally.verdicts.entry(theirs.verdict.clone()).or_default() += 1;
        if ours.verdict == theirs.verdict {
            self.tally.same_message += usize::from(ours.verdict == "error" && ours.message == theirs.message);
            return Ok(());
        }
        if let Some(reason) = self.reason(&pair, ours, theirs)? {
            *self.tally.accepted.entry(reason).or_default() += 1;
            return Ok(());
        }
        let small = self.shrink(pair)?;
        let ours = small.judged(self.now);
        let theirs = self.oracle.ask_one(small.question())?;
        println!(
            "DISAGREE {}\n    serin {} {:?}\n    reference {} {:?}",
            small.question(),
            ours.verdict,
            ours.message,
            theirs.verdict,
            theirs.message
        );
        self.tally.found += 1;
        Ok(())
    }
}

/// The value behind a flag.
fn flag(arguments: &[String], name: &str) -> Option<u64> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

fn run() -> io::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let program = arguments.first().ok_or_else(|| io::Error::other("the oracle's path is missing"))?;
    let pairs = usize::try_from(flag(&arguments, "--pairs").unwrap_or(200_000)).unwrap_or(usize::MAX);
    let seed = flag(&arguments, "--seed").unwrap_or(20_261_121);
    println!("differential: {pairs} pairs, seed {seed}");
    let now = jiff::Timestamp::now();
    let mut run = Run { oracle: Oracle::start(program)?, accepted: accepted(), now, tally: Tally::default() };
    let mut rng = Rng::new(seed);
    let mut made = 0;
    let mut batch = vec![];
    loop {
        let next = BATCH.min(pairs - made);
        made += next;
        batch = run.batch(batch, next, &mut rng)?;
        if run.tally.pairs > 0 && run.tally.pairs.is_multiple_of(PROGRESS) {
            println!("{} pairs, {} disagreements", run.tally.pairs, run.tally.found);
        }
        if batch.is_empty() || run.tally.found >= ENOUGH {
            break;
        }
    }
    let tally = &run.tally;
    println!("asked {} pairs; the reference says {:?}", tally.pairs, tally.verdicts);
    println!("errors with the same message: {}", tally.same_message);
    for (reason, count) in &tally.accepted {
        println!("accepted {count:>6}  {reason}");
    }
    let agree = tally.found == 0 && tally.pairs == pairs;
    println!("{} disagreements", tally.found);
    println!("differential fuzz: {} passed, {} failed", u8::from(agree), u8::from(!agree));
    Ok(agree)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::from(2)
        }
    }
}
