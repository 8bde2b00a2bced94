//! Bytes at random, through the parser and the evaluator: no panic, no run over a limit.
//!
//! ```text
//! bytes [--seconds N] [--seed N]
//! ```
//!
//! Texts are grown from conditions that are valid, from tokens and from raw bytes, by cutting, doubling, swapping
//! and nesting. Each is judged against every type of result on a thread with a small stack. Exit status 1 on a
//! panic, on an evaluation over a second, and on a text over 4 KiB that parses.

mod generate;
mod language;
mod measured;
mod results;
mod rng;
mod seeds;
mod sketch;

use language::domain::{self, value::MetricValue};

use std::{
    alloc::System,
    process::ExitCode,
    time::{Duration, Instant},
};

use cap::Cap;
use language::expr::Condition;
use measured::measured;
use rng::Rng;
use serde_json::{Value, json};

/// Far below the two MiB of a tokio worker.
const STACK_BYTES: usize = 1 << 20;

/// One evaluation, the search for its reason and its typed tree may take this much of a processor, with overflow
/// checks on.
const SLOW: Duration = Duration::from_secs(10);

/// Bytes that the whole process may come to.
const ROOM: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// An evaluation that took this long works at the limits.
const HEAVY: Duration = Duration::from_millis(20);

fn grow(rng: &mut Rng, heavy: &[String]) -> String {
    let mut bytes = match rng.below(4) {
        0 => {
            let (kind, result) = results::result(rng);
            generate::Generator::new(rng, kind, &result).condition().print().into_bytes()
        }
        1 => {
            let count = rng.below(60);
            (0..count).flat_map(|_| rng.pick(seeds::TOKENS).bytes().collect::<Vec<u8>>()).collect()
        }
        2 => {
            let count = rng.below(200);
            (0..count).map(|_| (rng.next() & 0xff) as u8).collect()
        }
        _ if rng.one_in(50) => rng.pick(heavy).as_bytes().to_vec(),
        _ => rng.pick(seeds::SEEDS).as_bytes().to_vec(),
    };
    for _ in 0..rng.below(5) {
        mutate(rng, &mut bytes);
    }
    bytes.truncate(6000);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.below(bytes.len() + 1);
    match rng.below(8) {
        0 => bytes.truncate(at),
        1 => {
            let end = (at + rng.below(20)).min(bytes.len());
            bytes.drain(at..end);
        }
        2 => {
            let token = *rng.pick(seeds::TOKENS);
            bytes.splice(at..at, token.bytes());
        }
        3 => {
            // Nesting, up to far past every limit.
            let (open, close) = *rng.pick(&[
                ("(", ")"),
                ("[", "]"),
                ("!", ""),
                ("-", ""),
                ("all(1..9,", ")"),
                ("{a:", "}"),
                ("1?", ":2"),
            ]);
            let times = 1 << rng.below(12);
            let whole = [open.repeat(times).as_bytes(), bytes, close.repeat(times).as_bytes()].concat();
            *bytes = whole;
        }
        4 => {
            let joint = *rng.pick(&[" && ", " || ", "+", " ?? ", "|len()", "[0]", ".a", ", ", ";", " < "]);
            let times = 1 << rng.below(8);
            let part = bytes.clone();
            for _ in 0..times {
                if bytes.len() > 5000 {
                    break;
                }
                bytes.extend_from_slice(joint.as_bytes());
                bytes.extend_from_slice(&part);
            }
        }
        5 if !bytes.is_empty() => {
            let place = at.min(bytes.len() - 1);
            bytes[place] = (rng.next() & 0xff) as u8;
        }
        6 => {
            let seed = *rng.pick(seeds::SEEDS);
            bytes.splice(at..at, seed.bytes());
        }
        _ => {
            let end = (at + rng.below(30)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
    }
}

fn usual_results() -> Vec<(&'static str, Value)> {
    vec![
        ("float", json!(0.01)),
        ("float", json!("NaN")),
        ("int", json!(2)),
        ("floats", json!([])),
        ("floats", json!([0.01, "NaN", 5])),
        ("maplist", json!([{"a": 1}, {"a": "x"}])),
        ("json", json!({"a": {"b": [1, 2]}, "list": [1, "a", null], "s": "hello"})),
        ("json", json!([1, "a", [2], null])),
        ("json", json!(true)),
        ("string", json!("hello")),
        ("nil", Value::Null),
    ]
}

/// The value behind a flag.
fn flag(name: &str) -> Option<u64> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

#[derive(Default)]
struct Tally {
    texts: u64,
    parsed: u64,
    evaluations: u64,
    verdicts: u64,
    heavy: u64,
    slowest: (Duration, String),
    broken: Vec<String>,
}

/// The time that this thread had a processor, or the time of the day where the system does not tell.
fn busy(begin: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| begin.elapsed(), Duration::from_nanos)
}

struct Hunt {
    begin: Instant,
    results: Vec<MetricValue>,
    tally: Tally,
}

impl Hunt {
    /// Judges one text on every result, the `first` one first: what is heavy on one is heavy on most, and is not
    /// judged on all.
    fn judge(&mut self, text: &str, first: usize) {
        // Printed by the hook when it panics, so that the text is never lost.
        *CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text.to_owned();
        self.tally.texts += 1;
        let Ok(condition) = Condition::parse(text) else {
            return;
        };
        self.tally.parsed += 1;
        if text.len() > 4096 {
            self.tally.broken.push(format!("{} bytes parsed", text.len()));
        }
        for result in self.results[first..].iter().chain(&self.results[..first]) {
            let start = busy(self.begin);
            let verdict = condition.evaluate_at(result, None);
            if let Err(error) = &verdict {
                let _ = error.explain(text);
            }
            let _ = condition.because(result, None);
            let _ = condition.explain(result);
            let took = busy(self.begin).saturating_sub(start);
            self.tally.evaluations += 1;
            self.tally.verdicts += u64::from(verdict.is_ok());
            if took > self.tally.slowest.0 {
                self.tally.slowest = (took, text.to_owned());
            }
            if took > SLOW {
                self.tally.broken.push(format!("took {took:?}: {text:?} on {result:?}"));
            }
            if ALLOCATOR.max_allocated() > ROOM {
                let bytes = ALLOCATOR.max_allocated();
                self.tally.broken.push(format!("took {bytes} bytes: {text:?} on {result:?}"));
            }
            if took > HEAVY {
                self.tally.heavy += 1;
                return;
            }
        }
    }
}

fn hunt(seconds: u64, seed: u64) -> Tally {
    let mut rng = Rng::new(seed);
    let results: Vec<_> = usual_results().iter().map(|(kind, json)| measured(kind, json)).collect();
    let heavy = seeds::heavy();
    let mut hunt = Hunt { begin: Instant::now(), results, tally: Tally::default() };
    for text in &heavy {
        hunt.judge(text, 0);
    }
    while hunt.begin.elapsed().as_secs() < seconds && hunt.tally.broken.is_empty() {
        let text = grow(&mut rng, &heavy);
        let first = rng.below(hunt.results.len());
        hunt.judge(&text, first);
    }
    hunt.tally
}

/// The end of a text, where heavy seeds differ.
fn cut(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(120);
    text.chars().skip(skip).collect()
}

static CURRENT: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

fn main() -> ExitCode {
    let seconds = flag("--seconds").unwrap_or(60);
    let seed = flag("--seed").unwrap_or(20_261_121);
    println!("bytes: {seconds} s, seed {seed}, a stack of {STACK_BYTES} bytes");
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(text) = CURRENT.try_lock() {
            eprintln!("PANIC on {text:?}");
        }
        usual(info);
    }));
    let hunter = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || hunt(seconds, seed));
    let Some(tally) = hunter.ok().and_then(|hunter| hunter.join().ok()) else {
        return ExitCode::FAILURE;
    };
    println!(
        "{} texts, {} parsed, {} evaluations, {} with a verdict, {} at the limits, the slowest took {:?}",
        tally.texts, tally.parsed, tally.evaluations, tally.verdicts, tally.heavy, tally.slowest.0
    );
    println!("at most {} MiB; slowest was {:?}", ALLOCATOR.max_allocated() >> 20, cut(&tally.slowest.1));
    for broken in &tally.broken {
        println!("BROKEN {broken}");
    }
    // A hunt that judged nothing proves nothing.
    let sound = tally.broken.is_empty() && tally.verdicts > 0;
    println!("byte fuzz: {} passed, {} failed", u8::from(sound), u8::from(!sound));
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
