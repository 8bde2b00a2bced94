//! The vectors: the reference's verdict and message on 375 pairs of condition and result.

use serde_json::Value as Json;

use super::super::Condition;
use crate::domain::value::MetricValue;

const VECTORS: &str = include_str!("../../../e2e/expr/conditions.jsonl");

/// The result of a vector: NaN and the infinities are texts there.
fn result(kind: &str, json: &Json) -> MetricValue {
    let float = |json: &Json| match json.as_str() {
        Some("NaN") => f64::NAN,
        Some("+Inf") => f64::INFINITY,
        Some("-Inf") => f64::NEG_INFINITY,
        Some(other) => panic!("{other} is no number"),
        None => json.as_f64().unwrap(),
    };
    match kind {
        "float" => MetricValue::Float(float(json)),
        "int" => MetricValue::Int(json.as_i64().unwrap()),
        "floats" => MetricValue::Floats(json.as_array().unwrap().iter().map(float).collect()),
        "maplist" => MetricValue::MapList(
            json.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect(),
        ),
        "json" => MetricValue::Json(json.clone()),
        "string" => MetricValue::Str(json.as_str().unwrap().to_owned()),
        "nil" | "nilptr" => MetricValue::Nil,
        other => panic!("{other} is no type of result"),
    }
}

#[test]
fn every_vector_has_the_verdict_and_the_message_of_the_reference() {
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let mut wrong = vec![];
    let mut count = 0;
    for line in VECTORS.lines() {
        count += 1;
        let vector: Json = serde_json::from_str(line).unwrap();
        let text = vector["condition"].as_str().unwrap();
        let measured = result(vector["resultType"].as_str().unwrap(), &vector["result"]);
        let verdict =
            Condition::parse(text).and_then(|condition| condition.evaluate_at(&measured, Some(now)));
        let (shown, message) = match &verdict {
            Ok(verdict) => (Json::Bool(*verdict), None),
            Err(error) => (Json::from("error"), Some(error.to_string())),
        };
        // keys() has no order in the reference; the vector froze one.
        let unordered = text.starts_with("keys(result)[0]");
        if (shown != vector["expect"] && !unordered) || message.as_deref() != vector["message"].as_str() {
            wrong.push(format!("{line}\n    {shown} {message:?}"));
        }
    }
    assert!(count >= 375, "{count} vectors");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
