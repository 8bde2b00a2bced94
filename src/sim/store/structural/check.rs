//! Validation by a schema, in the server's words.

use serde_json::Value;

use super::{Resource, Schema, schema};
use crate::sim::store::{patch::go_printed, status::Cause};

/// What of an object its kind's schema refuses, next to what was found `before`. What an update leaves as it was is not looked at
/// again.
pub(in crate::sim::store) fn check(
    resource: Resource,
    object: &Value,
    live: Option<&Value>,
    before: &[Cause],
) -> Vec<Cause> {
    let mut causes = vec![];
    let Some(schema) = schema(resource) else { return causes };
    for name in schema.required.iter().filter(|name| object.get(name.as_str()).is_none()) {
        causes.push(absent(name));
    }
    for (name, value) in object.as_object().into_iter().flatten() {
        if let Some(below) = schema.properties.get(name).filter(|_| !IDENTITY.contains(&name.as_str())) {
            let place = Place { path: name, is_update: live.is_some() };
            value_causes(below, value, live.and_then(|live| live.get(name)), place, &mut causes);
        }
    }
    causes.extend(scale_cause(resource, object));
    if !before.iter().chain(&causes).any(|cause| BLOCKING.contains(&cause.reason)) {
        rule_causes(schema, object, live, "", &mut causes);
    } else if schema.has_rules() {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                   complete validation";
        causes.push(Cause::invalid("<nil>", "null", why));
    }
    causes
}

/// After these the server does not look at the rules.
const BLOCKING: [&str; 5] = [
    "FieldValueRequired",
    "FieldValueNotSupported",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

/// The replicas have to be a count wherever there is a scale.
fn scale_cause(resource: Resource, object: &Value) -> Option<Cause> {
    let path = ".spec.replicas";
    if !resource.definition().scale {
        return None;
    }
    let spec = object.get("spec")?;
    let (of, wanted) =
        if spec.is_object() { (spec.get("replicas")?, "int64") } else { (spec, "map[string]interface{}") };
    let (shown, kind) = match of {
        Value::Number(number) if wanted == "int64" && number.as_i64().is_some() => {
            let count = number.as_i64().filter(|count| *count < 0)?;
            return Some(Cause::invalid(path, &count.to_string(), "should be a non-negative integer"));
        }
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(bit) => (bit.to_string(), "bool"),
        Value::Number(number) => (number.to_string(), if number.is_f64() { "float64" } else { "int64" }),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (go_printed(of), "[]interface {}"),
        Value::Object(_) => (go_printed(of), "map[string]interface {}"),
    };
    let why = format!("{path} accessor error: {shown} is of the type {kind}, expected {wanted}");
    Some(Cause::invalid(path, "0", &why))
}

const IDENTITY: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn absent(path: &str) -> Cause {
    Cause { reason: "FieldValueRequired", message: "Required value".into(), field: path.to_owned() }
}

fn wrong(path: &str, shown: &str, why: &str) -> Cause {
    Cause::invalid(path, shown, &format!("{path} in body {why}"))
}

/// Where a value is, and whether there was an object before.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    is_update: bool,
}

impl Place<'_> {
    /// What the server calls it in texts about sizes: at an update it knows the last step only.
    fn called(self) -> String {
        let last = self.path.rsplit('.').next().unwrap_or_default();
        if self.is_update { last.to_owned() } else { self.path.to_owned() }
    }
}

fn value_causes(
    schema: &Schema,
    value: &Value,
    live: Option<&Value>,
    place: Place<'_>,
    causes: &mut Vec<Cause>,
) {
    if live == Some(value) {
        return;
    }
    let Place { path, is_update } = place;
    if let Some(cause) = type_cause(schema, value, path) {
        causes.push(cause);
        return;
    }
    match value {
        Value::Object(fields) => {
            if let Some(most) = schema.max_properties.filter(|most| fields.len() > *most) {
                causes.push(too_many(path, fields.len(), most));
            }
            for name in schema.required.iter().filter(|name| !fields.contains_key(name.as_str())) {
                causes.push(absent(&format!("{path}.{name}")));
            }
            for (name, inner) in fields {
                let known = schema.properties.get(name);
                if let Some(below) = known.or(schema.additional.as_deref()) {
                    let path = format!("{path}.{name}");
                    let place = Place { path: &path, is_update };
                    value_causes(below, inner, live.and_then(|live| live.get(name)), place, causes);
                }
            }
        }
        Value::Array(items) => list_causes(schema, items, live, place, causes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            scalar_causes(schema, value, place, causes);
        }
    }
}

