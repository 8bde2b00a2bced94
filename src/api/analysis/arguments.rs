//! `{{ args.x }}`: the arguments of a run, filled into its metrics. No I/O.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::decide::analysis::{Part, SecretRef, Text};

/// What the reference checks a spec with where a secret's value will stand.
const PLACEHOLDER: &str = "temp-for-secret";

/// The arguments of a run, each with a value: literal, or a mark that stands for a secret.
#[derive(Debug)]
pub(super) struct Arguments {
    /// Value by name; of two with one name the last counts.
    values: BTreeMap<String, String>,
    /// What the marks stand for, by number.
    secrets: Vec<SecretRef>,
    /// Begins and ends each mark. It occurs nowhere in the spec, so a mark cannot be forged.
    fence: char,
}

impl Arguments {
    /// Reads `spec.args`.
    ///
    /// # Errors
    /// An argument without a value.
    pub(super) fn parse(spec: &Value) -> Result<Self, String> {
        let list = spec.get("args").and_then(Value::as_array).into_iter().flatten();
        let mut arguments =
            Self { values: BTreeMap::new(), secrets: vec![], fence: fence(&spec.to_string()) };
        for argument in list {
            let name = argument.get("name").and_then(Value::as_str).unwrap_or_default();
            let value = if let Some(secret) = secret_of(argument) {
                arguments.secrets.push(secret);
                format!("{0}{1}{0}", arguments.fence, arguments.secrets.len() - 1)
            } else {
                let value = argument.get("value").and_then(Value::as_str);
                value.ok_or_else(|| format!("argument \"{name}\" was not supplied"))?.to_owned()
            };
            arguments.values.insert(name.to_owned(), value);
        }
        Ok(arguments)
    }

    /// `metric` with every `{{...}}` filled in, in keys and values alike. Replaced text is not looked at again.
    ///
    /// # Errors
    /// The last tag that names no argument, or one that is not closed.
    pub(super) fn fill(&self, metric: &Value) -> Result<Value, String> {
        let mut unknown = None;
        let filled = self.fill_value(metric, &mut unknown)?;
        match unknown {
            Some(tag) => Err(format!("failed to resolve {{{{{tag}}}}}")),
            None => Ok(filled),
        }
    }

    fn fill_value(&self, value: &Value, unknown: &mut Option<String>) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill_text(text, unknown)?),
            Value::Array(list) => {
                let filled = list.iter().map(|item| self.fill_value(item, unknown));
                Value::Array(filled.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let mut filled = Map::new();
                for (key, item) in map {
                    filled.insert(self.fill_text(key, unknown)?, self.fill_value(item, unknown)?);
                }
                Value::Object(filled)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    fn fill_text(&self, text: &str, unknown: &mut Option<String>) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((tag, tail)) = after.split_once("}}") else {
                return Err(format!(
                    "Cannot find end tag=\"}}}}\" in the template={text:?} starting from {after:?}"
                ));
            };
            match tag.trim().strip_prefix("args.").and_then(|name| self.values.get(name)) {
                Some(value) => out.push_str(value),
                None => *unknown = Some(tag.to_owned()),
            }
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `text` as the reference checks it: each secret is `temp-for-secret`.
    pub(super) fn checked(&self, text: &str) -> String {
        let parts = self.split(text).0;
        let shown = parts.into_iter().map(|part| match part {
            Part::Plain(text) => text,
            Part::Secret(_) => PLACEHOLDER.to_owned(),
        });
        shown.collect()
    }

    /// True where `text` holds a secret.
    pub(super) fn has_secret(&self, text: &str) -> bool {
        text.contains(self.fence)
    }

    /// `text` in pieces, literal or secret.
    pub(super) fn split(&self, text: &str) -> Text {
        let mut parts = vec![];
        for (number, piece) in text.split(self.fence).enumerate() {
            // A fence before and after each number: every second piece is the inside of a mark.
            let secret = (number % 2 == 1).then(|| piece.parse::<usize>().ok());
            match secret.flatten().and_then(|index| self.secrets.get(index)) {
                Some(secret) => parts.push(Part::Secret(secret.clone())),
                None if !piece.is_empty() => parts.push(Part::Plain(piece.to_owned())),
                None => {}
            }
        }
        Text(parts)
    }
}

/// `secretKeyRef` wins over `value` when both are there.
fn secret_of(argument: &Value) -> Option<SecretRef> {
    let reference = argument.get("valueFrom")?.get("secretKeyRef").filter(|it| it.is_object())?;
    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(SecretRef { name: text("name"), key: text("key") })
}

/// A character of Unicode's private area that does not occur in `spec`. One character cannot be put together from
/// pieces.
fn fence(spec: &str) -> char {
    ('\u{e000}'..='\u{f8ff}').find(|fence| !spec.contains(*fence)).unwrap_or(char::MAX)
}
