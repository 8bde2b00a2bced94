//! Sets of fields, as `managedFields` records them (`FieldsV1`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::schema::{Form, ListKind, is_atomic_map, list_kind};

/// A set of paths. Steps are spelt as on the wire: `f:<field>`, `k:<keys of an entry>`, `v:<value>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// True where the path up to here is itself in the set.
    member: bool,
    below: BTreeMap<String, FieldSet>,
}

/// What differs between two objects.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Added or modified.
    pub changed: FieldSet,
    pub removed: FieldSet,
}

impl Difference {
    /// True where the objects are the same.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

impl FieldSet {
    /// The fields a server-side apply of `value` claims.
    pub(super) fn claimed(value: &Value, form: Form) -> Self {
        let mut set = Self::default();
        set.insert(value, form, &mut vec![], false);
        set
    }

    /// Reads `fieldsV1`.
    pub(super) fn from_wire(fields: &Value) -> Self {
        let mut set = Self::default();
        let Some(fields) = fields.as_object() else { return set };
        for (step, inner) in fields {
            if step == "." {
                set.member = true;
            } else {
                let mut child = Self::from_wire(inner);
                child.member |= child.below.is_empty();
                set.below.insert(step.clone(), child);
            }
        }
        set
    }

    /// Prints `fieldsV1`.
    pub(super) fn to_wire(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.below.is_empty() {
            fields.insert(".".into(), json!({}));
        }
        for (step, child) in &self.below {
            fields.insert(step.clone(), child.to_wire());
        }
        Value::Object(fields)
    }

    /// Whether `fieldsV1`, as it is printed here, holds every path of the set.
    pub(super) fn is_held_by(&self, fields: &Value) -> bool {
        let Some(fields) = fields.as_object() else { return false };
        (!self.member || is_printed_member(fields))
            && self
                .below
                .iter()
                .all(|(step, child)| fields.get(step).is_some_and(|inner| child.is_held_by(inner)))
    }

    /// Whether `fieldsV1`, as it is printed here, holds a path of the set.
    pub(super) fn is_in(&self, fields: &Value) -> bool {
        let Some(fields) = fields.as_object() else { return false };
        (self.member && is_printed_member(fields))
            || self.below.iter().any(|(step, child)| fields.get(step).is_some_and(|inner| child.is_in(inner)))
    }

    /// Whether `fieldsV1`, as it is printed here, holds a path of the set or one below.
    pub(super) fn is_above(&self, fields: &Value) -> bool {
        let Some(fields) = fields.as_object() else { return false };
        self.member
            || self
                .below
                .iter()
                .any(|(step, child)| fields.get(step).is_some_and(|inner| child.is_above(inner)))
    }

