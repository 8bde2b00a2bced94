//! Who owns which field: `metadata.managedFields`, and server-side apply on top of it.

use serde_json::{Map, Value, json};

use super::{
    at,
    fields::{Difference, FieldSet, difference, entry_step},
    route::Part,
    schema::{Form, ListKind, is_atomic_map, list_kind},
};

/// What the server keeps of an object's metadata for whoever writes it.
pub(super) const METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// Who writes: manager, the `apiVersion` it speaks, which part of the object, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub manager: &'a str,
    pub api_version: &'a str,
    pub part: Part,
    /// RFC 3339, whole seconds.
    pub time: &'a str,
    pub form: Form,
    /// The kind has a status subresource.
    pub status: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    set: FieldSet,
}

impl Entry {
    fn read(entry: &Value) -> Self {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            manager: text("manager"),
            operation: text("operation"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            set: FieldSet::from_wire(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        }
    }

    fn print(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.set.to_wire(),
        });
        if !self.time.is_empty() {
            entry["time"] = json!(self.time);
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }

    /// An applier is the same whatever version it speaks; an updater is not.
    fn is(&self, writer: &Writer<'_>, operation: &str) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.subresource == subresource(writer.part)
            && (operation == "Apply" || self.api_version == writer.api_version)
    }

    fn described(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == "Update" {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

fn subresource(part: Part) -> &'static str {
    match part {
        Part::Main | Part::Eviction => "",
        Part::Status => "status",
        Part::Scale => "scale",
    }
}

fn read(object: &Value) -> Vec<Entry> {
    let entries = at(object, "/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().map(Entry::read).collect()
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    entries.sort_by(|a, b| {
        (&a.operation, &a.time, &a.manager, &a.api_version, &a.subresource).cmp(&(
            &b.operation,
            &b.time,
            &b.manager,
            &b.api_version,
            &b.subresource,
        ))
    });
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.iter().map(Entry::print).collect());
    }
}

/// Takes out what nobody owns: identity, what the server sets, and the other half of a subresource.
fn strip(set: &mut FieldSet, writer: &Writer<'_>) {
    set.forget(&["apiVersion"]);
    set.forget(&["kind"]);
    for server_set in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        set.forget(&["metadata", server_set]);
    }
    match writer.part {
        Part::Status => set.forget(&["spec"]),
        Part::Main if writer.status => set.forget(&["status"]),
        Part::Main | Part::Scale | Part::Eviction => {}
    }
}

/// Books an update of `live` (absent at creation) to `new` on the writer. The entries `new` came with are kept, so
/// that a client can drop its own; a single empty entry clears the list; none at all means those of `live`.
/// What is booked is the difference between `live` and `new`, or `new` with this metadata where `booked` has some; at
/// creation `live` is what the type begins with.
pub(super) fn track_update(
    live: &Value,
    is_update: bool,
    booked: Option<Value>,
    new: &mut Value,
    writer: &Writer<'_>,
) {
    let metadata = booked.map(|booked| std::mem::replace(&mut new["metadata"], booked));
    let mut found = difference(live, new, writer.form);
    if let Some(metadata) = metadata {
        new["metadata"] = metadata;
    }
    strip(&mut found.changed, writer);
    strip(&mut found.removed, writer);
    if writer.part == Part::Scale && at(new, "/spec/replicas") == Some(&json!(0)) {
        // A Scale of 0 is one without replicas.
        let changed = std::mem::take(&mut found.changed);
        found.removed.unite(&changed);
    }
    let sent = at(new, "/metadata/managedFields").and_then(Value::as_array);
    let is_same = is_update && sent == at(live, "/metadata/managedFields").and_then(Value::as_array);
    if is_same && is_settled(sent, &found, writer) {
        return;
    }
    let cleared = sent.is_some_and(|sent| matches!(sent.as_slice(), [one] if one == &json!({})));
    let mut entries = match sent {
        Some(sent) if !sent.is_empty() => read(new),
        _ if is_update => read(live),
        _ => vec![],
    };
    if cleared {
        entries.clear();
    }
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if is_update && entries.is_empty() {
        // Where nobody is booked any more nobody will be, until somebody applies.
        return;
    }
    if !found.is_empty() {
        for entry in &mut entries {
            entry.set.subtract_trees(&found.removed);
            if !entry.is(writer, "Update") {
                entry.set.subtract(&found.changed);
            }
        }
        own(&mut entries, writer, "Update", |set| set.unite(&found.changed));
    }
    write(new, entries);
}

