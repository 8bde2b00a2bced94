//! Built-in kinds as the server's own types hold them: a round trip drops what they have no field for, leaves out what
//! is empty, and refuses values of another type.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use jiff::{Timestamp, fmt::strtime};
use serde_json::{Map, Value, json};

use super::{patch::go_type, resource::Resource};
use crate::api::hash::table::{self, Field, LABEL, Struct};

/// Rows beside those of `api::hash`: listed by reflection from k8s.io/api v0.34.4, in the same form. `microtime` has six
/// digits after the point, `bytes` are base64.
static STRUCTS: LazyLock<BTreeMap<&'static str, Struct>> =
    LazyLock::new(|| table::read(include_str!("fields.txt")));

/// A value that its field does not take, in the words of Go's decoder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("json: cannot unmarshal {found} into Go {at} of type {wanted}")]
    Type { found: String, at: String, wanted: String },
    #[error("parsing time {text} as {layout:?}: cannot parse {rest} as {wanted:?}")]
    Time { text: String, layout: &'static str, rest: String, wanted: &'static str },
    #[error("illegal base64 data at input byte {at}")]
    Bytes { at: usize },
}

/// All values of an object that their fields do not take, in the decoder's order. It prints the one that the decoder names: a time
/// ends its work, of the others it keeps the first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatches(Vec<Mismatch>);

impl Mismatches {
    /// The first value of another type.
    pub(super) fn of_a_type(&self) -> Option<&Mismatch> {
        self.0.iter().find(|one| matches!(one, Mismatch::Type { .. }))
    }

    fn none_or_all(found: Vec<Mismatch>) -> Result<(), Self> {
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.iter().find(|one| matches!(one, Mismatch::Time { .. }));
        time.or(self.0.first()).map_or(Ok(()), |named| named.fmt(out))
    }
}

/// Shapes an object of a built-in kind; of a custom kind its metadata.
///
/// `unknown` gets the paths of what was dropped.
///
/// # Errors
/// The values that their fields do not take; the object is then half shaped and to be thrown away.
pub(super) fn shape(
    resource: Resource,
    object: &mut Value,
    live: Option<&Value>,
    unknown: &mut Vec<String>,
) -> Result<(), Mismatches> {
    let definition = resource.definition();
    let known = find(definition.kind).filter(|_| !definition.custom);
    let Some(known) = known else {
        let is_same = live.is_some_and(|live| live.get("metadata") == object.get("metadata"));
        return if is_same { Ok(()) } else { metadata(object, unknown) };
    };
    let same = same(known, object, live);
    let mut walk = Walk { path: vec![], root: "", same: &same, unknown, found: vec![] };
    let identity: Vec<(&str, Option<Value>)> =
        ["apiVersion", "kind"].map(|it| (it, object.get(it).cloned())).into();
    let fields = std::mem::take(object);
    let Value::Object(fields) = fields else {
        return Err(Mismatches(vec![walk.wrong(&fields, definition.kind)]));
    };
    let mut shaped = walk.fields(known, fields);
    Mismatches::none_or_all(walk.found)?;
    for (name, value) in identity {
        if let Some(value) = value {
            shaped.insert(name.to_owned(), value);
        }
    }
    *object = Value::Object(shaped);
    Ok(())
}

/// Whether what was made of `live` can be held, as `shape` says it, without a change of it.
pub(super) fn check(resource: Resource, object: &Value, live: &Value) -> Result<(), Mismatches> {
    let definition = resource.definition();
    let known = find(definition.kind).filter(|_| !definition.custom);
    let Some((known, fields)) = known.zip(object.as_object()) else {
        if live.get("metadata") == object.get("metadata") {
            return Ok(());
        }
        let mut part = json!({"metadata": object.get("metadata")});
        return metadata(&mut part, &mut vec![]);
    };
    let same = same(known, object, Some(live));
    let changed = fields.iter().filter(|(name, _)| !same.contains(&name.as_str()));
    let changed = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut walk = Walk { path: vec![], root: "", same: &same, unknown: &mut vec![], found: vec![] };
    walk.fields(known, changed);
    Mismatches::none_or_all(walk.found)
}

