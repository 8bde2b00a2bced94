//! JSON exactly as Go's `encoding/json` writes it.

use serde_json::{Number, Value};

use super::typed::{Object, Typed};

/// The compact JSON of a typed value.
pub(super) fn print(value: &Typed) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Typed) {
    match value {
        Typed::Nil | Typed::Time(None) | Typed::Raw(None) => out.push_str("null"),
        Typed::Text(content) => text(out, content),
        Typed::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Typed::Int(integer) => out.push_str(&integer.to_string()),
        Typed::Quantity(quantity) => text(out, &quantity.canonical()),
        Typed::Time(Some(at)) => text(out, &at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Typed::Raw(Some(json)) => raw(out, json),
        Typed::Pointer(target) => write(out, target),
        Typed::List(items) => sequence(out, ['[', ']'], items, write),
        Typed::Map(entries) => sequence(out, ['{', '}'], entries, |out, (key, value)| {
            text(out, key);
            out.push(':');
            write(out, value);
        }),
        Typed::Struct(object) => fields(out, object),
    }
}

fn fields(out: &mut String, object: &Object) {
    let written = object.fields().filter(|(field, value)| {
        let is_zero = field.omits_zero && matches!(value, Typed::Time(None));
        !is_zero && (field.is_required || !value.is_empty())
    });
    sequence(out, ['{', '}'], written, |out, (field, value)| {
        text(out, field.name);
        out.push(':');
        write(out, value);
    });
}

/// Any JSON: keys sorted, numbers as Go prints a decoded one.
fn raw(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(content) => text(out, content),
        Value::Array(items) => sequence(out, ['[', ']'], items, raw),
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            sequence(out, ['{', '}'], sorted, |out, (key, value)| {
                text(out, key);
                out.push(':');
                raw(out, value);
            });
        }
    }
}

fn sequence<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(close);
}

/// A number as Go prints it: floats shortest, with an exponent below 1e-6 and from 1e21 on.
pub(super) fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            let size = float.abs();
            if size != 0.0 && !(1e-6..1e21).contains(&size) {
                let text = format!("{float:e}");
                if text.contains("e-") { text } else { text.replace('e', "e+") }
            } else {
                float.to_string()
            }
        }
        _ => number.to_string(),
    }
}

/// A string with Go's escapes, among them those that keep JSON safe inside HTML and JavaScript.
fn text(out: &mut String, content: &str) {
    out.push('"');
    for c in content.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