/// Whether the entries stay as they are: the writer owns already what it writes, and nobody else owns any of it. So it is
/// with most writes of a status, and reading and printing the entries is the larger part of such a write.
fn is_settled(entries: Option<&Vec<Value>>, found: &Difference, writer: &Writer<'_>) -> bool {
    let Some(entries) = entries else { return false };
    let is_own = |entry: &Value| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        text("manager") == writer.manager
            && text("operation") == "Update"
            && text("subresource") == subresource(writer.part)
            && text("apiVersion") == writer.api_version
    };
    let stays = |entry: &Value| {
        let fields = entry.get("fieldsV1").unwrap_or(&Value::Null);
        let is_untouched = is_own(entry) || !found.changed.is_in(fields);
        is_untouched && !found.removed.is_above(fields)
    };
    let holds = |entry: &&Value| found.changed.is_held_by(entry.get("fieldsV1").unwrap_or(&Value::Null));
    let is_owned =
        found.changed.is_empty() || entries.iter().filter(|entry| is_own(entry)).any(|own| holds(&own));
    is_owned && entries.iter().all(stays)
}

fn own(entries: &mut Vec<Entry>, writer: &Writer<'_>, operation: &str, change: impl FnOnce(&mut FieldSet)) {
    let mut entry = match entries.iter().position(|entry| entry.is(writer, operation)) {
        Some(at) => entries.remove(at),
        None => Entry {
            manager: writer.manager.to_owned(),
            operation: operation.to_owned(),
            api_version: writer.api_version.to_owned(),
            subresource: subresource(writer.part).to_owned(),
            time: writer.time.to_owned(),
            set: FieldSet::default(),
        },
    };
    let before = entry.set.clone();
    change(&mut entry.set);
    if operation == "Apply" {
        entry.api_version = writer.api_version.to_owned();
    }
    if entry.set != before {
        entry.time = writer.time.to_owned();
        entry.api_version = writer.api_version.to_owned();
    }
    entries.push(entry);
}

/// Server-side apply of `config` onto `live`: the object it comes to.
///
/// # Errors
/// The conflicts, each with the manager as messages name it and the field's path, where `force` is false.
pub(super) fn apply(
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Vec<(String, String)>> {
    let nothing = json!({"metadata": {}});
    let base = live.unwrap_or(&nothing);
    let mut entries = read(base);
    if live.is_some() && entries.is_empty() {
        // What is there is somebody's, too.
        let mut owned = base.clone();
        let first = Writer { manager: "before-first-apply", ..*writer };
        track_update(&nothing, false, None, &mut owned, &first);
        entries = read(&owned);
    }
    let mut claimed = FieldSet::claimed(config, writer.form);
    strip(&mut claimed, writer);

    let mut merged = base.clone();
    lay_over(&mut merged, config, writer.form, &mut vec![]);
    let mut changed = difference(base, &merged, writer.form).changed;
    strip(&mut changed, writer);
    let mut conflicts = vec![];
    for entry in entries.iter_mut().filter(|entry| !entry.is(writer, "Apply")) {
        let common = entry.set.common(&changed);
        let who = entry.described();
        conflicts.extend(common.printed().into_iter().map(|path| (who.clone(), path)));
        entry.set.subtract(&changed);
    }
    conflicts.sort_by(|(a, _), (b, _)| a.cmp(b));
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    if let Some(last) = entries.iter().find(|entry| entry.is(writer, "Apply")) {
        let mut gone = last.set.clone();
        gone.keep_unheld(&claimed);
        for entry in entries.iter().filter(|entry| !entry.is(writer, "Apply")) {
            gone.keep_unheld(&entry.set);
        }
        gone.remove_from(&mut merged);
        // What the server put there by itself goes along.
        for field in METADATA {
            let is_held = |set: &FieldSet| set.reaches(&["metadata", field]);
            let others = entries.iter().filter(|entry| !entry.is(writer, "Apply"));
            if is_held(&gone) && !is_held(&claimed) && !others.map(|entry| &entry.set).any(is_held) {
                merged["metadata"].as_object_mut().and_then(|metadata| metadata.remove(field));
            }
        }
    }
    // The time is when something changed; who only comes to own what is there already has none.
    let time = if live.is_some() && same_but_for_owners(base, &merged) {
        let entry = entries.iter().find(|entry| entry.is(writer, "Apply"));
        entry.map(|entry| entry.time.clone()).unwrap_or_default()
    } else {
        writer.time.to_owned()
    };
    own(&mut entries, writer, "Apply", |set| *set = claimed);
    if let Some(entry) = entries.iter_mut().find(|entry| entry.is(writer, "Apply")) {
        entry.time = time;
    }
    write(&mut merged, entries);
    Ok(merged)
}

/// True for what metadata does not keep.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The version that somebody speaks is no change either.
fn same_but_for_owners(a: &Value, b: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("apiVersion");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        object
    };
    bare(a) == bare(b)
}