    /// True where no path is in the set.
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Self::is_empty)
    }

    /// True where it holds what is at a path of field names, or something below it.
    pub(super) fn reaches(&self, path: &[&str]) -> bool {
        match path {
            [] => !self.is_empty(),
            [first, rest @ ..] => {
                self.below.get(&format!("f:{first}")).is_some_and(|child| child.reaches(rest))
            }
        }
    }

    /// Forgets a path of field names and everything below it.
    pub(super) fn forget(&mut self, path: &[&str]) {
        match path {
            [] => *self = Self::default(),
            [last] => {
                self.below.remove(&format!("f:{last}"));
            }
            [first, rest @ ..] => {
                let step = format!("f:{first}");
                if let Some(child) = self.below.get_mut(&step) {
                    child.forget(rest);
                    if child.is_empty() {
                        self.below.remove(&step);
                    }
                }
            }
        }
    }

    /// Adds the paths of `other`.
    pub(super) fn unite(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, child) in &other.below {
            self.below.entry(step.clone()).or_default().unite(child);
        }
    }

    /// Takes away the paths of `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        self.below.retain(|step, child| {
            if let Some(taken) = other.below.get(step) {
                child.subtract(taken);
            }
            !child.is_empty()
        });
    }

    /// Takes away the paths of `other` and everything below them.
    pub(super) fn subtract_trees(&mut self, other: &Self) {
        if other.member {
            *self = Self::default();
            return;
        }
        self.below.retain(|step, child| {
            if let Some(taken) = other.below.get(step) {
                child.subtract_trees(taken);
            }
            !child.is_empty()
        });
    }

    /// Keeps the paths under which `other` holds nothing.
    pub(super) fn keep_unheld(&mut self, other: &Self) {
        self.member &= other.is_empty();
        self.below.retain(|step, child| {
            if let Some(held) = other.below.get(step) {
                child.keep_unheld(held);
            }
            !child.is_empty()
        });
    }

    /// The paths that are in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, below: BTreeMap::new() };
        for (step, child) in &self.below {
            if let Some(theirs) = other.below.get(step) {
                let shared = child.common(theirs);
                if !shared.is_empty() {
                    both.below.insert(step.clone(), shared);
                }
            }
        }
        both
    }

    /// The paths as messages have them, for instance `.spec.containers[name="a"].image`.
    pub(super) fn printed(&self) -> Vec<String> {
        let mut found = vec![];
        self.print(&mut String::new(), &mut found);
        found
    }

    fn print(&self, here: &mut String, found: &mut Vec<String>) {
        let length = here.len();
        // What is itself in the set first, then what is below.
        for (step, _) in self.below.iter().filter(|(_, child)| child.member) {
            here.push_str(&printed_step(step));
            found.push(here.clone());
            here.truncate(length);
        }
        for (step, child) in &self.below {
            here.push_str(&printed_step(step));
            child.print(here, found);
            here.truncate(length);
        }
    }

    /// Removes from `value` what the set holds; maps that this leaves empty go too.
    pub(super) fn remove_from(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (step, child) in &self.below {
                    let Some(name) = step.strip_prefix("f:") else { continue };
                    if child.member {
                        fields.remove(name);
                    } else if let Some(inner) = fields.get_mut(name) {
                        child.remove_from(inner);
                        if inner.as_object().is_some_and(Map::is_empty)
                            || inner.as_array().is_some_and(Vec::is_empty)
                        {
                            fields.remove(name);
                        }
                    }
                }
            }
            Value::Array(items) => items.retain_mut(|item| {
                for (step, child) in &self.below {
                    if names_entry(step, item) {
                        if child.member {
                            return false;
                        }
                        child.remove_from(item);
                    }
                }
                true
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn insert<'a>(&mut self, value: &'a Value, form: Form, path: &mut Vec<&'a str>, containers: bool) {
        let containers = containers || form.is_untyped(path);
        match value {
            Value::Object(fields) if !fields.is_empty() && !is_atomic_map(form, path) => {
                self.member |= containers && !is_structure(form, path);
                for (name, inner) in fields {
                    path.push(name);
                    let child = self.below.entry(format!("f:{name}")).or_default();
                    child.insert(inner, form, path, containers);
                    if child.is_empty() {
                        self.below.remove(&format!("f:{name}"));
                    }
                    path.pop();
                }
            }
            Value::Array(items) if items.is_empty() && list_kind(form, path) != ListKind::Atomic => {}
            Value::Null if path.first() == Some(&"metadata") => {}
            Value::Array(items) if !items.is_empty() => match list_kind(form, path) {
                ListKind::Atomic => self.member = true,
                ListKind::Set => {
                    self.member |= containers;
                    for item in items {
                        self.below.entry(format!("v:{item}")).or_default().member = true;
                    }
                }
                ListKind::Keyed(keys) => {
                    // Every pod has containers, so that nobody owns their list.
                    self.member |= containers && path.last() != Some(&"containers");
                    for item in items {
                        let child = self.below.entry(entry_step(keys, item)).or_default();
                        child.member = true;
                        if !is_atomic_entry(path) {
                            child.insert(item, form, path, containers);
                        }
                    }
                }
            },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => self.member = true,
        }
    }
}

/// A path is in the set itself where it says so, or where nothing is below it.
fn is_printed_member(fields: &Map<String, Value>) -> bool {
    fields.is_empty() || fields.contains_key(".")
}

/// True for lists whose entries are replaced whole.
fn is_atomic_entry(path: &[&str]) -> bool {
    path == ["metadata", "ownerReferences"]
}

/// Structures of built-in kinds that always exist and are never owned themselves.
fn is_structure(form: Form, path: &[&str]) -> bool {
    match path {
        [] | ["metadata"] => true,
        ["spec" | "status" | "source"]
        | ["spec", "template" | "strategy"]
        | ["spec", "template", "spec" | "metadata"] => !form.is_custom(),
        _ => false,
    }
}

fn printed_step(step: &str) -> String {
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => format!("[{step}]"),
    }
}

/// How the entry of a keyed list is named; `protocol` defaults to TCP.
pub(super) fn entry_step(keys: &[&str], item: &Value) -> String {
    let mut named = Map::new();
    for key in keys {
        let value = match item.get(*key) {
            Some(value) => value.clone(),
            None if *key == "protocol" => json!("TCP"),
            None if *key == "uid" => json!(""),
            None => continue,
        };
        named.insert((*key).to_owned(), value);
    }
    format!("k:{}", Value::Object(named))
}

fn names_entry(step: &str, item: &Value) -> bool {
    match step.split_once(':') {
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            !keys.is_empty()
                && keys.iter().all(|(key, value)| match item.get(key) {
                    Some(live) => live == value,
                    None => key == "protocol" && value == "TCP",
                })
        }
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        _ => false,
    }
}

