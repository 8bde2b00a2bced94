//! Fields of a spec, checked for their type. Absent and null are the same. No I/O.

use serde_json::Value;

/// A text; `None` when absent.
pub(super) fn text<'a>(wire: &'a Value, key: &str) -> Result<Option<&'a str>, String> {
    match wire.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("{key} must be a string"))
        }
    }
}

/// A text that is not empty; empty counts as absent.
pub(super) fn given<'a>(wire: &'a Value, key: &str) -> Result<Option<&'a str>, String> {
    Ok(text(wire, key)?.filter(|text| !text.is_empty()))
}

/// True or false; `false` when absent.
pub(super) fn flag(wire: &Value, key: &str) -> Result<bool, String> {
    match wire.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("{key} must be true or false"))
        }
    }
}

/// A whole number; `None` when absent.
pub(super) fn integer(wire: &Value, key: &str) -> Result<Option<i64>, String> {
    match wire.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| format!("{key} must be a whole number")),
    }
}

/// A whole number, or a text that holds one: a text that does not counts as 0, as in the reference.
pub(super) fn int_or_string(wire: &Value, key: &str) -> Result<Option<i64>, String> {
    match wire.get(key) {
        Some(Value::String(text)) => Ok(Some(text.parse().unwrap_or_default())),
        _ => integer(wire, key),
    }
}

/// A list; empty when absent.
pub(super) fn list<'a>(wire: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match wire.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Err(format!("{key} must be a list"))
        }
    }
}
