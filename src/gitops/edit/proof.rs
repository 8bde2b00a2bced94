//! The before-and-after proof of an edit: both texts are read as values, and exactly the expected ones differ.

use serde_json::Value;

use super::{Edit, Refusal, values};

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
