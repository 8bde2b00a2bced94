//! The before-and-after proof of an edit: both texts are read as values, exactly the expected ones differ, and what
//! comes out is the good version and no third one.

use serde_json::Value;

use super::{Change, Edit, Refusal, Target, values};
use crate::api::hash::template_hash;

/// Checks that the values of `after` are those of `before` except for `edits`, all within one document.
///
/// # Errors
/// `Unreadable` where either text cannot be read, `ChangesMore` where anything else differs.
pub(super) fn only_these_changed(before: &str, after: &str, edits: &[Edit]) -> Result<(), Refusal> {
    let (before, after) = (values(before)?, values(after)?);
    if before.len() != after.len() {
        return Err(Refusal::ChangesMore("the number of documents".into()));
    }
    let mut changed = vec![];
    for (document, (old, new)) in before.iter().zip(&after).enumerate() {
        let mut here = vec![];
        differences(String::new(), old, new, &mut here);
        if !here.is_empty() {
            changed.push((document, here));
        }
    }
    let [(_, here)] = changed.as_mut_slice() else {
        return Err(Refusal::ChangesMore(format!("{} documents", changed.len())));
    };
    let mut expected = edits.to_vec();
    expected.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    here.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    if *here == expected {
        return Ok(());
    }
    let unexpected = here.iter().find(|edit| !expected.contains(edit));
    Err(Refusal::ChangesMore(unexpected.map_or_else(|| "less than asked".into(), |e| e.pointer.clone())))
}

/// Checks, where the file lets it be known, that the edited manifest is the good version: its pod template must have
/// the good hash. It can be known where the manifest as it stands has the bad hash, that is, where nothing else
/// (a kustomization, a webhook) changes it on its way to the cluster.
///
/// # Errors
/// `ThirdVersion` where the hash is another: the failed commit changed more than images.
pub(super) fn no_third_version(before: &str, after: &str, change: &Change<'_>) -> Result<(), Refusal> {
    let Target::Manifest { namespace, name } = change.target else { return Ok(()) };
    let hash = |text| -> Option<String> {
        let documents = values(text).ok()?;
        let rollout = documents.iter().find(|document| is_rollout(document, namespace, name))?;
        template_hash(rollout.pointer("/spec/template")?, None).ok()
    };
    if hash(before).as_ref() != Some(&change.bad.hash) {
        return Ok(());
    }
    match hash(after) {
        Some(hash) if hash != change.good.hash => Err(Refusal::ThirdVersion(hash)),
        Some(_) | None => Ok(()),
    }
}

fn is_rollout(document: &Value, namespace: &str, name: &str) -> bool {
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    text("/kind") == Some("Rollout")
        && text("/metadata/name") == Some(name)
        && text("/metadata/namespace").is_none_or(|n| n == namespace)
}

/// Every place where two values differ, down to the leaves.
fn differences(at: String, old: &Value, new: &Value, found: &mut Vec<Edit>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() && a.keys().all(|k| b.contains_key(k)) => {
            for (key, inner) in a {
                let below = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                differences(below, inner, b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (x, y)) in a.iter().zip(b).enumerate() {
                differences(format!("{at}/{index}"), x, y, found);
            }
        }
        // A value that is read as a number or a truth value is written as one here, so that it cannot be taken for
        // the text that was asked for; except where the old text was one, as `newTag: 1.20` is.
        (Value::String(a), Value::String(b)) if a != b => {
            found.push(Edit { pointer: at, before: a.clone(), after: b.clone() });
        }
        (a, Value::String(b)) if !matches!(a, Value::String(_)) => {
            found.push(Edit { pointer: at, before: a.to_string(), after: b.clone() });
        }
        (a, b) if a != b => found.push(Edit { pointer: at, before: a.to_string(), after: format!("!{b}") }),
        _ => {}
    }
}