/// The fields that the live object has in the same way: they have their form already. Most writes change one of them.
fn same(known: &'static Struct, object: &Value, live: Option<&Value>) -> Vec<&'static str> {
    let Some(live) = live else { return vec![] };
    let names = known.fields.iter().map(|field| field.name);
    names.filter(|name| live.get(*name) == object.get(*name)).collect()
}

fn metadata(object: &mut Value, unknown: &mut Vec<String>) -> Result<(), Mismatches> {
    let Some(metadata) = object.get_mut("metadata").filter(|it| !it.is_null()) else { return Ok(()) };
    // Decoded by itself, so that its own fields are the first ones.
    let mut dropped = vec![];
    let mut walk = Walk { path: vec![], root: "", same: &[], unknown: &mut dropped, found: vec![] };
    walk.value("ObjectMeta", metadata);
    let found = walk.found;
    unknown.extend(dropped.iter().map(|path| format!("metadata.{path}")));
    Mismatches::none_or_all(found)
}

fn find(name: &str) -> Option<&'static Struct> {
    STRUCTS.get(name).or_else(|| table::find(name))
}

struct Walk<'a> {
    /// Fields, and indices in brackets.
    path: Vec<String>,
    /// The innermost struct; empty outside of any.
    root: &'static str,
    /// Fields of the object itself that are left as they are.
    same: &'a [&'static str],
    unknown: &'a mut Vec<String>,
    found: Vec<Mismatch>,
}

impl Walk<'_> {
    fn wrong(&self, value: &Value, wanted: &str) -> Mismatch {
        let found = match value.as_number().filter(|_| wanted.starts_with("int")) {
            Some(number) => format!("number {number}"),
            None => go_type(value).to_owned(),
        };
        let fields: Vec<&str> =
            self.path.iter().map(String::as_str).filter(|step| !step.starts_with('[')).collect();
        let at = match self.root {
            "" => "value".to_owned(),
            root => format!("struct field {root}.{}", fields.join(".")),
        };
        Mismatch::Type { found, at, wanted: wanted.to_owned() }
    }

    /// What the struct has a field for; what is empty is left out unless it is always written.
    fn fields(&mut self, known: &'static Struct, mut sent: Map<String, Value>) -> Map<String, Value> {
        let outer = std::mem::replace(&mut self.root, known.name);
        let mut shaped = Map::new();
        for field in &known.fields {
            if self.path.is_empty() && self.same.contains(&field.name) {
                shaped.extend(sent.remove_entry(field.name));
                continue;
            }
            let mut value = sent.remove(field.name).unwrap_or(Value::Null);
            self.path.push(field.name.to_owned());
            self.value(field.kind, &mut value);
            self.path.pop();
            if field.is_required || !is_empty(field, &value) {
                shaped.insert(field.name.to_owned(), value);
            }
        }
        self.root = outer;
        for name in sent
            .keys()
            .filter(|name| !(self.path.is_empty() && ["apiVersion", "kind"].contains(&name.as_str())))
        {
            let mut path = String::new();
            for step in self.path.iter().chain([name]) {
                if !step.starts_with('[') && !path.is_empty() {
                    path.push('.');
                }
                path.push_str(step);
            }
            self.unknown.push(path);
        }
        shaped
    }

    /// Shapes a value in place; null becomes the zero of its kind.
    fn value(&mut self, kind: &'static str, value: &mut Value) {
        if let Some(inner) = kind.strip_prefix('*') {
            if !value.is_null() {
                self.value(inner, value);
            }
        } else if let Some(inner) = kind.strip_prefix("[]") {
            match value {
                Value::Null => {}
                Value::Array(items) => {
                    for (at, item) in items.iter_mut().enumerate() {
                        self.path.push(format!("[{at}]"));
                        self.value(inner, item);
                        self.path.pop();
                    }
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    self.found.push(self.wrong(value, &format!("[]{}", go_name(inner))));
                }
            }
        } else if let Some(inner) = kind.strip_prefix("{}") {
            match value {
                Value::Null => {}
                Value::Object(entries) => {
                    for (_, entry) in entries.iter_mut() {
                        self.value(inner, entry);
                    }
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    self.found.push(self.wrong(value, &format!("map[string]{}", go_name(inner))));
                }
            }
        } else if let Some(known) = find(kind) {
            match std::mem::take(value) {
                Value::Null => *value = Value::Object(self.fields(known, Map::new())),
                Value::Object(fields) => *value = Value::Object(self.fields(known, fields)),
                other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                    self.found.push(self.wrong(&other, &go_name(kind)));
                }
            }
        } else {
            self.found.extend(self.scalar(kind, value).err());
        }
    }

    fn scalar(&self, kind: &'static str, value: &mut Value) -> Result<(), Mismatch> {
        let zero = match kind {
            "string" | LABEL | "bytes" => json!(""),
            "bool" => json!(false),
            "int32" | "int64" | "intstr" => json!(0),
            _ => Value::Null,
        };
        match (kind, &*value) {
            (_, Value::Null) => *value = zero,
            ("string" | LABEL, Value::String(_)) | ("bool", Value::Bool(_)) | ("raw", _) => {}
            ("int32" | "int64", Value::Number(number)) => {
                // A float that is whole is read as what it is.
                let whole = number
                    .as_i64()
                    .or_else(|| number.as_f64().filter(|it| it.fract() == 0.0).map(|it| it as i64));
                let fits = whole.filter(|whole| kind == "int64" || i32::try_from(*whole).is_ok());
                *value = json!(fits.ok_or_else(|| self.wrong(value, kind))?);
            }
            ("intstr" | "quantity", Value::Number(_) | Value::String(_)) => {}
            ("time", Value::String(text)) => {
                *value = time(text, "2006-01-02T15:04:05Z07:00", "%Y-%m-%dT%H:%M:%SZ")?
            }
            ("microtime", Value::String(text)) => {
                *value = time(text, "2006-01-02T15:04:05.000000Z07:00", "%Y-%m-%dT%H:%M:%S.%6fZ")?;
            }
            ("bytes", Value::String(text)) => {
                if let Some(at) = bad_base64(text) {
                    return Err(Mismatch::Bytes { at });
                }
            }
            (kind, other) => return Err(self.wrong(other, &go_name(kind))),
        }
        Ok(())
    }
}

