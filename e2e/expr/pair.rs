//! Pairs of a condition and a result: how they are made, judged by serin, and made smaller.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::{
    generate::Generator,
    language::expr::Condition,
    measured::measured,
    oracle::Answer,
    results,
    rng::Rng,
    sketch::{self, Sketch},
};

/// What people have written, from the vectors.
static WRITTEN: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let lines = include_str!("conditions.jsonl").lines();
    lines
        .filter_map(|line| {
            let vector: Value = serde_json::from_str(line).ok()?;
            Some((vector["condition"].as_str()?.to_owned(), vector["resultType"].as_str()?.to_owned()))
        })
        .collect()
});

#[derive(Clone, Debug)]
pub struct Pair {
    pub sketch: Sketch,
    pub text: String,
    pub kind: &'static str,
    pub result: Value,
}

impl Pair {
    pub fn question(&self) -> String {
        json!({"condition": self.text, "resultType": self.kind, "result": self.result}).to_string()
    }

    /// What serin says.
    pub fn judged(&self, now: jiff::Timestamp) -> Answer {
        let verdict = Condition::parse(&self.text)
            .and_then(|condition| condition.evaluate_at(&measured(self.kind, &self.result), Some(now)));
        match verdict {
            Ok(verdict) => Answer { verdict: verdict.to_string(), message: String::new() },
            Err(error) => Answer { verdict: "error".to_owned(), message: error.to_string() },
        }
    }

    /// Pairs a little smaller than this one.
    pub fn smaller(&self) -> impl Iterator<Item = Self> {
        let shorter = |text: &String| text.len() < self.text.len();
        let texts = self.sketch.simpler().into_iter().map(|sketch| (sketch.print(), sketch));
        let texts = texts.filter(move |(text, _)| shorter(text));
        let texts = texts.map(|(text, sketch)| Self { text, sketch, ..self.clone() });
        let results = smaller_results(&self.result);
        texts.chain(results.into_iter().map(|result| Self { result, ..self.clone() }))
    }
}

/// A pair at random. Of those that serin calls an error every other one is thrown away: most conditions at random
/// are nonsense, and only a verdict can be a wrong pass.
pub fn pair(rng: &mut Rng, now: jiff::Timestamp) -> (Pair, Answer) {
    loop {
        let pair = any_pair(rng);
        let judged = pair.judged(now);
        if judged.verdict != "error" || rng.one_in(2) {
            return (pair, judged);
        }
    }
}

fn any_pair(rng: &mut Rng) -> Pair {
    if rng.one_in(8) {
        return written(rng);
    }
    let (kind, result) = results::result(rng);
    let mut sketch = Generator::new(rng, kind, &result).condition();
    let mut text = sketch.print();
    if rng.one_in(12) {
        text = sketch::damaged(rng, &text);
        sketch = Sketch::text(text.clone());
    }
    Pair { sketch, text, kind, result }
}

/// A condition that somebody wrote, on a result that nobody had: mostly of the type that it was written for.
fn written(rng: &mut Rng) -> Pair {
    let (text, wanted) = rng.pick(&WRITTEN);
    let tries = if rng.one_in(6) { 1 } else { 40 };
    let mut found = results::result(rng);
    for _ in 1..tries {
        if found.0 == wanted {
            break;
        }
        found = results::result(rng);
    }
    let text = if rng.one_in(2) { text.clone() } else { sketch::varied(rng, text) };
    let (kind, result) = found;
    Pair { sketch: Sketch::text(text.clone()), text, kind, result }
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