/// Compares two objects field by field, lists by the rules of their kind.
pub(super) fn difference(old: &Value, new: &Value, form: Form) -> Difference {
    let mut found = Difference::default();
    compare(old, new, form, &mut vec![], &mut found.changed, &mut found.removed);
    found
}

fn compare<'a>(
    old: &'a Value,
    new: &'a Value,
    form: Form,
    path: &mut Vec<&'a str>,
    changed: &mut FieldSet,
    removed: &mut FieldSet,
) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !is_atomic_map(form, path) => {
            let names: BTreeSet<&'a String> = before.keys().chain(after.keys()).collect();
            for name in names {
                path.push(name);
                let step = format!("f:{name}");
                compare_entry(before.get(name), after.get(name), &step, form, path, changed, removed);
                path.pop();
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let step: fn(&[&str], &Value) -> String = match list_kind(form, path) {
                ListKind::Atomic => {
                    changed.member = true;
                    return;
                }
                ListKind::Set => |_, item| format!("v:{item}"),
                ListKind::Keyed(_) => entry_step,
            };
            let keys = match list_kind(form, path) {
                ListKind::Keyed(keys) => keys,
                ListKind::Atomic | ListKind::Set => &[],
            };
            let before: BTreeMap<_, _> = before.iter().map(|item| (step(keys, item), item)).collect();
            let after: BTreeMap<_, _> = after.iter().map(|item| (step(keys, item), item)).collect();
            let steps: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for step in steps {
                let (old, new) = (before.get(step).copied(), after.get(step).copied());
                compare_entry(old, new, step, form, path, changed, removed);
            }
        }
        _ => changed.member = true,
    }
}

fn compare_entry<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    step: &str,
    form: Form,
    path: &mut Vec<&'a str>,
    changed: &mut FieldSet,
    removed: &mut FieldSet,
) {
    match (old.filter(|old| !old.is_null()), new) {
        (None, None) => {}
        (None, Some(Value::Null)) if old.is_some() => {}
        (None, Some(new)) => {
            let child = changed.below.entry(step.to_owned()).or_default();
            let is_entry = step.starts_with("k:") || step.starts_with("v:");
            child.member |= is_entry;
            if !(is_entry && is_atomic_entry(path)) {
                child.insert(new, form, path, true);
            }
        }
        (Some(_), None) => removed.below.entry(step.to_owned()).or_default().member = true,
        (Some(old), Some(new)) if step.starts_with("k:") && is_atomic_entry(path) => {
            if old != new {
                changed.below.entry(step.to_owned()).or_default().member = true;
            }
        }
        (Some(old), Some(new)) => {
            let (mut more, mut less) = (FieldSet::default(), FieldSet::default());
            compare(old, new, form, path, &mut more, &mut less);
            if !more.is_empty() {
                changed.below.insert(step.to_owned(), more);
            }
            if !less.is_empty() {
                removed.below.insert(step.to_owned(), less);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_fields_print_as_the_server_prints_them() {
        let applied = json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        let claimed = FieldSet::claimed(&applied, Form::BUILT_IN);
        assert_eq!(
            claimed.to_wire(),
            json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}})
        );
        assert_eq!(FieldSet::from_wire(&claimed.to_wire()), claimed);
        let custom = FieldSet::claimed(&json!({"spec": {"http": [{"name": "x"}]}}), Form::CUSTOM);
        assert_eq!(custom.printed(), [".spec.http"]);
    }

    #[test]
    fn difference_tells_changes_from_removals() {
        let old = json!({"spec": {"a": 1, "gone": {"x": 1}, "list": [1]}});
        let new = json!({"spec": {"a": 2, "new": {"y": 1}, "list": [1, 2]}});
        let found = difference(&old, &new, Form::CUSTOM);
        assert_eq!(
            found.changed.to_wire(),
            json!({"f:spec": {"f:a": {}, "f:list": {}, "f:new": {".": {}, "f:y": {}}}})
        );
        assert_eq!(found.removed.to_wire(), json!({"f:spec": {"f:gone": {}}}));
        assert!(difference(&old, &old, Form::CUSTOM).is_empty());
    }

    #[test]
    fn removing_a_set_removes_the_maps_it_empties() {
        let mut live = json!({"spec": {"a": {"b": 1}, "c": 1, "containers": [{"name": "x"}, {"name": "y"}]}});
        let gone = FieldSet::from_wire(
            &json!({"f:spec": {"f:a": {"f:b": {}}, "f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}}}}}),
        );
        gone.remove_from(&mut live);
        assert_eq!(live, json!({"spec": {"c": 1, "containers": [{"name": "y"}]}}));
    }
}