/// A kind as Go prints it.
fn go_name(kind: &str) -> String {
    if let Some(inner) = kind.strip_prefix("[]") {
        return format!("[]{}", go_name(inner));
    }
    if let Some(inner) = kind.strip_prefix("{}") {
        return format!("map[string]{}", go_name(inner));
    }
    let kind = kind.trim_start_matches('*');
    match kind {
        LABEL => "string".into(),
        "time" => "string".into(),
        "microtime" => "string".into(),
        "bytes" => "[]uint8".into(),
        _ if find(kind).is_some() => format!("v1.{kind}"),
        _ => kind.to_owned(),
    }
}

/// What Go's `omitempty` and `omitzero` leave out.
fn is_empty(field: &Field, value: &Value) -> bool {
    if field.kind.starts_with('*') {
        return value.is_null();
    }
    match value {
        Value::Null => !matches!(field.kind, "time" | "microtime") || field.omits_zero,
        Value::Bool(bit) => !bit,
        Value::Number(number) => field.kind != "intstr" && number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && (field.omits_zero || field.kind.starts_with("{}")),
    }
}

fn time(text: &str, layout: &'static str, print: &str) -> Result<Value, Mismatch> {
    let wrong = |rest: &str, wanted| Mismatch::Time {
        text: format!("{text:?}"),
        layout,
        rest: format!("{rest:?}"),
        wanted,
    };
    let at: Timestamp = text.parse().map_err(|_| wrong(text, "2006"))?;
    if layout.contains('.') {
        // Six digits, no more and no less.
        let rest = text.get(19..).unwrap_or_default();
        let digits =
            rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        if digits != 6 {
            return Err(wrong(rest, ".000000"));
        }
    }
    strtime::format(print, at).map(Value::from).map_err(|_| wrong(text, "2006"))
}

/// The byte at which a text stops being base64.
fn bad_base64(text: &str) -> Option<usize> {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if let Some(at) = body.bytes().position(|byte| !digit(byte)) {
        return Some(at);
    }
    (padding > 2 || !text.len().is_multiple_of(4)).then_some(body.len())
}
