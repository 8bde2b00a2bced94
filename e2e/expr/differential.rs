//! Random conditions and results, judged by serin and by the reference: they must agree on true, false or error.
//!
//! ```text
//! differential ORACLE [--pairs N] [--seed N] [--vectors FILE]
//! ```
//!
//! A disagreement is shrunk and printed as a vector. Exit status 1 when one remains that `accepted.jsonl` does not
//! list. Nearly every accepted difference is an error on our side; the order of maps, which the reference does not have,
//! is found by asking it again.

mod generate;
mod language;
mod measured;
mod results;
mod rng;

// The language names its siblings from the root of the crate.
use language::domain;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
};

use generate::Sketch;
use language::expr::Condition;
use measured::measured;
use rng::Rng;
use serde_json::{Value, json};

const BATCH: usize = 2000;

struct Oracle {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Clone, Debug, PartialEq)]
struct Answer {
    verdict: String,
    message: String,
}

impl Oracle {
    fn start(program: &str) -> std::io::Result<Self> {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
        Ok(Self { child, questions, answers: BufReader::new(answers) })
    }

    /// The answers to a batch, in order. Questions are written by a thread, so that no pipe fills up.
    fn ask(&mut self, pairs: &[Pair]) -> std::io::Result<Vec<Answer>> {
        let lines: String = pairs.iter().map(|pair| pair.line() + "\n").collect();
        let mut input = self.questions.take().ok_or_else(|| std::io::Error::other("no input"))?;
        let writer = std::thread::spawn(move || {
            let written = input.write_all(lines.as_bytes()).and_then(|()| input.flush());
            (input, written)
        });
        let mut answers = Vec::with_capacity(pairs.len());
        for _ in pairs {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                return Err(std::io::Error::other("the oracle ended"));
            }
            let json: Value = serde_json::from_str(&line)?;
            let message = json["message"].as_str().unwrap_or_default().to_owned();
            let verdict = json["verdict"].as_bool().map_or("error".to_owned(), |verdict| verdict.to_string());
            answers.push(Answer { verdict, message });
        }
        let (input, written) = writer.join().map_err(|_| std::io::Error::other("writer"))?;
        written?;
        self.questions = Some(input);
        Ok(answers)
    }

    fn ask_one(&mut self, pair: &Pair) -> std::io::Result<Answer> {
        Ok(self.ask(std::slice::from_ref(pair))?.remove(0))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.questions.take();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Debug)]
struct Pair {
    sketch: Sketch,
    text: String,
    kind: &'static str,
    result: Value,
}

impl Pair {
    fn line(&self) -> String {
        json!({"condition": self.text, "resultType": self.kind, "result": self.result}).to_string()
    }

    fn ours(&self, now: jiff::Timestamp) -> Answer {
        let verdict = Condition::parse(&self.text)
            .and_then(|condition| condition.evaluate_at(&measured(self.kind, &self.result), Some(now)));
        match verdict {
            Ok(verdict) => Answer { verdict: verdict.to_string(), message: String::new() },
            Err(error) => Answer { verdict: "error".to_owned(), message: error.to_string() },
        }
    }
}

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
    found: Vec<String>,
}

struct Run {
    oracle: Oracle,
    accepted: Vec<Accepted>,
    now: jiff::Timestamp,
    tally: Tally,
}

impl Run {
    /// Why the two may differ; `None` when they may not.
    fn reason(&mut self, pair: &Pair, ours: &Answer, theirs: &Answer) -> std::io::Result<Option<String>> {
        if let Some(accepted) = self.accepted.iter().find(|accepted| accepted.covers(pair, ours)) {
            return Ok(Some(accepted.reason.clone()));
        }
        for _ in 0..20 {
            if self.oracle.ask_one(pair)?.verdict != theirs.verdict {
                return Ok(Some("the order of an object's keys, which the reference does not have".to_owned()));
            }
        }
        Ok(None)
    }

    fn differs(&mut self, pair: &Pair) -> std::io::Result<Option<(Answer, Answer)>> {
        let ours = pair.ours(self.now);
        let theirs = self.oracle.ask_one(pair)?;
        if ours.verdict == theirs.verdict || self.reason(pair, &ours, &theirs)?.is_some() {
            return Ok(None);
        }
        Ok(Some((ours, theirs)))
    }