fn too_many(path: &str, count: usize, most: usize) -> Cause {
    let message = format!("Too many: {count}: must have at most {most} items");
    Cause { reason: "FieldValueTooMany", message, field: path.to_owned() }
}

fn list_causes(
    schema: &Schema,
    items: &[Value],
    live: Option<&Value>,
    place: Place<'_>,
    causes: &mut Vec<Cause>,
) {
    let Place { path, is_update } = place;
    if let Some(most) = schema.max_items.filter(|most| items.len() > *most) {
        causes.push(too_many(path, items.len(), most));
    }
    for (at, item) in items.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if let Some(below) = schema.items.as_deref() {
            value_causes(
                below,
                item,
                live.and_then(|live| live.get(at)),
                Place { path: &path, is_update },
                causes,
            );
        }
        let key = |item: &Value| -> Vec<Option<Value>> {
            schema.map_keys.iter().map(|key| item.get(key).cloned()).collect()
        };
        if !schema.map_keys.is_empty() && items.iter().take(at).any(|other| key(other) == key(item)) {
            let named: serde_json::Map<String, Value> = schema
                .map_keys
                .iter()
                .filter_map(|name| item.get(name).map(|value| (name.clone(), value.clone())))
                .collect();
            let message = format!("Duplicate value: {}", Value::Object(named));
            causes.push(Cause { reason: "FieldValueDuplicate", message, field: path });
        }
    }
}

/// What the server calls the type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(|it| it.fract() != 0.0) => {
            "number"
        }
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn type_cause(schema: &Schema, value: &Value, path: &str) -> Option<Cause> {
    let live = type_of(value);
    let fits = match schema.kind.as_str() {
        "" if schema.int_or_string => matches!(live, "integer" | "string"),
        "" => true,
        "number" => matches!(live, "number" | "integer"),
        kind => kind == live,
    };
    if fits || live == "null" && schema.nullable {
        return None;
    }
    let wanted = if schema.int_or_string { "integer,string" } else { &schema.kind };
    let mut cause = wrong(path, &format!("{live:?}"), &format!("must be of type {wanted}: {live:?}"));
    cause.reason = "FieldValueTypeInvalid";
    Some(cause)
}

fn scalar_causes(schema: &Schema, value: &Value, place: Place<'_>, causes: &mut Vec<Cause>) {
    let path = place.path;
    let size =
        |why: String| Cause::invalid(path, &value.to_string(), &format!("{} in body {why}", place.called()));
    if !(schema.choices.is_empty() || schema.choices.contains(value) || value.is_null() && schema.nullable) {
        let supported: Vec<String> = schema.choices.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        causes.push(Cause { reason: "FieldValueNotSupported", message, field: path.to_owned() });
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count();
        if let Some(most) = schema.max_length.filter(|most| length > *most) {
            let message = format!("Too long: may not be more than {most} bytes");
            causes.push(Cause { reason: "FieldValueTooLong", message, field: path.to_owned() });
        }
        if let Some(least) = schema.min_length.filter(|least| length < *least) {
            causes.push(size(format!("should be at least {least} chars long")));
        }
        if schema.is_date && text.parse::<jiff::Timestamp>().is_err() {
            let mut cause = wrong(path, &value.to_string(), &format!("must be of type date-time: {value}"));
            cause.reason = "FieldValueTypeInvalid";
            causes.push(cause);
        }
    }
    if let Some(number) = value.as_f64() {
        if let Some(most) = schema.maximum.filter(|most| number > *most) {
            causes.push(size(format!("should be less than or equal to {most}")));
        }
        if let Some(least) = schema.minimum.filter(|least| number < *least) {
            causes.push(size(format!("should be greater than or equal to {least}")));
        }
    }
}

/// Rules that tie the new value to the old one; they are silent where there was none.
fn rule_causes(schema: &Schema, value: &Value, live: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let Some(live) = live else { return };
    for rule in &schema.rules {
        let part =
            |of: &Value| if rule.field.is_empty() { Some(of.clone()) } else { of.get(&rule.field).cloned() };
        if part(value) != part(live) {
            let field = if path.is_empty() { "<nil>" } else { path };
            causes.push(Cause::invalid(field, &format!("{:?}", type_of(value)), &rule.message));
        }
    }
    for (name, below) in &schema.properties {
        if let (Some(inner), Some(old)) = (value.get(name), live.get(name)) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            rule_causes(below, inner, Some(old), &path, causes);
        }
    }
}
