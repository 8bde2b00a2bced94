//! `toJSON`, `fromJSON` and base 64.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value as Json;

use super::{
    super::{
        error::Error,
        limits, number,
        value::{List, Made, Map, Text, Value},
    },
    Evaluated, Machine,
};

impl<'v> Machine<'v> {
    pub(super) fn of_json_text(&mut self, text: &Text<'v>) -> Evaluated<'v> {
        // The shortest elements take two bytes of text.
        self.budget.grow(text.len() / 2)?;
        let json: Json =
            serde_json::from_str(text).map_err(|error| Error::evaluation(json_error(text, &error)))?;
        self.owned(&json, 0)
    }

    fn owned(&mut self, json: &Json, depth: usize) -> Evaluated<'v> {
        if depth > limits::VALUE_DEPTH {
            return Err(Error::limit("recursion depth exceeded"));
        }
        Ok(match json {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(value) => Value::Float(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Value::text(text.as_str()),
            Json::Array(items) => {
                self.budget.grow(items.len())?;
                let items: Result<Vec<_>, Error> =
                    items.iter().map(|item| self.owned(item, depth + 1)).collect();
                Value::list(items?)
            }
            Json::Object(object) => {
                self.budget.grow(object.len())?;
                let mut map = BTreeMap::new();
                for (key, value) in object {
                    map.insert(key.as_str().into(), self.owned(value, depth + 1)?);
                }
                Value::Map(Map::made(map))
            }
        })
    }

    pub(super) fn json_text_of(&mut self, value: &Value<'v>) -> Evaluated<'v> {
        let mut out = String::new();
        self.write_json(value, 0, &mut out)?;
        Ok(Value::text(out))
    }

    fn write_json(&mut self, value: &Value<'v>, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > limits::VALUE_DEPTH {
            return Err(Error::limit("recursion depth exceeded"));
        }
        let before = out.len();
        match value {
            Value::Nil => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value, _) | Value::Duration(value) => {
                let _ = write!(out, "{value}");
            }
            Value::Float(value) => out.push_str(&json_float(*value)?),
            Value::Text(text) => json_text(text, out),
            Value::List(List::Made { kind: Made::AnyNil | Made::TextsNil, .. }) => out.push_str("null"),
            Value::List(list) => {
                let items = list.iter().map(|item| (None, item)).collect();
                self.write_items(items, ('[', ']'), depth, out)?;
            }
            Value::Map(Map::Any { .. }) => {
                return Err(Error::evaluation(format!("json: unsupported type: {}", value.type_name())));
            }
            Value::Map(map) => {
                let items = map.entries(&mut self.budget)?;
                let items = items.into_iter().map(|(key, item)| (Some(key), item)).collect();
                self.write_items(items, ('{', '}'), depth, out)?;
            }
            Value::Time(time) => {
                let _ = write!(out, "\"{}\"", time.rfc3339());
            }
            Value::Location => out.push_str("{}"),
            Value::Given(_) | Value::Environment => {
                return Err(Error::evaluation("json: unsupported type: func"));
            }
        }
        self.budget.spend(1)?;
        self.budget.grow_text(out.len() - before)
    }

    fn write_items(
        &mut self,
        items: Vec<(Option<Value<'v>>, Value<'v>)>,
        (open, close): (char, char),
        depth: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        out.push(open);
        let count = items.len();
        for (index, (key, item)) in items.into_iter().enumerate() {
            out.push('\n');
            out.push_str(&"  ".repeat(depth + 1));
            if let Some(Value::Text(key)) = key {
                json_text(&key, out);
                out.push_str(": ");
            }
            self.write_json(&item, depth + 1, out)?;
            if index + 1 < count {
                out.push(',');
            }
        }
        if count > 0 {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
        out.push(close);
        Ok(())
    }
}

fn json_float(value: f64) -> Result<String, Error> {
    if !value.is_finite() {
        return Err(Error::evaluation(format!("json: unsupported value: {}", number::printed(value))));
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else {
            return Ok(text);
        };
        // Positive exponents carry a sign, as the reference writes them.
        return Ok(if exponent.starts_with('-') { text } else { format!("{mantissa}e+{exponent}") });
    }
    Ok(format!("{value}"))
}

fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The two messages of the reference that people meet; everything else in our words.
fn json_error(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let first = text.trim_start().chars().next();
    if error.line() == 1
        && error.column() <= 1
        && let Some(c) = first
    {
        return format!("invalid character '{c}' looking for beginning of value");
    }
    format!("invalid JSON: {error}")
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let part = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = part(0) << 16 | part(1) << 8 | part(2);
        for place in 0..4 {
            if place > chunk.len() {
                out.push('=');
            } else {
                let index = (bits >> (18 - 6 * place)) & 63;
                out.push(char::from(ALPHABET[index as usize]));
            }
        }
    }
    out
}

/// The text behind standard base 64 with padding; line ends are skipped.
pub(super) fn of_base64<'v>(text: &str) -> Evaluated<'v> {
    let clean: Vec<(usize, u8)> =
        text.bytes().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r')).collect();
    let corrupt = |at: usize| Error::evaluation(format!("illegal base64 data at input byte {at}"));
    let mut out = vec![];
    let padding = clean.iter().rev().take_while(|(_, byte)| *byte == b'=').count();
    if !clean.len().is_multiple_of(4) || padding > 2 {
        return Err(corrupt(text.len().saturating_sub(1)));
    }
    let data = &clean[..clean.len() - padding];
    for chunk in data.chunks(4) {
        let mut bits: u32 = 0;
        for (at, byte) in chunk {
            let value = ALPHABET.iter().position(|known| known == byte).ok_or_else(|| corrupt(*at))?;
            bits = bits << 6 | u32::try_from(value).unwrap_or_default();
        }
        bits <<= 6 * (4 - chunk.len());
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[1..chunk.len().max(1)]);
    }
    match String::from_utf8(out) {
        Ok(text) => Ok(Value::text(text)),
        Err(_) => Err(Error::evaluation("decoded base64 is not text")),
    }
}
