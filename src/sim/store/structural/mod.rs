//! The schemas of custom kinds, as the server makes use of them: unknown fields are pruned, defaults filled in, the rest checked.
//!
//! They are those of the CustomResourceDefinitions that serin ships, and what `istio.json` says of Istio's: the types, names and
//! limits of the fields of istio.io/api v1.31.1. Which of its fields exclude each other, and its rules, are not looked at.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value};

use super::resource::Resource;

mod check;

pub(super) use check::check;

/// One node of a structural schema.
#[derive(Debug, Default)]
pub(super) struct Schema {
    /// `object`, `array`, `string`, `integer`, `number` or `boolean`; empty where anything goes.
    kind: String,
    int_or_string: bool,
    nullable: bool,
    keeps_unknown: bool,
    properties: BTreeMap<String, Schema>,
    additional: Option<Box<Schema>>,
    items: Option<Box<Schema>>,
    required: Vec<String>,
    default: Option<Value>,
    choices: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    max_items: Option<usize>,
    max_properties: Option<usize>,
    is_date: bool,
    pub(super) map_keys: Vec<String>,
    pub(super) is_atomic: bool,
    rules: Vec<Rule>,
    /// There are rules that cannot be looked at here.
    has_unread_rules: bool,
}

/// A rule that ties the new value to the old one: what is at `field` (all of it where empty) never changes.
#[derive(Debug)]
struct Rule {
    field: String,
    message: String,
}

/// A column that `kubectl get` prints.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    /// 1 where it is printed by `-o wide` only.
    pub(super) priority: i64,
    /// Where in the object its value is.
    pub(super) pointer: String,
}

static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    // A definition that is no JSON is refused by the tests of `api`.
    let mut all = crate::api::argo::crd::all().unwrap_or_default();
    all.extend(crate::api::serin::definitions().iter().filter_map(|crd| serde_json::to_value(crd).ok()));
    all
});

static COLUMNS: LazyLock<BTreeMap<Resource, Vec<Column>>> = LazyLock::new(|| {
    let of = |crd| Some((served_as(crd)?, Column::all(crd)));
    DEFINITIONS.iter().filter_map(of).collect()
});

static SCHEMAS: LazyLock<BTreeMap<Resource, Schema>> = LazyLock::new(|| {
    let of = |crd: &Value| {
        let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema")?;
        Some((served_as(crd)?, Schema::read(schema)))
    };
    let istio: BTreeMap<String, Value> = serde_json::from_str(ISTIO).unwrap_or_default();
    let istio = istio.iter().filter_map(|(plural, schema)| {
        Some((Resource::find("networking.istio.io", "v1", plural)?.0, Schema::read(schema)))
    });
    DEFINITIONS.iter().filter_map(of).chain(istio).collect()
});

/// By plural name.
const ISTIO: &str = include_str!("istio.json");

/// The columns of a custom kind besides its name; none where the definition is not serin's.
pub(super) fn columns(resource: Resource) -> Option<&'static [Column]> {
    COLUMNS.get(&resource).map(Vec::as_slice)
}

/// The schema of a custom kind that has one.
pub(super) fn schema(resource: Resource) -> Option<&'static Schema> {
    SCHEMAS.get(&resource)
}

fn served_as(crd: &Value) -> Option<Resource> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str);
    let (resource, _) =
        Resource::find(text("/spec/group")?, text("/spec/versions/0/name")?, text("/spec/names/plural")?)?;
    Some(resource)
}

impl Column {
    fn all(crd: &Value) -> Vec<Self> {
        let columns = crd.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array);
        let text = |column: &Value, field: &str| {
            column.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let read = |column: &Value| Self {
            name: text(column, "name"),
            kind: text(column, "type"),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            // The paths of the shipped definitions are plain fields.
            pointer: text(column, "jsonPath").replace('.', "/"),
        };
        columns.into_iter().flatten().map(read).collect()
    }
}

