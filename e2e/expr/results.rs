//! Results at random, of every type that providers return.

use serde_json::{Map, Value, json};

use crate::rng::Rng;

/// A type of result and a result of it, as the vectors have them.
pub fn result(rng: &mut Rng) -> (&'static str, Value) {
    let kind = *rng.pick(&[
        "float", "float", "floats", "floats", "floats", "int", "maplist", "json", "json", "json", "string",
        "nil", "nilptr",
    ]);
    let value = match kind {
        "float" => number(rng),
        "int" => json!(*rng.pick(&[0_i64, 1, 2, -1, 5, 100])),
        "floats" => {
            let size = rng.below(6);
            Value::Array((0..size).map(|_| number(rng)).collect())
        }
        "maplist" => {
            let size = rng.below(4);
            Value::Array((0..size).map(|_| Value::Object(object(rng, 1))).collect())
        }
        "json" => anything(rng, 3),
        "string" => json!(text(rng)),
        _ => Value::Null,
    };
    (kind, value)
}

fn number(rng: &mut Rng) -> Value {
    match rng.below(14) {
        0 => json!("NaN"),
        1 => json!("+Inf"),
        2 => json!("-Inf"),
        _ => plain_number(rng),
    }
}

fn plain_number(rng: &mut Rng) -> Value {
    json!(*rng.pick(&[0.0, 1.0, 2.0, 0.05, 0.04, 0.95, 0.97, -1.0, 5.0, 10.0, 1e6, 2.5, 0.001, 100.0]))
}

fn text(rng: &mut Rng) -> &'static str {
    *rng.pick(&[
        "a",
        "b",
        "",
        "hello",
        "1",
        "1.5",
        "true",
        "NaN",
        "a,b",
        "2023-08-14",
        "1h",
        "\u{65e5}\u{672c}",
        "{\"a\":1}",
        "0x10",
    ])
}

fn anything(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 4 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.one_in(2)),
        2 => plain_number(rng),
        3 => json!(text(rng)),
        4..=5 => {
            let size = rng.below(4);
            Value::Array((0..size).map(|_| anything(rng, depth - 1)).collect())
        }
        _ => Value::Object(object(rng, depth - 1)),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Map<String, Value> {
    let mut object = Map::new();
    for name in ["a", "b", "s", "list", "m", "nul", "value", "ok", "count"] {
        if rng.one_in(2) {
            let value = match name {
                "a" | "count" | "value" if !rng.one_in(4) => plain_number(rng),
                "ok" if !rng.one_in(4) => json!(rng.one_in(2)),
                "s" if !rng.one_in(4) => json!(text(rng)),
                "nul" if !rng.one_in(4) => Value::Null,
                "list" if depth > 0 && !rng.one_in(4) => {
                    let size = rng.below(4);
                    Value::Array((0..size).map(|_| anything(rng, depth - 1)).collect())
                }
                _ => anything(rng, depth),
            };
            object.insert(name.to_owned(), value);
        }
    }
    object
}
