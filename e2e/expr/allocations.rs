//! Evaluating the shapes that people write most allocates nothing.

mod language;

use language::domain::{self, value::MetricValue};

use std::{alloc::System, hint::black_box, process::ExitCode};

use cap::Cap;
use language::expr::Condition;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SHAPES: &[&str] = &[
    "result[0] < 0.05",
    "result[0] >= 0.95 && result[0] <= 1.0",
    "len(result) == 0 || result[0] < 0.05",
    "len(result) > 0 && result[0] < 0.05",
    "isNaN(result[0]) || result[0] < 0.05",
    "all(result, # < 0.05)",
    "any(result, {# > 0.5})",
    "none(result, # > 0.5)",
    "count(result, # > 0.5) == 0",
    "max(result) < 0.5",
    "sum(result) / len(result) < 0.05",
    "mean(result) < 0.05",
    "0.05 < result[0] < 0.95",
    "default(result, []) != nil",
    "result[0] in [0.01, 0.02]",
];

const JSON_SHAPES: &[&str] = &[
    "result.ok && result.successPercent >= 0.95",
    "result.status == 'Healthy'",
    "result.status in ['Healthy', 'Progressing']",
    "result.status matches '^(Healthy|Progressing)$'",
    "result.data?.value > 1",
    "asFloat(result.text) < 2",
    "result.status contains 'ealth' && not (result.status startsWith 'Un')",
    "all(result.rows, {.value < 3})",
];

/// Bytes allocated by a thousand evaluations, after those that compile.
fn allocated(text: &str, result: &MetricValue) -> Result<usize, String> {
    let condition = Condition::parse(text).map_err(|error| error.to_string())?;
    condition.evaluate(result).map_err(|error| error.to_string())?;
    // A pattern's automaton is built while it runs.
    for _ in 0..10 {
        let _ = condition.evaluate(result);
    }
    let before = ALLOCATOR.total_allocated();
    for _ in 0..1000 {
        let _ = black_box(condition.evaluate(black_box(result)));
    }
    Ok(ALLOCATOR.total_allocated() - before)
}

fn main() -> ExitCode {
    let floats = MetricValue::Floats(vec![0.01, 0.02, 0.03]);
    let json = MetricValue::Json(json!({
        "ok": true, "successPercent": 0.97, "status": "Healthy", "data": {"value": 2}, "text": "1.5",
        "rows": [{"value": 1}, {"value": 2}],
    }));
    let shapes =
        SHAPES.iter().map(|text| (text, &floats)).chain(JSON_SHAPES.iter().map(|text| (text, &json)));
    let (mut passed, mut failed) = (0, 0);
    for (text, result) in shapes {
        match allocated(text, result) {
            Ok(0) => passed += 1,
            Ok(bytes) => {
                println!("{text}: {bytes} bytes in 1000 evaluations");
                failed += 1;
            }
            Err(error) => {
                println!("{text}: {error}");
                failed += 1;
            }
        }
    }
    println!("shapes evaluated without an allocation: {passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