impl Schema {
    fn read(node: &Value) -> Self {
        let flag = |field: &str| node.get(field) == Some(&Value::Bool(true));
        let size = |field: &str| node.get(field).and_then(Value::as_f64).map(|size| size as usize);
        let texts = |field: &str| -> Vec<String> {
            let all = node.get(field).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let below =
            |field: &str| node.get(field).filter(|it| it.is_object()).map(|it| Box::new(Self::read(it)));
        Self {
            kind: node.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
            int_or_string: flag("x-kubernetes-int-or-string"),
            nullable: flag("nullable"),
            keeps_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            properties: node
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(name, property)| (name.clone(), Self::read(property)))
                .collect(),
            additional: below("additionalProperties"),
            items: below("items"),
            required: texts("required"),
            default: node.get("default").cloned(),
            choices: node.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            minimum: node.get("minimum").and_then(Value::as_f64),
            maximum: node.get("maximum").and_then(Value::as_f64),
            min_length: size("minLength"),
            max_length: size("maxLength"),
            max_items: size("maxItems"),
            max_properties: size("maxProperties"),
            is_date: node.get("format").and_then(Value::as_str) == Some("date-time"),
            map_keys: texts("x-kubernetes-list-map-keys"),
            is_atomic: node.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            rules: node
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Rule::read)
                .collect(),
            has_unread_rules: flag("x-unread-rules"),
        }
    }

    /// True where there are rules, here or below.
    fn has_rules(&self) -> bool {
        let below = self.properties.values().chain(self.additional.as_deref()).chain(self.items.as_deref());
        self.has_unread_rules || !self.rules.is_empty() || below.into_iter().any(Self::has_rules)
    }

    /// The node at a path of field names; entries of lists and maps add nothing for lists, their key for maps.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let here = self.items.as_deref().unwrap_or(self);
        here.properties.get(*first).or(here.additional.as_deref())?.at(rest)
    }
}

impl Rule {
    /// Reads `self.x == oldSelf.x`; a test says that there are no others.
    fn read(rule: &Value) -> Option<Self> {
        let (new, old) = rule.get("rule")?.as_str()?.split_once(" == ")?;
        let field = new.strip_prefix("self")?.trim_start_matches('.').to_owned();
        let same = old.strip_prefix("oldSelf")?.trim_start_matches('.') == field;
        let message = rule.get("message")?.as_str()?.to_owned();
        same.then_some(Self { field, message })
    }
}

/// Drops what the schema does not know and fills in its defaults; `unknown` gets the paths of what was dropped. Identity and
/// metadata are not its business.
pub(super) fn shape(resource: Resource, object: &mut Value, live: Option<&Value>, unknown: &mut Vec<String>) {
    let (Some(schema), Some(fields)) = (schema(resource), object.as_object_mut()) else { return };
    let mut kept = without_same(fields, live);
    for name in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = fields.remove(name) {
            kept.insert(name.to_owned(), value);
        }
    }
    prune(schema, object, "", unknown);
    fill(schema, object);
    if let Some(fields) = object.as_object_mut() {
        fields.extend(kept);
    }
}

/// Takes out the fields that the live object has in the same way: they have their form already.
fn without_same(fields: &mut Map<String, Value>, live: Option<&Value>) -> Map<String, Value> {
    let Some(live) = live.and_then(Value::as_object) else { return Map::new() };
    let same = live.iter().filter(|(name, value)| fields.get(*name) == Some(value));
    let same: Vec<&String> = same.map(|(name, _)| name).collect();
    same.into_iter().filter_map(|name| fields.remove_entry(name)).collect()
}

