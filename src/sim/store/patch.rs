//! The three patches that know nothing of field owners.

use serde_json::{Map, Value};

use super::schema::{Form, ListKind, list_kind};

/// A JSON patch that cannot be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchError {
    /// Not a list of operations; the server answers 400.
    #[error("{0}")]
    Malformed(String),
    /// A failed test, a missing parent, a missing index; the server answers 422.
    #[error("the patch does not apply")]
    DoesNotApply,
    /// An entry of a keyed list without its key, as Go prints it; the server answers 500.
    #[error("map: {entry} does not contain declared merge key: {key}")]
    Keyless { entry: String, key: &'static str },
}

/// RFC 6902 with kube-apiserver's leniencies: `replace` of an object's missing key adds it, `test` for null passes
/// on a missing key, negative indices count from the end.
///
/// # Errors
/// `Malformed` or `DoesNotApply`; the document is then half changed and to be thrown away.
pub(super) fn json_patch(document: &mut Value, operations: &Value) -> Result<(), PatchError> {
    let wrong = |value: &Value, wanted: &str| {
        let found = go_type(value);
        PatchError::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
        ))
    };
    let operations = operations.as_array().ok_or_else(|| wrong(operations, "[]handlers.jsonPatchOp"))?;
    if let Some(operation) = operations.iter().find(|operation| !operation.is_object()) {
        return Err(wrong(operation, "handlers.jsonPatchOp"));
    }
    operations.iter().try_for_each(|operation| apply_operation(document, operation))
}

/// What Go's decoder calls a value.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn apply_operation(document: &mut Value, operation: &Value) -> Result<(), PatchError> {
    let text = |field: &str| operation.get(field).and_then(Value::as_str);
    let path = text("path").ok_or(PatchError::DoesNotApply)?;
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match text("op").unwrap_or_default() {
        "add" => add(document, path, value()),
        "remove" => remove(document, path).map(drop),
        "replace" => replace(document, path, value()),
        "test" => test(document, path, operation.get("value").unwrap_or(&Value::Null)),
        "move" => {
            let moved = remove(document, text("from").ok_or(PatchError::DoesNotApply)?)?;
            add(document, path, moved)
        }
        "copy" => {
            let (parent, key) = parent(document, text("from").ok_or(PatchError::DoesNotApply)?)?;
            let copied = entry(parent, &key)?.cloned().unwrap_or_default();
            add(document, path, copied)
        }
        _ => Err(PatchError::DoesNotApply),
    }
}

