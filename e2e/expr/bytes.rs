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

use language::domain;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use language::expr::Condition;
use measured::measured;
use rng::Rng;
use serde_json::{Value, json};

/// Far below the two MiB of a tokio worker.
const STACK_BYTES: usize = 1 << 20;

/// One evaluation may take this long, on a slow machine that does other things too.
const SLOW: Duration = Duration::from_secs(3);

const SEEDS: &[&str] = &[
    "result[0] < 0.05",
    "all(result, # > 10)",
    "len(result) == 0 || result[0] >= 0.95",
    "let x = result * 2; x > 1",
    "if result > 1 { true } else { false }",
    "result matches '^a+$'",
    "reduce(1..1000, #acc + #) > 1",
    "all(1..1000, all(1..1000, all(1..1000, # > 0)))",
    "repeat('a', 100000) contains repeat('b', 1000)",
    "map(1..100000, repeat('a', #))",
    "sort(map(1..50000, 50000 - #))[0] == 1",
    "groupBy(1..10000, #)",
    "toJSON(map(1..1000, {a: #, b: [#]})) == ''",
    "result?.a?.b[0] ?? 1",
    "uniq(1..100000) == []",
    "replace(repeat('a', 900000), '', 'aaaaaaaaaa')",
    "join(split(repeat('a', 900000), ''), ',')",
    "flatten([[[[[[[[[[1]]]]]]]]]])",
    "'a' matches repeat('(a*)*', 1000)",
    "((((((((((1))))))))))",
    "!!!!!!!!!!!!!!!!true",
    "1 < 2 < 3 < 4 < 5",
    "date('2023-08-14', '2006-01-02') > now()",
    "fromJSON('[[[[[[1]]]]]]')",
    "bitshl(1, 64) == 0 || 9223372036854775807 + 1 < 0",
];

const TOKENS: &[&str] = &[
    "(", ")", "[", "]", "{", "}", ",", ".", "..", "?", "?.", "??", ":", "::", ";", "|", "||", "&&", "!", "not ", " in ",
    "#", "#acc", "#index", "'a'", "\"", "`", "=", "==", "!=", "<", ">=", "-", "+", "*", "**", "/", "%", "^", "1", "0.5",
    "1e308", "9223372036854775807", "0x", "let x = ", "if ", "else ", "//", "/*", "*/", "\\", "\\u{110000}", " matches ",
    " contains ", "result", "nil", "true", "$env", "len(", "map(", "filter(", "all(", "1..1000000", "repeat(", "\0",
    "\u{feff}", "\u{1f600}", "\n", "\r",
];

fn grow(rng: &mut Rng) -> String {
    let mut bytes = match rng.below(4) {
        0 => {
            let (kind, result) = results::result(rng);
            generate::Generator::new(rng, kind, &result).condition().print().into_bytes()
        }
        1 => {
            let count = rng.below(60);
            (0..count).flat_map(|_| rng.pick(TOKENS).bytes().collect::<Vec<u8>>()).collect()
        }
        2 => {
            let count = rng.below(200);
            (0..count).map(|_| (rng.next() & 0xff) as u8).collect()
        }
        _ => rng.pick(SEEDS).as_bytes().to_vec(),
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
            let token = *rng.pick(TOKENS);
            bytes.splice(at..at, token.bytes());
        }
        3 => {
            // Nesting, up to far past every limit.
            let (open, close) = *rng.pick(&[("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("all(1..9,", ")"), ("{a:", "}"), ("1?", ":2")]);
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
            let seed = *rng.pick(SEEDS);
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
    slowest: Duration,
    broken: Vec<String>,
}

fn hunt(seconds: u64, seed: u64) -> Tally {
    let mut rng = Rng::new(seed);
    let results: Vec<_> = usual_results().iter().map(|(kind, json)| measured(kind, json)).collect();
    let mut tally = Tally::default();
    let begin = Instant::now();
    while begin.elapsed().as_secs() < seconds && tally.broken.is_empty() {
        let text = grow(&mut rng);
        // Printed by the hook when it panics, so that the text is never lost.
        *CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text.clone();
        tally.texts += 1;
        let Ok(condition) = Condition::parse(&text) else {
            continue;
        };
        tally.parsed += 1;
        if text.len() > 4096 {
            tally.broken.push(format!("{} bytes parsed", text.len()));
        }
        for result in &results {
            let start = Instant::now();
            let verdict = condition.evaluate_at(result, None);
            if let Err(error) = &verdict {
                let _ = error.explain(&text);
            }
            let _ = condition.because(result, None);
            let _ = condition.explain(result);
            let took = start.elapsed();
            tally.evaluations += 1;
            tally.verdicts += u64::from(verdict.is_ok());
            tally.slowest = tally.slowest.max(took);
            if took > SLOW {
                tally.broken.push(format!("took {took:?}: {text:?} on {result:?}"));
            }
        }
    }
    tally
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
        "{} texts, {} parsed, {} evaluations, {} with a verdict, the slowest took {:?}",
        tally.texts, tally.parsed, tally.evaluations, tally.verdicts, tally.slowest
    );
    for broken in &tally.broken {
        println!("BROKEN {broken}");
    }
    if tally.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
