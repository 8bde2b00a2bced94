//! Sets apart what has to differ between two servers, and nothing else.
//!
//! A uid, a version, a generated name, an address becomes the number of its first appearance on that side, so that what is the
//! same and what is not is still compared.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::Value;
use serin::clock::Clock;

/// What one side has shown so far in one case.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    uids: Vec<String>,
    versions: Vec<String>,
    names: Vec<String>,
    addresses: Vec<String>,
}

struct Patterns {
    uid: Regex,
    name: Regex,
    address: Regex,
    version: Regex,
    age: Regex,
}

#[expect(clippy::unwrap_used, reason = "fixed texts, compiled by every run")]
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    uid: Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap(),
    name: Regex::new(r"gen-[bcdfghjklmnpqrstvwxz2456789]{5}\b").unwrap(),
    address: Regex::new(r"10\.96\.[0-9]{1,3}\.[0-9]{1,3}").unwrap(),
    version: Regex::new(
        r"(old resource version: |large resource version: |, current: |ResourceVersion in the precondition \(|ResourceVersion in record \()([0-9]+)( \([0-9]+\))?",
    )
    .unwrap(),
    age: Regex::new("^([0-9]{1,2}s|<unknown>|<invalid>)$").unwrap(),
}
});

/// How long before and after now a time counts as set by the server.
const NEAR: SignedDuration = SignedDuration::from_mins(30);

impl Seen {
    /// The body with everything of its side taken out.
    pub(crate) fn normal(&mut self, mut body: Value) -> Value {
        let list = body.get("items").is_some() || body.get("rows").is_some();
        if let Some(version) = body.pointer_mut("/metadata/resourceVersion").filter(|_| list) {
            // Others write meanwhile.
            *version = Value::from("<list>");
        }
        self.walk(&mut body, "");
        body
    }

    fn walk(&mut self, value: &mut Value, field: &str) {
        match value {
            Value::Object(fields) => {
                fields.remove("storageVersionHash");
                for (name, inner) in fields.iter_mut() {
                    self.walk(inner, name);
                }
            }
            Value::Array(items) if field == "columnDefinitions" => {
                for column in items.iter_mut().filter_map(Value::as_object_mut) {
                    // The server's own documentation, which is not ours to repeat.
                    column.insert("description".into(), Value::from("<text>"));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item, field)),
            Value::String(text) => *text = self.text(text, field),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str, field: &str) -> String {
        let all = &*PATTERNS;
        if field == "resourceVersion" && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return label(&mut self.versions, "version", text);
        }
        if field == "continue" && !text.is_empty() {
            return "<continue>".into();
        }
        if field == "cells" && all.age.is_match(text) {
            return "<age>".into();
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            let near = at.duration_since(Clock::Wall.now()).abs() < NEAR;
            let precision = text.rsplit_once('.').map_or(0, |(_, fraction)| fraction.len());
            return if near { format!("<now.{precision}>") } else { text.to_owned() };
        }
        let text =
            all.uid.replace_all(text, |found: &regex::Captures<'_>| label(&mut self.uids, "uid", &found[0]));
        let text = all
            .name
            .replace_all(&text, |found: &regex::Captures<'_>| label(&mut self.names, "name", &found[0]));
        let text = all.address.replace_all(&text, |found: &regex::Captures<'_>| {
            label(&mut self.addresses, "address", &found[0])
        });
        all.version.replace_all(&text, "$1<version>").into_owned()
    }
}

fn label(seen: &mut Vec<String>, what: &str, text: &str) -> String {
    let at = seen.iter().position(|known| known == text).unwrap_or_else(|| {
        seen.push(text.to_owned());
        seen.len() - 1
    });
    format!("<{what}-{}>", at + 1)
}