/// The container that a pointer leads into, and the last step.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), PatchError> {
    let mut steps: Vec<String> =
        path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let last = steps.pop().ok_or(PatchError::DoesNotApply)?;
    let mut here = document;
    for step in steps {
        here = match here {
            Value::Object(fields) => fields.get_mut(&step),
            Value::Array(items) => index(&step, items.len()).and_then(|at| items.get_mut(at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
        .ok_or(PatchError::DoesNotApply)?;
    }
    if here.is_object() || here.is_array() { Ok((here, last)) } else { Err(PatchError::DoesNotApply) }
}

/// A list index below `length`; a negative one counts from the end.
fn index(step: &str, length: usize) -> Option<usize> {
    let at: i64 = step.parse().ok()?;
    let at = if at < 0 { at.checked_add(i64::try_from(length).ok()?)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < length)
}

/// What is at `key`: `None` for an object without it, an error for a list without it.
fn entry<'a>(container: &'a Value, key: &str) -> Result<Option<&'a Value>, PatchError> {
    match container {
        Value::Object(fields) => Ok(fields.get(key)),
        Value::Array(items) => {
            let at = index(key, items.len()).ok_or(PatchError::DoesNotApply)?;
            Ok(items.get(at))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(PatchError::DoesNotApply),
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let (container, key) = parent(document, path)?;
    match container {
        Value::Object(fields) => {
            fields.insert(key, value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&key, items.len() + 1).ok_or(PatchError::DoesNotApply)?;
            items.insert(at, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(PatchError::DoesNotApply);
        }
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, PatchError> {
    let (container, key) = parent(document, path)?;
    match container {
        Value::Object(fields) => fields.remove(&key).ok_or(PatchError::DoesNotApply),
        Value::Array(items) => {
            let at = index(&key, items.len()).ok_or(PatchError::DoesNotApply)?;
            Ok(items.remove(at))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(PatchError::DoesNotApply),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (container, key) = parent(document, path)?;
    entry(container, &key)?;
    match container {
        Value::Object(fields) => {
            fields.insert(key, value);
        }
        Value::Array(items) => {
            let at = index(&key, items.len()).ok_or(PatchError::DoesNotApply)?;
            if let Some(slot) = items.get_mut(at) {
                *slot = value;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn test(document: &mut Value, path: &str, wanted: &Value) -> Result<(), PatchError> {
    let equal = if path.is_empty() {
        document == wanted
    } else {
        let (container, key) = parent(document, path)?;
        entry(container, &key)?.unwrap_or(&Value::Null) == wanted
    };
    if equal { Ok(()) } else { Err(PatchError::DoesNotApply) }
}

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A strategic merge patch of a built-in kind: `$patch: delete | replace`, `$retainKeys`,
/// `$deleteFromPrimitiveList/<field>` and keyed lists; `$setElementOrder` is accepted and has no effect.
///
/// # Errors
/// `Keyless`; the target is then half changed and to be thrown away.
pub(super) fn strategic_merge(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    strategic(target, patch, &mut vec![])
}

fn strategic<'a>(target: &mut Value, patch: &'a Value, path: &mut Vec<&'a str>) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let kept = patch.iter().filter(|(key, _)| *key != "$patch");
        *target = Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        return Ok(());
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return Ok(()) };
    if let Some(retained) = patch.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|key, _| retained.iter().any(|kept| kept.as_str() == Some(key)));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            continue;
        } else if value.is_null() {
            fields.remove(key);
        } else {
            path.push(key);
            strategic_field(fields.entry(key.clone()).or_insert(Value::Null), value, path)?;
            path.pop();
            if value.get("$patch").and_then(Value::as_str) == Some("delete") {
                fields.remove(key);
            }
        }
    }
    Ok(())
}

fn strategic_field<'a>(
    target: &mut Value,
    value: &'a Value,
    path: &mut Vec<&'a str>,
) -> Result<(), PatchError> {
    let Value::Array(changes) = value else { return strategic(target, value, path) };
    match list_kind(Form::BUILT_IN, path) {
        ListKind::Keyed(keys) if changes.iter().all(Value::is_object) => {
            let key = keys.first().copied().unwrap_or("name");
            let mut items = target.as_array().cloned().unwrap_or_default();
            // What goes into no list is not merged.
            let keyless = changes.iter().find(|change| is_keyless(change, key)).filter(|_| target.is_array());
            if let Some(keyless) = keyless {
                return Err(PatchError::Keyless { entry: go_printed(keyless), key });
            }
            if changes.iter().any(|change| change.get("$patch").and_then(Value::as_str) == Some("replace")) {
                items.clear();
            }
            let before = items.clone();
            for change in changes {
                strategic_item(&mut items, change, key, path)?;
            }
            *target = Value::Array(in_order(items, &before, changes, &|item| item.get(key).cloned()));
        }
        ListKind::Set => {
            let mut items = target.as_array().cloned().unwrap_or_default();
            let before = items.clone();
            for change in changes {
                if !items.contains(change) {
                    items.push(change.clone());
                }
            }
            *target = Value::Array(in_order(items, &before, changes, &|item| Some(item.clone())));
        }
        ListKind::Keyed(_) | ListKind::Atomic => *target = value.clone(),
    }
    Ok(())
}

/// An entry that says nothing of which one it is.
fn is_keyless(change: &Value, key: &str) -> bool {
    change.get(key).is_none() && change.get("$patch").and_then(Value::as_str) != Some("replace")
}

/// The entries of the patch in its order, the others where they were among those that the server had before.
fn in_order(
    items: Vec<Value>,
    before: &[Value],
    patch: &[Value],
    key: &dyn Fn(&Value) -> Option<Value>,
) -> Vec<Value> {
    let at = |list: &[Value], item: &Value| list.iter().position(|other| key(other) == key(item));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| at(patch, item).is_some());
    named.sort_by_key(|item| at(patch, item));
    let mut sorted = vec![];
    let mut others = others.into_iter().peekable();
    for item in named {
        while let (Some(mine), Some(next)) =
            (at(before, &item), others.peek().and_then(|next| at(before, next)))
        {
            if next > mine {
                break;
            }
            sorted.extend(others.next());
        }
        sorted.push(item);
    }
    sorted.extend(others);
    sorted
}

fn strategic_item<'a>(
    items: &mut Vec<Value>,
    change: &'a Value,
    key: &str,
    path: &mut Vec<&'a str>,
) -> Result<(), PatchError> {
    let at = items.iter().position(|item| item.get(key) == change.get(key));
    match (change.get("$patch").and_then(Value::as_str), at) {
        (Some("delete"), Some(at)) => {
            items.remove(at);
        }
        (Some(_), _) => {}
        (None, Some(at)) => {
            if let Some(item) = items.get_mut(at) {
                strategic(item, change, path)?;
            }
        }
        (None, None) => {
            let mut item = Value::Null;
            strategic(&mut item, change, path)?;
            items.push(item);
        }
    }
    Ok(())
}

/// A value as Go's `%v` prints it.
pub(super) fn go_printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_printed).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}:{}", go_printed(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut document: Value, operations: Value) -> Result<Value, PatchError> {
        json_patch(&mut document, &operations).map(|()| document)
    }

    #[test]
    fn json_patch_has_the_servers_leniencies() {
        let live = json!({"http": [{"route": [{"weight": 90}, {"weight": 10}]}], "a/b": 1});
        let replaced = patched(live.clone(), json!([{"op": "replace", "path": "/new", "value": 1}])).unwrap();
        assert_eq!(replaced["new"], 1);
        let last =
            patched(live.clone(), json!([{"op": "add", "path": "/http/0/route/-", "value": 7}])).unwrap();
        assert_eq!(last["http"][0]["route"][2], 7);
        let negative =
            patched(live.clone(), json!([{"op": "replace", "path": "/http/0/route/-1", "value": 7}]))
                .unwrap();
        assert_eq!(negative["http"][0]["route"], json!([{"weight": 90}, 7]));
        patched(live.clone(), json!([{"op": "test", "path": "/none", "value": null}])).unwrap();
        patched(live, json!([{"op": "test", "path": "/a~1b", "value": 1}])).unwrap();
    }

    #[test]
    fn json_patch_refuses_what_the_server_refuses() {
        let live = json!({"http": [{"weight": 90}], "s": "x"});
        for operation in [
            json!({"op": "test", "path": "/http/0/weight", "value": 80}),
            json!({"op": "test", "path": "/http/1", "value": null}),
            json!({"op": "replace", "path": "/http/1", "value": 1}),
            json!({"op": "add", "path": "/http/2", "value": 1}),
            json!({"op": "add", "path": "/none/key", "value": 1}),
            json!({"op": "add", "path": "/s/key", "value": 1}),
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "add", "value": 1}),
        ] {
            let outcome = patched(live.clone(), json!([operation]));
            assert_eq!(outcome, Err(PatchError::DoesNotApply), "{operation}");
        }
        assert!(matches!(patched(live, json!({})), Err(PatchError::Malformed(_))));
    }

    #[test]
    fn merge_patch_removes_with_null_and_replaces_lists() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "d": {"e": null}}, "l": [3]}));
        assert_eq!(target, json!({"a": {"c": 2, "d": {}}, "l": [3]}));
    }

    #[test]
    fn strategic_merge_keys_the_lists_of_core_kinds() {
        let mut pod = json!({"status": {
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}],
            "podIPs": [{"ip": "10.77.0.1"}]}});
        let patch = json!({"status": {
            "$setElementOrder/conditions": [{"type": "Ready"}],
            "conditions": [{"type": "Ready", "status": "True"}], "podIPs": [{"ip": "10.77.0.2"}]}});
        strategic_merge(&mut pod, &patch).unwrap();
        assert_eq!(pod["status"]["conditions"][0], json!({"type": "Ready", "status": "True"}));
        assert_eq!(pod["status"]["conditions"].as_array().unwrap().len(), 2);
        assert_eq!(pod["status"]["podIPs"], json!([{"ip": "10.77.0.2"}, {"ip": "10.77.0.1"}]));
        assert!(pod["status"].get("$setElementOrder/conditions").is_none());
        strategic_merge(
            &mut pod,
            &json!({"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}),
        )
        .unwrap();
        assert_eq!(pod["status"]["conditions"], json!([{"type": "Initialized", "status": "True"}]));
        let keyless = json!({"status": {"conditions": [{"status": "False", "more": [1, null]}]}});
        assert_eq!(
            strategic_merge(&mut pod, &keyless).unwrap_err().to_string(),
            "map: map[more:[1 <nil>] status:False] does not contain declared merge key: type"
        );
    }
}
