//! `serin condition`: a condition tried on a value, before a rollout depends on it.

use std::{
    io::{self, BufRead, Write},
    process::ExitCode,
};

use serde_json::{Value, json};

use crate::{
    clock::Clock,
    domain::value::MetricValue,
    expr::{Condition, Error, JudgeError, Reason, Which},
};

/// Tries a successCondition or failureCondition on a value.
///
/// Exit status: 0 true, 1 false, 2 error (a measurement with this outcome would have phase Error).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The condition, for example: result[0] < 0.05
    #[arg(required_unless_present = "jsonl", allow_hyphen_values = true)]
    expression: Option<String>,

    /// The measured value as JSON; NaN, +Inf and -Inf are numbers here
    #[arg(long, default_value = "null", allow_hyphen_values = true)]
    value: String,

    /// What the provider returns: floats is a Prometheus vector, float a Prometheus scalar; by default told
    /// from the value
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,

    /// Also print the typed tree
    #[arg(long)]
    explain: bool,

    /// Judge objects from stdin, one a line with condition, resultType and result; one verdict a line on stdout
    #[arg(long, conflicts_with_all = ["expression", "explain"])]
    jsonl: bool,
}

/// How many fields of a result are named when the one asked for is not there.
const FIELDS_SHOWN: usize = 20;

/// The types of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Float,
    Int,
    Floats,
    Maplist,
    Json,
    String,
    Nil,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let outcome = if args.jsonl {
        answer_lines(io::stdin().lock(), &mut io::stdout().lock())
    } else {
        answer(&args, &mut io::stdout().lock())
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        // The reader of our output went away: nothing is left to say, and to whom.
        Err(_) => ExitCode::from(2),
    }
}

fn answer(args: &Args, out: &mut impl Write) -> io::Result<u8> {
    let text = args.expression.as_deref().unwrap_or_default();
    let value = match measured(&args.value, args.kind) {
        Ok(value) => value,
        Err(why) => {
            writeln!(out, "error: --value {why}")?;
            return Ok(2);
        }
    };
    let now = Some(Clock::Wall.now());
    let condition = Condition::parse(text);
    let verdict = condition.as_ref().map_err(Clone::clone).and_then(|c| c.evaluate_at(&value, now));
    let status = match &verdict {
        Ok(verdict) => {
            writeln!(out, "{verdict}")?;
            let reasons = condition.as_ref().map(|c| c.because(&value, now)).unwrap_or_default();
            for reason in &reasons {
                writeln!(out, "  {} is {}", reason.part, reason.value)?;
            }
            warn(*verdict, &value, &reasons, out)?;
            u8::from(!*verdict)
        }
        Err(error) => {
            let reasons = condition.as_ref().map(|c| c.because(&value, now)).unwrap_or_default();
            write_error(text, error, &value, &reasons, out)?;
            2
        }
    };
    if args.explain
        && let Ok(condition) = &condition
        && let Ok(tree) = condition.explain(&value)
    {
        writeln!(out, "\n{tree}")?;
    }
    Ok(status)
}

/// A verdict over no data is the one that nobody expects at the time when it matters.
fn warn(verdict: bool, value: &MetricValue, reasons: &[Reason], out: &mut impl Write) -> io::Result<()> {
    let shown_as = |shown: &str| reasons.iter().find(|reason| reason.value == shown);
    let (what, test) = if value.is_nil() {
        ("there is no data".to_owned(), "isNil(result)".to_owned())
    } else if value.is_nil_or_empty() {
        ("there is no data".to_owned(), "len(result) == 0".to_owned())
    } else if let Some(Reason { part, .. }) = shown_as("NaN") {
        (format!("{part} is NaN, often no data"), format!("isNaN({part})"))
    } else if let Some(Reason { part, .. }) = shown_as("nil") {
        (format!("{part} is nil, often no data"), format!("{part} == nil"))
    } else {
        return Ok(());
    };
    let (role, instead) = if verdict {
        ("as a successCondition", format!("not ({test}) && .."))
    } else {
        ("as a failureCondition without a successCondition", format!("{test} || .."))
    };
    writeln!(out, "  warning: {what}: {role} this passes; `{instead}` does not")
}

/// The error for a person, and the message that a measurement would carry.
fn write_error(
    text: &str,
    error: &Error,
    value: &MetricValue,
    reasons: &[Reason],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "error: {}", error.explain(text))?;
    for reason in reasons {
        writeln!(out, "  {} is {}", reason.part, reason.value)?;
    }
    let a_field_is_nil = reasons.iter().any(|reason| reason.value == "nil");
    if let MetricValue::Json(Value::Object(object)) = value
        && a_field_is_nil
    {
        let names: Vec<&str> = object.keys().map(String::as_str).take(FIELDS_SHOWN).collect();
        let more = if object.len() > names.len() { ", .." } else { "" };
        writeln!(out, "  the result has the fields {}{more}", names.join(", "))?;
    }
    let judged = JudgeError {
        which: Which::Success,
        condition: text.to_owned(),
        no_data: value.is_nil_or_empty(),
        cause: error.clone(),
    };
    writeln!(out, "  as a successCondition, the measurement says: {judged}")
}

