//! What a metric provider returned, before anybody judged it.

use serde_json::{Map, Value};

/// The result of one measurement.
///
/// NaN and the infinities are values: an absent series inside `scalar(...)` is NaN, `x / 0` is infinite. Each
/// variant is one static type of the condition language, so `Float` and `Json` of a number are told apart only
/// by where they came from; conditions see both as a number.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// One number: a Prometheus scalar, a Datadog point.
    Float(f64),
    /// One whole number, from a provider that has those.
    Int(i64),
    /// Numbers in the provider's order: a Prometheus vector or matrix, labels dropped. May be empty.
    Floats(Vec<f64>),
    /// Rows with named columns. May be empty.
    MapList(Vec<Map<String, Value>>),
    /// Anything JSON. Its `null` is the same as [`MetricValue::Nil`].
    Json(Value),
    /// Text that is not JSON.
    Str(String),
    /// The provider answered, and there was nothing: no point, no row, a nil pointer.
    Nil,
}

impl MetricValue {
    /// True for nil (JSON `null` too) and for a list without elements: there is nothing to judge.
    ///
    /// An empty JSON object and an empty text are something.
    pub fn is_nil_or_empty(&self) -> bool {
        match self {
            Self::Nil | Self::Json(Value::Null) => true,
            Self::Floats(list) => list.is_empty(),
            Self::MapList(list) => list.is_empty(),
            Self::Json(Value::Array(list)) => list.is_empty(),
            Self::Float(_) | Self::Int(_) | Self::Str(_) => false,
            Self::Json(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => false,
        }
    }

    /// True for nil and JSON `null`.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil | Self::Json(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::MetricValue;

    #[test]
    fn nothing_to_judge_is_nil_or_an_empty_list_and_nothing_else() {
        for nothing in [
            MetricValue::Nil,
            MetricValue::Floats(vec![]),
            MetricValue::MapList(vec![]),
            MetricValue::Json(json!(null)),
            MetricValue::Json(json!([])),
        ] {
            assert!(nothing.is_nil_or_empty(), "{nothing:?}");
        }
        for something in [
            MetricValue::Float(f64::NAN),
            MetricValue::Int(0),
            MetricValue::Floats(vec![f64::NAN]),
            MetricValue::Json(json!({})),
            MetricValue::Json(json!(false)),
            MetricValue::Str(String::new()),
        ] {
            assert!(!something.is_nil_or_empty(), "{something:?}");
        }
    }
}
