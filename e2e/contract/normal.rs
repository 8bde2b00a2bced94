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
    patched: Regex,
    typed: Regex,
    place: Regex,
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
    // The object that a refused patch would have made, printed in the order of Go's types.
    patched: Regex::new(r#"patch: Invalid value: "\{.*\}": |^Invalid value: "\{.*\}": |Object 'Kind' is missing in '.*'"#).unwrap(),
    // What exactly is of the wrong type: the server has several decoders, each with words of its own.
    typed: Regex::new(r"(?s)^failed to (?:create typed patch|convert new) object \([^)]*\).*").unwrap(),
    // The path is said before; here it is whole or its last step, as the server has come to it.
    place: Regex::new(r"[A-Za-z0-9_.\[\]]+ in body ").unwrap(),
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
        if let Some(events) = body.as_array_mut() {
            bookmarks(events);
        }
        self.walk(&mut body, "");
        sort_causes(&mut body);
        body
    }

    fn walk(&mut self, value: &mut Value, field: &str) {
        match value {
            Value::Object(fields) => {
                // A hash of nothing that a client knows, and the address of the machine.
                fields.remove("storageVersionHash");
                fields.remove("serverAddressByClientCIDRs");
                for (name, inner) in fields.iter_mut() {
                    self.walk(inner, name);
                }
            }
            Value::Array(items) if field == "managedFields" => {
                // Sorted by time, in whole seconds: two writes may or may not fall into the same one.
                items.sort_by_key(|entry| {
                    ["operation", "manager", "apiVersion", "subresource"].map(|part| entry[part].to_string())
                });
                items.iter_mut().for_each(|item| self.walk(item, ""));
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
        let text = all.version.replace_all(&text, "$1<version>");
        let text = all.patched.replace_all(&text, "<patched object>: ");
        let text = all.place.replace_all(&text, "<place> in body ");
        all.typed.replace_all(&text, "failed to make a typed object").into_owned()
    }
}

/// When bookmarks come, and how many, is the server's business; their version is where it stands.
fn bookmarks(events: &mut Vec<Value>) {
    let is_one = |event: &Value| event.get("type").is_some_and(|kind| kind == "BOOKMARK");
    events.dedup_by(|next, last| is_one(next) && is_one(last));
    for event in events.iter_mut().filter(|event| is_one(event)) {
        if let Some(version) = event.pointer_mut("/object/metadata/resourceVersion") {
            *version = Value::from("<bookmark>");
        }
    }
}

/// Several causes come in the order of Go's maps, which is another one each time.
fn sort_causes(body: &mut Value) {
    let printed = |cause: &Value| {
        let text = |field: &str| cause.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{}: {}", text("field"), text("message"))
    };
    let Some(causes) = body.pointer_mut("/details/causes").and_then(Value::as_array_mut) else { return };
    // Some are found twice or three times.
    let mut once = std::collections::BTreeSet::new();
    causes.retain(|cause| once.insert(printed(cause)));
    let as_sent: Vec<String> = causes.iter().map(printed).collect();
    causes.sort_by_key(printed);
    let sorted: Vec<String> = causes.iter().map(printed).collect();
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    if let Some(at) = message.find(": [")
        && message.get(at + 3..) == Some(&format!("{}]", as_sent.join(", ")))
    {
        let message = format!("{}: [{}]", &message[..at], sorted.join(", "));
        body["message"] = Value::from(message);
    }
}

fn label(seen: &mut Vec<String>, what: &str, text: &str) -> String {
    let at = seen.iter().position(|known| known == text).unwrap_or_else(|| {
        seen.push(text.to_owned());
        seen.len() - 1
    });
    format!("<{what}-{}>", at + 1)
}