fn prune(schema: &Schema, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let opaque =
                schema.properties.is_empty() && schema.additional.is_none() && schema.kind.is_empty();
            let step = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            fields.retain(|name, inner| match schema.properties.get(name).or(schema.additional.as_deref()) {
                Some(below) => {
                    prune(below, inner, &step(name), unknown);
                    true
                }
                None if schema.keeps_unknown || opaque => true,
                None => {
                    unknown.push(step(name));
                    false
                }
            });
        }
        Value::Array(items) => {
            if let Some(below) = schema.items.as_deref() {
                for (at, item) in items.iter_mut().enumerate() {
                    prune(below, item, &format!("{path}[{at}]"), unknown);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Drops null where the schema has no use for it, as the server does with every object that it decodes.
pub(super) fn drop_nulls(resource: Resource, object: &mut Value, live: Option<&Value>) {
    let (Some(schema), Some(fields)) = (schema(resource), object.as_object_mut()) else { return };
    let kept = without_same(fields, live);
    without_nulls(schema, object);
    if let Some(fields) = object.as_object_mut() {
        fields.extend(kept);
    }
}

fn without_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, inner| match schema.properties.get(name) {
                Some(below) if inner.is_null() => below.nullable || below.default.is_some(),
                _ => true,
            });
            for (name, inner) in fields.iter_mut() {
                if let Some(below) = schema.properties.get(name).or(schema.additional.as_deref()) {
                    without_nulls(below, inner);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| without_nulls(below, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, below) in &schema.properties {
                let Some(default) = &below.default else { continue };
                let wanting = fields.get(name).is_none_or(|live| live.is_null() && !below.nullable);
                if wanting {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, inner) in fields.iter_mut() {
                if let Some(below) = schema.properties.get(name).or(schema.additional.as_deref()) {
                    fill(below, inner);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| fill(below, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What this engine has no words for would be let through in silence.
    #[test]
    fn every_word_of_the_shipped_schemas_is_understood() {
        const KNOWN: &[&str] = &[
            "type",
            "description",
            "title",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "default",
            "nullable",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "maxItems",
            "maxProperties",
            "format",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-int-or-string",
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-map-type",
            "x-kubernetes-validations",
            "x-unread-rules",
        ];
        fn walk(node: &Value, path: &str) {
            for (word, value) in node.as_object().into_iter().flatten() {
                assert!(KNOWN.contains(&word.as_str()), "{path}: {word}");
                match word.as_str() {
                    "properties" => value
                        .as_object()
                        .unwrap()
                        .iter()
                        .for_each(|(name, it)| walk(it, &format!("{path}.{name}"))),
                    "items" | "additionalProperties" => walk(value, path),
                    "x-kubernetes-validations" => {
                        assert!(
                            value.as_array().unwrap().iter().all(|rule| Rule::read(rule).is_some()),
                            "{path}: {value}"
                        );
                    }
                    _ => {}
                }
            }
        }
        let mut all = crate::api::argo::crd::all().unwrap();
        all.extend(crate::api::serin::definitions().iter().map(|crd| serde_json::to_value(crd).unwrap()));
        let istio: BTreeMap<String, Value> = serde_json::from_str(ISTIO).unwrap();
        assert_eq!(all.len() + istio.len(), SCHEMAS.len());
        for (plural, schema) in &istio {
            walk(schema, plural);
        }
        for crd in &all {
            walk(
                &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
                crd["metadata"]["name"].as_str().unwrap(),
            );
        }
    }

    #[test]
    fn what_a_schema_does_not_know_is_pruned_and_defaults_are_filled_in() {
        let mut heal = json!({"metadata": {"name": "x"}, "extra": 1, "spec": {"more": 1, "evidence": {"run": "r", "x": 1}}});
        let mut unknown = vec![];
        shape(Resource::SelfHeals, &mut heal, None, &mut unknown);
        assert_eq!(unknown, ["extra", "spec.evidence.x", "spec.more"]);
        assert_eq!(
            heal,
            json!({"metadata": {"name": "x"}, "spec": {"evidence": {"run": "r", "samples": 0, "weight": 0}}})
        );
        let rollout = json!({"metadata": {"name": "x"}, "extra": 1, "spec": {"more": {"a": [1]}}});
        let mut kept = rollout.clone();
        shape(Resource::Rollouts, &mut kept, None, &mut vec![]);
        assert_eq!(kept, rollout);
    }
}
