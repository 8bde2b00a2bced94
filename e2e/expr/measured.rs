//! Results as the vectors write them: NaN and the infinities are texts there.

use serde_json::Value;

use crate::language::domain::value::MetricValue;

pub fn measured(kind: &str, json: &Value) -> MetricValue {
    match kind {
        "float" => MetricValue::Float(float(json)),
        "int" => MetricValue::Int(json.as_i64().unwrap_or_default()),
        "floats" => MetricValue::Floats(json.as_array().into_iter().flatten().map(float).collect()),
        "maplist" => {
            let rows = json.as_array().into_iter().flatten();
            MetricValue::MapList(rows.filter_map(|row| row.as_object().cloned()).collect())
        }
        "json" => MetricValue::Json(json.clone()),
        "string" => MetricValue::Str(json.as_str().unwrap_or_default().to_owned()),
        _ => MetricValue::Nil,
    }
}

fn float(json: &Value) -> f64 {
    match json.as_str() {
        Some("+Inf") => f64::INFINITY,
        Some("-Inf") => f64::NEG_INFINITY,
        Some(_) => f64::NAN,
        None => json.as_f64().unwrap_or(f64::NAN),
    }
}
