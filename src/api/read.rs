//! Reading fields of JSON objects. The lenient readers answer `None` for what is absent or of another type; the strict
//! ones name the field.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::decide::spec::SpecError;

/// The value at `path`, a list of keys.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str)
}

pub(crate) fn owned(value: &Value, path: &[&str]) -> String {
    text(value, path).unwrap_or_default().to_owned()
}

pub(crate) fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// A count of pods: absent, negative or beyond what a count can be is 0 or the nearest count.
pub(crate) fn count(value: &Value, path: &[&str]) -> i32 {
    i32::try_from(int(value, path).unwrap_or(0).clamp(0, i64::from(i32::MAX))).unwrap_or(i32::MAX)
}

pub(crate) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

pub(crate) fn time(value: &Value, path: &[&str]) -> Option<Timestamp> {
    text(value, path).and_then(|text| text.parse().ok())
}

pub(crate) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A map of texts; entries of other types are left out.
pub(crate) fn texts(value: &Value, path: &[&str]) -> BTreeMap<String, String> {
    let map = at(value, path).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A JSON object with the path it was found at, for strict reading.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    pub(crate) value: &'a Value,
}

impl<'a> Field<'a> {
    pub(crate) fn root(path: &str, value: &'a Value) -> Self {
        Self { path: path.to_owned(), value }
    }

    /// The member `key`; `None` when absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Field { path: format!("{}.{key}", self.path), value })
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> SpecError {
        SpecError { field: self.path.clone(), message: message.into() }
    }

    fn wrong(&self, expected: &str) -> SpecError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.error(format!("expected {expected}, found {found}"))
    }

    pub(crate) fn string(&self) -> Result<String, SpecError> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.wrong("a string"))
    }

    pub(crate) fn boolean(&self) -> Result<bool, SpecError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub(crate) fn integer(&self) -> Result<i64, SpecError> {
        self.value.as_i64().ok_or_else(|| self.wrong("a whole number"))
    }

    /// A count, 0..=2147483647.
    pub(crate) fn natural(&self) -> Result<i32, SpecError> {
        let number = self.integer()?;
        let natural = i32::try_from(number).ok().filter(|number| *number >= 0);
        natural
            .ok_or_else(|| self.error(format!("Invalid value: {number}: must be greater than or equal to 0")))
    }

    pub(crate) fn object(&self) -> Result<&'a serde_json::Map<String, Value>, SpecError> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    pub(crate) fn items(&self) -> Result<Vec<Field<'a>>, SpecError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let item = |(index, value)| Field { path: format!("{}[{index}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }
}
