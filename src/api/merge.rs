//! Merge patches (RFC 7386): what must be sent so that one JSON value becomes another. No I/O.

use serde_json::{Map, Value};

/// The merge patch that turns `old` into `new`; `None` when nothing changed.
///
/// Lists are replaced whole and removed keys are sent as null. A merge patch cannot store a null, so a null in `new`
/// counts as absent.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let patch = diff_objects(old, new);
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) => (old != new).then(|| without_nulls(new)),
    }
}

fn diff_objects(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let present = |map: &Map<String, Value>, key: &str| map.get(key).is_some_and(|value| !value.is_null());
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !present(new, key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
        let change = match old.get(key) {
            None | Some(Value::Null) => Some(without_nulls(value)),
            Some(before) => diff(before, value),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    patch
}

/// A value as a server stores it after a merge patch: no null inside an object; lists keep theirs.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_holds_only_what_changed() {
        let cases = [
            (json!({"a": 1, "b": {"c": 2}}), json!({"a": 1, "b": {"c": 2}}), None),
            (json!({"a": 1}), json!({"a": 2, "b": {}}), Some(json!({"a": 2, "b": {}}))),
            (
                json!({"a": 1, "b": {"c": 2, "d": 3}}),
                json!({"b": {"c": 2}}),
                Some(json!({"a": null, "b": {"d": null}})),
            ),
            (json!({"a": [1, 2]}), json!({"a": [1, 3]}), Some(json!({"a": [1, 3]}))),
            (json!({"a": null}), json!({}), Some(json!({"a": null}))),
            (json!({"a": {"b": 1}}), json!({"a": 5}), Some(json!({"a": 5}))),
            (json!({"a": 5}), json!({"a": {"b": null}}), Some(json!({"a": {}}))),
        ];
        for (old, new, patch) in cases {
            assert_eq!(diff(&old, &new), patch, "{old} -> {new}");
        }
    }

    fn json_value(leaf: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    fn leaf() -> BoxedStrategy<Value> {
        prop_oneof![any::<bool>().prop_map(Value::from), (0..5).prop_map(Value::from)].boxed()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_patch_makes_the_old_value_the_new_one(
            old in json_value(leaf()),
            new in json_value(leaf()),
        ) {
            let mut patched = old.clone();
            match diff(&old, &new) {
                Some(patch) => json_patch::merge(&mut patched, &patch),
                None => prop_assert_eq!(&old, &new),
            }
            prop_assert_eq!(patched, new);
        }
    }
}