fn lay_over<'a>(live: &mut Value, applied: &'a Value, form: Form, path: &mut Vec<&'a str>) {
    match (live, applied) {
        (Value::Object(fields), Value::Object(config)) if !is_atomic_map(form, path) => {
            for (name, value) in config {
                path.push(name);
                lay_over(fields.entry(name.clone()).or_insert(Value::Null), value, form, path);
                path.pop();
            }
        }
        (Value::Array(items), Value::Array(config)) => match list_kind(form, path) {
            ListKind::Atomic => items.clone_from(config),
            ListKind::Set => {
                for value in config {
                    if !items.contains(value) {
                        items.push(value.clone());
                    }
                }
            }
            ListKind::Keyed(keys) => {
                for value in config {
                    let step = entry_step(keys, value);
                    match items.iter_mut().find(|item| entry_step(keys, item) == step) {
                        Some(item) => lay_over(item, value, form, path),
                        None => items.push(value.clone()),
                    }
                }
            }
        },
        (live, applied) => {
            if live.is_null() && applied.is_object() && !is_atomic_map(form, path) {
                *live = Value::Object(Map::new());
                lay_over(live, applied, form, path);
            } else {
                *live = applied.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(manager: &str) -> Writer<'_> {
        Writer {
            manager,
            api_version: "networking.istio.io/v1",
            part: Part::Main,
            time: "2026-01-01T00:00:00Z",
            form: Form::CUSTOM,
            status: true,
        }
    }

    fn track(live: Option<&Value>, new: &mut Value, manager: &str) {
        track_update(live.unwrap_or(&json!({})), live.is_some(), None, new, &writer(manager));
    }

    fn created() -> Value {
        let mut object = json!({"metadata": {"name": "x"}, "spec": {"http": [1], "hosts": ["a"]}});
        track(None, &mut object, "kubectl-create");
        object
    }

    fn managers(object: &Value) -> Vec<(String, Vec<String>)> {
        read(object).into_iter().map(|entry| (entry.manager, entry.set.printed())).collect()
    }

    #[test]
    fn an_update_takes_over_the_fields_it_changes() {
        let live = created();
        let mut new = live.clone();
        new["spec"]["http"] = json!([2]);
        track(Some(&live), &mut new, "serin");
        assert_eq!(
            managers(&new),
            [
                ("kubectl-create".to_owned(), vec![".spec".to_owned(), ".spec.hosts".to_owned()]),
                ("serin".to_owned(), vec![".spec.http".to_owned()]),
            ]
        );
        let mut dropped = new.clone();
        dropped["metadata"]["managedFields"].as_array_mut().unwrap().remove(1);
        track(Some(&new), &mut dropped, "serin");
        assert_eq!(managers(&dropped).len(), 1);
    }

    #[test]
    fn apply_conflicts_with_other_owners_unless_forced() {
        let live = created();
        let config = json!({"metadata": {"name": "x"}, "spec": {"http": [3]}});
        assert_eq!(
            apply(Some(&live), &config, &writer("flux"), false).unwrap_err(),
            [("\"kubectl-create\" using networking.istio.io/v1".to_owned(), ".spec.http".to_owned())]
        );
        let same = json!({"metadata": {"name": "x"}, "spec": {"http": [1]}});
        assert!(apply(Some(&live), &same, &writer("flux"), false).is_ok());
        let forced = apply(Some(&live), &config, &writer("flux"), true).unwrap();
        assert_eq!(forced["spec"], json!({"http": [3], "hosts": ["a"]}));
        assert_eq!(managers(&forced)[0], ("flux".to_owned(), vec![".spec.http".to_owned()]));
    }

    #[test]
    fn what_an_applier_no_longer_applies_goes_unless_somebody_else_owns_it() {
        let config = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"x": 1, "y": 1}});
        let live = apply(None, &config, &writer("flux"), false).unwrap();
        let live = apply(Some(&live), &json!({"spec": {"y": 1}}), &writer("other"), false).unwrap();
        let less = json!({"metadata": {"labels": {"a": "1"}}});
        let left = apply(Some(&live), &less, &writer("flux"), false).unwrap();
        assert_eq!(left["metadata"]["labels"], json!({"a": "1"}));
        assert_eq!(left["spec"], json!({"y": 1}));
    }
}