/// One verdict for each line. Status 2 when a line was no question.
fn answer_lines(input: impl BufRead, out: &mut impl Write) -> io::Result<u8> {
    let now = Some(Clock::Wall.now());
    let mut status = 0;
    for line in input.split(b'\n') {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let verdict = match question(&line) {
            Ok((text, value)) => Condition::parse(&text)
                .and_then(|condition| condition.evaluate_at(&value, now))
                .map_err(|error| error.to_string()),
            Err(why) => {
                status = 2;
                Err(format!("not a question: {why}"))
            }
        };
        let answer = match verdict {
            Ok(verdict) => json!({ "verdict": verdict }),
            Err(message) => json!({ "verdict": "error", "message": message }),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(status)
}

fn question(line: &[u8]) -> Result<(String, MetricValue), String> {
    let json: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let text = json.get("condition").and_then(Value::as_str).ok_or("`condition` must be a text")?;
    let kind = match json.get("resultType").and_then(Value::as_str) {
        Some("float") => Some(Kind::Float),
        Some("int") => Some(Kind::Int),
        Some("floats") => Some(Kind::Floats),
        Some("maplist") => Some(Kind::Maplist),
        Some("json") => Some(Kind::Json),
        Some("string") => Some(Kind::String),
        Some("nil" | "nilptr") => Some(Kind::Nil),
        Some(other) => return Err(format!("`resultType` {other} is not known")),
        None => None,
    };
    let value = typed(json.get("result").cloned().unwrap_or_default(), kind)?;
    Ok((text.to_owned(), value))
}

/// The value behind `--value`.
fn measured(text: &str, kind: Option<Kind>) -> Result<MetricValue, String> {
    if kind == Some(Kind::String) && !text.starts_with('"') {
        return Ok(MetricValue::Str(text.to_owned()));
    }
    let json = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(error) => serde_json::from_str(&with_special_numbers(text))
            .map_err(|_| format!("is not JSON: {error}; a text needs quotes, or --type string"))?,
    };
    typed(json, kind)
}

/// NaN and the infinities put in quotes, where they stand bare.
fn with_special_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    for part in text.split_inclusive(['[', ']', ',', ' ', '"', ':', '{', '}']) {
        let word = part.trim_end_matches(['[', ']', ',', ' ', '"', ':', '{', '}']);
        let special = match word {
            "NaN" => Some("NaN"),
            "Inf" | "+Inf" => Some("+Inf"),
            "-Inf" => Some("-Inf"),
            _ => None,
        };
        match special {
            Some(name) if !quoted => out.push_str(&format!("\"{name}\"{}", &part[word.len()..])),
            Some(_) | None => out.push_str(part),
        }
        quoted ^= part.ends_with('"');
    }
    out
}

fn typed(json: Value, kind: Option<Kind>) -> Result<MetricValue, String> {
    let kind = kind.unwrap_or_else(|| told(&json));
    match (kind, json) {
        (Kind::Nil, _) => Ok(MetricValue::Nil),
        (Kind::Json, json) => Ok(MetricValue::Json(json)),
        (Kind::String, Value::String(text)) => Ok(MetricValue::Str(text)),
        (Kind::String, other) => Ok(MetricValue::Str(other.to_string())),
        (Kind::Float, json) => {
            float(&json).map(MetricValue::Float).ok_or_else(|| "is not a number".to_owned())
        }
        (Kind::Int, json) => {
            json.as_i64().map(MetricValue::Int).ok_or_else(|| "is not a whole number".to_owned())
        }
        (Kind::Floats, Value::Array(items)) => {
            let floats: Option<Vec<f64>> = items.iter().map(float).collect();
            floats.map(MetricValue::Floats).ok_or_else(|| "is not a list of numbers".to_owned())
        }
        (Kind::Floats, _) => Err("is not a list of numbers".to_owned()),
        (Kind::Maplist, Value::Array(items)) => {
            let rows: Option<Vec<_>> = items.iter().map(|item| item.as_object().cloned()).collect();
            rows.map(MetricValue::MapList).ok_or_else(|| "is not a list of objects".to_owned())
        }
        (Kind::Maplist, _) => Err("is not a list of objects".to_owned()),
    }
}

