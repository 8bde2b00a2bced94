//! Prometheus' answer as a value: read by ourselves, because typed clients drop warnings and fail on what they do
//! not know.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::{decide::analysis::Outcome, domain::value::MetricValue};

/// The envelope of every answer of the HTTP API.
#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default, rename = "resultType")]
    kind: String,
    #[serde(default)]
    result: Value,
}

/// An answer, and what is stored with the measurement.
pub(super) type Decoded = (Outcome, BTreeMap<String, String>);

/// What an HTTP answer means. The server's own refusals (400 and 422 with an envelope, other 4xx) are errors of the
/// query; 5xx, 408, 429 and anything that is not the API speaking are an outage: nobody has judged anything.
pub(super) fn decode(status: u16, body: &[u8]) -> Decoded {
    match status {
        200..=299 | 400 | 422 => envelope(status, body),
        408 | 429 => plain(Outcome::Outage { message: format!("client_error: client error: {status}") }),
        300..=499 => plain(Outcome::Refused { message: format!("client_error: client error: {status}") }),
        500..=599 => plain(Outcome::Outage { message: format!("server_error: server error: {status}") }),
        _ => plain(Outcome::Outage { message: format!("bad_response: bad response code {status}") }),
    }
}

/// Nobody answered in time.
pub(super) fn timed_out(limit: Duration) -> Outcome {
    Outcome::Outage {
        message: format!("no answer within {} s: context deadline exceeded", limit.as_secs_f64()),
    }
}

fn plain(outcome: Outcome) -> Decoded {
    (outcome, BTreeMap::new())
}

fn envelope(status: u16, body: &[u8]) -> Decoded {
    let envelope: Envelope = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(error) => {
            let message = format!("bad_response: {error} (HTTP status {status})");
            let is_refused = status >= 400;
            return plain(if is_refused {
                Outcome::Refused { message }
            } else {
                Outcome::Outage { message }
            });
        }
    };
    let mut metadata = BTreeMap::new();
    if !envelope.warnings.is_empty() {
        let quoted: Vec<String> = envelope.warnings.iter().map(|warning| format!("\"{warning}\"")).collect();
        metadata.insert("warnings".to_owned(), quoted.join(", "));
    }
    if envelope.status != "success" {
        let message = format!("{}: {}", envelope.error_type, envelope.error);
        return (Outcome::Refused { message }, metadata);
    }
    let outcome = match envelope.data.map(|data| value(&data)) {
        Some(Ok(value)) => Outcome::Value { text: text(&value), value },
        Some(Err(message)) => Outcome::Refused { message },
        None => Outcome::Outage { message: "bad_response: success without data".to_owned() },
    };
    (outcome, metadata)
}

fn value(data: &Data) -> Result<MetricValue, String> {
    let unreadable = || format!("bad_response: a {} that cannot be read", data.kind);
    match data.kind.as_str() {
        "scalar" => point(&data.result).map(MetricValue::Float).ok_or_else(unreadable),
        "vector" => {
            let samples = data.result.as_array().ok_or_else(unreadable)?;
            let values: Option<Vec<f64>> = samples.iter().map(sample).collect();
            values.map(MetricValue::Floats).ok_or_else(unreadable)
        }
        "matrix" => {
            let series = data.result.as_array().ok_or_else(unreadable)?;
            // A series of native histograms has no values.
            let points = series.iter().filter_map(|series| series.get("values")?.as_array()).flatten();
            let values: Option<Vec<f64>> = points.map(point).collect();
            values.map(MetricValue::Floats).ok_or_else(unreadable)
        }
        "string" => Err("unexpected value type \"string\"".to_owned()),
        _ => Err("Prometheus metric type not supported".to_owned()),
    }
}

/// One element of a vector. A native histogram has no single number and counts as 0, as in the reference.
fn sample(sample: &Value) -> Option<f64> {
    match sample.get("value") {
        Some(value) => point(value),
        None => sample.get("histogram").map(|_| 0.0),
    }
}

/// `[time, "number"]`; the number may be `NaN`, `+Inf` or `-Inf`.
fn point(point: &Value) -> Option<f64> {
    point.get(1)?.as_str()?.parse().ok()
}

