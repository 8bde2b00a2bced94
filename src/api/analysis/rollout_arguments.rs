//! The arguments that a Rollout gives to its analyses: literal, a pod template hash, or a field of the Rollout.
//! No I/O.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{field, flatten::Hashes};

/// The values of `analysis.args` by name; of two with one name the last counts. One with neither a value nor a
/// source is the empty text, which also replaces a template's default, as in the reference.
///
/// # Errors
/// The first argument whose field does not exist, or is no single value.
pub(super) fn resolve(
    analysis: &Value,
    rollout: &Value,
    hashes: Hashes<'_>,
) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    for argument in field::list(analysis, "args")? {
        let name = field::text(argument, "name")?.unwrap_or_default().to_owned();
        values.insert(name, value(argument, rollout, hashes)?);
    }
    Ok(values)
}

fn value(argument: &Value, rollout: &Value, hashes: Hashes<'_>) -> Result<String, String> {
    let source = argument.get("valueFrom").unwrap_or(&Value::Null);
    if let Some(which) = field::text(source, "podTemplateHashValue")? {
        return match which {
            "Latest" => Ok(hashes.latest.to_owned()),
            "Stable" => Ok(hashes.stable.to_owned()),
            _ => Err(format!("valueFrom.podTemplateHashValue '{which}' is neither Latest nor Stable")),
        };
    }
    let reference = source.get("fieldRef").unwrap_or(&Value::Null);
    match field::text(reference, "fieldPath")? {
        Some(path) if path.starts_with("metadata") => metadata(path, rollout),
        Some(path) => walk(path, rollout),
        None => Ok(field::text(argument, "value")?.unwrap_or_default().to_owned()),
    }
}

/// What Kubernetes' downward API gives for a path under `metadata`. A missing label or annotation is empty.
fn metadata(path: &str, rollout: &Value) -> Result<String, String> {
    let metadata = rollout.get("metadata").unwrap_or(&Value::Null);
    let text = |key: &str| Ok(metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned());
    match path {
        "metadata.name" => return text("name"),
        "metadata.namespace" => return text("namespace"),
        "metadata.uid" => return text("uid"),
        "metadata.labels" => return Ok(lines(metadata.get("labels"))),
        "metadata.annotations" => return Ok(lines(metadata.get("annotations"))),
        _ => {}
    }
    for map in ["labels", "annotations"] {
        let key = path
            .strip_prefix("metadata.")
            .and_then(|rest| rest.strip_prefix(map))
            .and_then(|rest| rest.strip_prefix("['"))
            .and_then(|rest| rest.strip_suffix("']"));
        if let Some(key) = key {
            let value = metadata.get(map).and_then(|all| all.get(key)).and_then(Value::as_str);
            return Ok(value.unwrap_or_default().to_owned());
        }
    }
    Err(format!("unsupported fieldPath: {path}"))
}

/// A map as the downward API writes it: `key="value"`, one a line, sorted.
fn lines(map: Option<&Value>) -> String {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    let entries: BTreeMap<&str, &str> =
        entries.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect();
    let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// Any other path: through the Rollout's JSON to a single value.
fn walk(path: &str, rollout: &Value) -> Result<String, String> {
    let nowhere = || format!("invalid path {path} in rollout");
    let mut at = rollout;
    for segment in path.split(['.', '[', ']']).filter(|segment| !segment.is_empty()) {
        at = match at {
            Value::Object(map) => map.get(segment).ok_or_else(nowhere)?,
            Value::Array(list) => {
                let index: i64 = segment.parse().map_err(|_| format!("invalid index '{segment}'"))?;
                let item = usize::try_from(index).ok().and_then(|index| list.get(index));
                item.ok_or_else(|| format!("index {index} out of range"))?
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(nowhere()),
        };
    }
    match at {
        Value::Null => Err(nowhere()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.as_f64().map(go_float).unwrap_or_default()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => {
            Err(format!("path {path} in rollout must terminate in a primitive value"))
        }
    }
}

/// A number as Go prints it by default: shortest digits, with an exponent below -4 and from 6 on.
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}