/// The type that a value most likely has: a list of numbers is a Prometheus vector.
fn told(json: &Value) -> Kind {
    match json {
        Value::Null => Kind::Nil,
        Value::Number(_) => Kind::Float,
        Value::String(text) if special(text).is_some() => Kind::Float,
        Value::String(_) => Kind::String,
        Value::Array(items) if items.iter().all(|item| float(item).is_some()) => Kind::Floats,
        Value::Array(_) | Value::Bool(_) | Value::Object(_) => Kind::Json,
    }
}

fn float(json: &Value) -> Option<f64> {
    json.as_f64().or_else(|| special(json.as_str()?))
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, value: &str) -> (u8, String) {
        let args = Args {
            expression: Some(text.to_owned()),
            value: value.to_owned(),
            kind: None,
            explain: false,
            jsonl: false,
        };
        let mut out = vec![];
        let status = answer(&args, &mut out).unwrap();
        (status, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_verdict_comes_with_the_value_that_decided() {
        assert_eq!(said("result[0] < 0.05", "[0.01]"), (0, "true\n  result[0] is 0.01\n".to_owned()));
        assert_eq!(said("result[0] < 0.05", "[0.2]"), (1, "false\n  result[0] is 0.2\n".to_owned()));
        assert_eq!(
            said("len(result) > 0 && all(result, # < 0.05)", "[0.01, 0.2]"),
            (1, "false\n  result[1] is 0.2\n".to_owned())
        );
    }

    #[test]
    fn no_data_is_an_error_that_says_so() {
        let (status, text) = said("result[0] < 0.05", "[]");
        assert_eq!(status, 2);
        assert!(text.contains("index out of range: 0 (array length is 0)"), "{text}");
        assert!(text.contains("metric result is nil or empty"), "{text}");
    }

    #[test]
    fn a_pass_over_no_data_is_warned_of() {
        for (condition, value, status, warning) in [
            (
                "all(result, # < 0.05)",
                "[]",
                0,
                "no data: as a successCondition this passes; `not (len(result) == 0) && ..`",
            ),
            (
                "any(result, # > 0.05)",
                "[]",
                1,
                "as a failureCondition without a successCondition this passes",
            ),
            ("default(result, 0) < 1", "null", 0, "`not (isNil(result)) && ..` does not"),
            (
                "result[0] > 0.05",
                "[NaN]",
                1,
                "result[0] is NaN, often no data: as a failureCondition without",
            ),
            (
                "result[0] != 0.05",
                "[NaN]",
                0,
                "as a successCondition this passes; `not (isNaN(result[0])) && ..`",
            ),
            (
                "result.bad != true",
                "{}",
                0,
                "result.bad is nil, often no data: as a successCondition this passes",
            ),
        ] {
            let (found, text) = said(condition, value);
            assert_eq!(found, status, "{condition}: {text}");
            assert!(text.contains(warning), "{condition}: {text}");
        }
        assert!(!said("result[0] > 0.05", "[0.01]").1.contains("warning"));
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let (status, text) = said("result.error_rate < 0.05", r#"{"errorRate": 0.01, "total": 5}"#);
        assert_eq!(status, 2);
        assert!(text.contains("result.error_rate is nil"), "{text}");
        assert!(text.contains("the result has the fields errorRate, total"), "{text}");
    }

    #[test]
    fn lines_are_answered_in_order_and_a_bad_line_is_an_answer_too() {
        let lines = concat!(
            r#"{"condition": "result > 1", "resultType": "float", "result": 2}"#,
            "\n\nnot json\n",
            r#"{"condition": "result > 1", "resultType": "floats", "result": ["NaN"]}"#,
        );
        let mut out = vec![];
        assert_eq!(answer_lines(lines.as_bytes(), &mut out).unwrap(), 2);
        let answers: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[0], json!({"verdict": true}));
        assert_eq!(answers[1]["verdict"], "error");
        assert_eq!(answers[2]["message"], "invalid operation: > (mismatched types []float64 and int)");
    }

    #[test]
    fn the_type_is_told_from_the_value() {
        assert_eq!(measured("null", None), Ok(MetricValue::Nil));
        assert_eq!(measured("[1, 2]", None), Ok(MetricValue::Floats(vec![1.0, 2.0])));
        assert_eq!(measured("-Inf", None), Ok(MetricValue::Float(f64::NEG_INFINITY)));
        assert_eq!(measured("\"a NaN b\"", None), Ok(MetricValue::Str("a NaN b".to_owned())));
        assert_eq!(measured("OK", Some(Kind::String)), Ok(MetricValue::Str("OK".to_owned())));
        assert!(measured("OK", None).is_err());
    }
}