/// The value as `measurement.value` shows it: decimal, never with an exponent, shortest digits.
fn text(value: &MetricValue) -> String {
    match value {
        MetricValue::Float(number) => number_text(*number),
        MetricValue::Floats(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(|number| number_text(*number)).collect();
            format!("[{}]", numbers.join(","))
        }
        MetricValue::Int(_)
        | MetricValue::MapList(_)
        | MetricValue::Json(_)
        | MetricValue::Str(_)
        | MetricValue::Nil => String::new(),
    }
}

fn number_text(number: f64) -> String {
    if number.is_infinite() {
        return if number.is_sign_positive() { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn success(kind: &str, result: Value) -> Decoded {
        let body = json!({ "status": "success", "data": { "resultType": kind, "result": result } });
        decode(200, body.to_string().as_bytes())
    }

    fn shown(kind: &str, result: Value) -> String {
        match success(kind, result).0 {
            Outcome::Value { text, .. } => text,
            Outcome::Refused { message } => format!("refused {message}"),
            Outcome::Outage { message } => format!("outage {message}"),
            Outcome::Unresolved { message } => message,
        }
    }

    #[test]
    fn values_are_shown_as_the_reference_shows_them() {
        assert_eq!(shown("scalar", json!([1.5, "10"])), "10");
        assert_eq!(shown("scalar", json!([1, "1e-7"])), "0.0000001");
        assert_eq!(shown("scalar", json!([1, "NaN"])), "NaN");
        assert_eq!(shown("scalar", json!([1, "+Inf"])), "+Inf");
        assert_eq!(shown("scalar", json!([1, "-Inf"])), "-Inf");
        assert_eq!(
            shown("vector", json!([{ "metric": {}, "value": [1, "10"] }, { "value": [1, "0.5"] }])),
            "[10,0.5]"
        );
        assert_eq!(shown("vector", json!([])), "[]");
        assert_eq!(shown("vector", json!([{ "metric": {}, "histogram": [1, {}] }])), "[0]");
        assert_eq!(
            shown("matrix", json!([{ "values": [[1, "11"], [2, "12"]] }, { "values": [[1, "13"]] }])),
            "[11,12,13]"
        );
        assert_eq!(shown("string", json!([1, "x"])), "refused unexpected value type \"string\"");
        assert_eq!(shown("tensor", json!([])), "refused Prometheus metric type not supported");
        assert!(shown("scalar", json!([1, "abc"])).starts_with("refused bad_response"));
    }

    #[test]
    fn an_empty_vector_is_an_answer() {
        let (outcome, _) = success("vector", json!([]));
        assert_eq!(outcome, Outcome::Value { value: MetricValue::Floats(vec![]), text: "[]".into() });
    }

    #[test]
    fn the_servers_refusal_is_told_from_nobody_answering() {
        let refusal =
            json!({ "status": "error", "errorType": "bad_data", "error": "parse error" }).to_string();
        for status in [400, 422] {
            let message = "bad_data: parse error".to_owned();
            assert_eq!(decode(status, refusal.as_bytes()).0, Outcome::Refused { message });
        }
        for status in [408, 429, 500, 502, 503, 504, 600] {
            assert!(matches!(decode(status, refusal.as_bytes()).0, Outcome::Outage { .. }), "{status}");
        }
        for status in [401, 403, 404] {
            assert!(matches!(decode(status, b"").0, Outcome::Refused { .. }), "{status}");
        }
        assert!(matches!(decode(200, b"<html>sign in</html>").0, Outcome::Outage { .. }));
        assert!(matches!(decode(200, b"").0, Outcome::Outage { .. }));
        assert!(matches!(decode(400, b"<html>").0, Outcome::Refused { .. }));
    }

    #[test]
    fn warnings_travel_with_the_answer() {
        let body = json!({
            "status": "success", "warnings": ["partial", "slow"],
            "data": { "resultType": "scalar", "result": [1, "1"] },
        });
        let (_, metadata) = decode(200, body.to_string().as_bytes());
        assert_eq!(metadata["warnings"], "\"partial\", \"slow\"");
    }
}