    /// The smallest pair that still differs.
    fn shrink(&mut self, mut pair: Pair) -> std::io::Result<Pair> {
        'again: loop {
            for sketch in pair.sketch.simpler() {
                let text = sketch.print();
                if text.len() >= pair.text.len() && text != pair.text {
                    continue;
                }
                let smaller = Pair { text, sketch, ..pair.clone() };
                if smaller.text != pair.text && self.differs(&smaller)?.is_some() {
                    pair = smaller;
                    continue 'again;
                }
            }
            for result in smaller_results(&pair.result) {
                let smaller = Pair { result, ..pair.clone() };
                if self.differs(&smaller)?.is_some() {
                    pair = smaller;
                    continue 'again;
                }
            }
            return Ok(pair);
        }
    }

    fn batch(&mut self, pairs: &[Pair]) -> std::io::Result<()> {
        let theirs = self.oracle.ask(pairs)?;
        for (pair, theirs) in pairs.iter().zip(theirs) {
            let ours = pair.ours(self.now);
            self.tally.pairs += 1;
            *self.tally.verdicts.entry(theirs.verdict.clone()).or_default() += 1;
            if ours.verdict == theirs.verdict {
                self.tally.same_message += usize::from(ours.verdict == "error" && ours.message == theirs.message);
                continue;
            }
            if let Some(reason) = self.reason(pair, &ours, &theirs)? {
                *self.tally.accepted.entry(reason).or_default() += 1;
                continue;
            }
            let small = self.shrink(pair.clone())?;
            let ours = small.ours(self.now);
            let theirs = self.oracle.ask_one(&small)?;
            self.tally.found.push(format!(
                "{}\n    serin {} {:?}\n    reference {} {:?}",
                small.line(),
                ours.verdict,
                ours.message,
                theirs.verdict,
                theirs.message
            ));
            if self.tally.found.len() >= 60 {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn smaller_results(result: &Value) -> Vec<Value> {
    match result {
        Value::Array(items) => (0..items.len())
            .map(|index| {
                let mut items = items.clone();
                items.remove(index);
                Value::Array(items)
            })
            .collect(),
        Value::Object(object) => object
            .keys()
            .map(|key| {
                let mut object = object.clone();
                object.remove(key);
                Value::Object(object)
            })
            .collect(),
        _ => vec![],
    }
}

fn pair(rng: &mut Rng) -> Pair {
    let (kind, result) = results::result(rng);
    let sketch = generate::Generator::new(rng, kind, &result).condition();
    let mut text = sketch.print();
    let mut sketch = sketch;
    if rng.one_in(12) {
        text = generate::damaged(rng, &text);
        sketch = Sketch::text(text.clone());
    }
    Pair { sketch, text, kind, result }
}

/// The value behind a flag.
fn flag(arguments: &[String], name: &str) -> Option<u64> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

fn run() -> std::io::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let program = arguments.first().ok_or_else(|| std::io::Error::other("the oracle's path is missing"))?;
    let pairs = usize::try_from(flag(&arguments, "--pairs").unwrap_or(200_000)).unwrap_or(usize::MAX);
    let seed = flag(&arguments, "--seed").unwrap_or(20_261_121);
    println!("differential: {pairs} pairs, seed {seed}");
    let now = jiff::Timestamp::now();
    let mut run =
        Run { oracle: Oracle::start(program)?, accepted: accepted(), now, tally: Tally::default() };
    let mut rng = Rng::new(seed);
    while run.tally.pairs < pairs && run.tally.found.len() < 60 {
        let size = BATCH.min(pairs - run.tally.pairs);
        let batch: Vec<Pair> = (0..size).map(|_| pair(&mut rng)).collect();
        run.batch(&batch)?;
    }
    let tally = &run.tally;
    println!("asked {} pairs; the reference says {:?}", tally.pairs, tally.verdicts);
    println!("errors with the same message: {}", tally.same_message);
    for (reason, count) in &tally.accepted {
        println!("accepted {count:>6}  {reason}");
    }
    for found in &tally.found {
        println!("DISAGREE {found}");
    }
    println!("{} disagreements", tally.found.len());
    Ok(tally.found.is_empty())
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
