//! Equality, order and membership.

use std::cmp::Ordering;

use super::{
    budget::Budget,
    error::{self, Error},
    limits,
    value::{List, Made, Map, Number, Value, Width},
};

/// `==`: numbers across kinds, lists element by element, nil with nil; everything else only with its like.
///
/// # Errors
/// Values nested too deeply.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>, budget: &mut Budget) -> Result<bool, Error> {
    equal_at(a, b, 0, budget)
}

fn equal_at(a: &Value<'_>, b: &Value<'_>, depth: usize, budget: &mut Budget) -> Result<bool, Error> {
    if depth > limits::VALUE_DEPTH {
        return Err(Error::limit("recursion depth exceeded"));
    }
    if let (Some(x), Some(y)) = (a.number(), b.number()) {
        return Ok(match (x, y) {
            (Number::Int(x), Number::Int(y)) => x == y,
            (x, y) => same_float(x.float(), y.float()),
        });
    }
    if let (Value::List(x), Value::List(y)) = (a, b)
        && (elementwise(x, y) || elementwise(y, x))
    {
        if x.len() != y.len() {
            return Ok(false);
        }
        for (p, q) in x.iter().zip(y.iter()) {
            budget.spend(1)?;
            if !equal_at(&p, &q, depth + 1, budget)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if a.is_nil() && b.is_nil() {
        return Ok(true);
    }
    deep_equal(a, b, depth, budget)
}

/// Bit patterns do not matter, NaN is never equal.
#[expect(clippy::float_cmp, reason = "equality of floats is what the language offers")]
pub(crate) fn same_float(x: f64, y: f64) -> bool {
    x == y
}

/// Equality of texts, charged for what it reads.
///
/// # Errors
/// When the steps are used up.
pub(crate) fn same_text(x: &str, y: &str, budget: &mut Budget) -> Result<bool, Error> {
    if x.len() != y.len() {
        return Ok(false);
    }
    budget.read_text(x.len())?;
    Ok(x == y)
}

/// True where the reference compares two lists element by element: one of them holds values of any type, or both
/// hold the same.
fn elementwise(x: &List<'_>, y: &List<'_>) -> bool {
    let simple =
        |list: &List<'_>| matches!(list.type_name(), "[]interface {}" | "[]float64" | "[]int" | "[]string");
    simple(x) && simple(y) && (x.type_name() == "[]interface {}" || x.type_name() == y.type_name())
}

/// Equality without promotion: the same types all the way down.
fn deep_equal(a: &Value<'_>, b: &Value<'_>, depth: usize, budget: &mut Budget) -> Result<bool, Error> {
    if depth > limits::VALUE_DEPTH {
        return Err(Error::limit("recursion depth exceeded"));
    }
    if a.type_name() != b.type_name() {
        return Ok(false);
    }
    Ok(match (a, b) {
        (Value::Nil, Value::Nil) | (Value::Location, Value::Location) => true,
        (Value::Bool(x), Value::Bool(y)) => x == y,
        (Value::Int(x, _), Value::Int(y, _)) | (Value::Duration(x), Value::Duration(y)) => x == y,
        (Value::Float(x), Value::Float(y)) => same_float(*x, *y),
        (Value::Text(x), Value::Text(y)) => same_text(x, y, budget)?,
        (Value::Time(x), Value::Time(y)) => x.nanos == y.nanos,
        (Value::List(x), Value::List(y)) => deep_lists(x, y, depth, budget)?,
        (Value::Map(x), Value::Map(y)) => deep_maps(x, y, depth, budget)?,
        _ => false,
    })
}

fn deep_lists(x: &List<'_>, y: &List<'_>, depth: usize, budget: &mut Budget) -> Result<bool, Error> {
    let unmade = |list: &List<'_>| matches!(list, List::Made { kind: Made::AnyNil | Made::TextsNil, .. });
    if x.len() != y.len() || unmade(x) != unmade(y) {
        return Ok(false);
    }
    for (p, q) in x.iter().zip(y.iter()) {
        budget.spend(1)?;
        if !deep_equal(&p, &q, depth + 1, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn deep_maps(x: &Map<'_>, y: &Map<'_>, depth: usize, budget: &mut Budget) -> Result<bool, Error> {
    if x.len() != y.len() {
        return Ok(false);
    }
    for (key, value) in x.entries(budget)? {
        let other = lookup(y, &key, budget)?;
        match other {
            Some(other) if deep_equal(&value, &other, depth + 1, budget)? => {}
            Some(_) | None => return Ok(false),
        }
    }
    Ok(true)
}

/// The order of two values, `None` where NaN makes every comparison false.
///
/// # Errors
/// Values that have no order: `invalid operation: <nil> < int`.
pub(crate) fn order(
    a: &Value<'_>,
    b: &Value<'_>,
    sign: &str,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Error> {
    if let (Some(x), Some(y)) = (a.number(), b.number()) {
        return Ok(match (x, y) {
            (Number::Int(x), Number::Int(y)) => Some(x.cmp(&y)),
            (x, y) => x.float().partial_cmp(&y.float()),
        });
    }
    match (a, b) {
        (Value::Text(x), Value::Text(y)) => {
            budget.read_text(x.len().min(y.len()))?;
            Ok(Some((**x).cmp(&**y)))
        }
        (Value::Time(x), Value::Time(y)) => Ok(Some(x.nanos.cmp(&y.nanos))),
        (Value::Duration(x), Value::Duration(y)) => Ok(Some(x.cmp(y))),
        _ => {
            let message = format!("invalid operation: {} {sign} {}", a.type_name(), b.type_name());
            let error = Error::evaluation(message);
            Err(if a.is_nil() || b.is_nil() { error.hint(error::NIL_SIDE) } else { error })
        }
    }
}

/// `needle in values`.
///
/// # Errors
/// Where the right side holds nothing, or cannot have a key of the needle's type.
pub(crate) fn contains(needle: &Value<'_>, values: &Value<'_>, budget: &mut Budget) -> Result<bool, Error> {
    match values {
        Value::Nil => Ok(false),
        Value::List(list) => {
            for item in list.iter() {
                budget.spend(1)?;
                if equal(&item, needle, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(lookup(map, needle, budget)?.is_some()),
        Value::Time(_) => match needle {
            Value::Text(_) => Ok(false),
            other => {
                Err(Error::evaluation(format!("cannot use {} as field name of time.Time", other.type_name())))
            }
        },
        other => Err(Error::evaluation(format!("operator \"in\" not defined on {}", other.type_name()))),
    }
}

/// True for two keys that a map of keys of any type holds as one.
///
/// # Errors
/// When the steps are used up.
pub(crate) fn same_key(known: &Value<'_>, key: &Value<'_>, budget: &mut Budget) -> Result<bool, Error> {
    deep_equal(known, key, 0, budget)
}

/// The value under a key; `None` when the map has no such key.
///
/// # Errors
/// A key that this map cannot have.
pub(crate) fn lookup<'v>(
    map: &Map<'v>,
    key: &Value<'_>,
    budget: &mut Budget,
) -> Result<Option<Value<'v>>, Error> {
    match map {
        Map::Object(_) | Map::Made { .. } => match key {
            Value::Text(name) => {
                budget.read_text(name.len())?;
                Ok(map.field(name))
            }
            Value::Nil => Ok(map.field("")),
            other => Err(key_type(other, "string")),
        },
        Map::Any { entries, .. } => {
            hashable(key)?;
            for (known, value) in entries.iter() {
                budget.spend(1)?;
                if deep_equal(known, key, 0, budget)? {
                    return Ok(Some(value.clone()));
                }
            }
            Ok(None)
        }
    }
}

/// A key of the wrong type, in the reference's words.
pub(crate) fn key_type(key: &Value<'_>, wanted: &str) -> Error {
    let message = format!(
        "reflect.Value.MapIndex: value of type {} is not assignable to type {wanted}",
        key.type_name()
    );
    Error::evaluation(message)
}

/// Fails for values that cannot be a key.
pub(crate) fn hashable(key: &Value<'_>) -> Result<(), Error> {
    match key {
        Value::List(List::Made { kind: Made::Pair, items, .. }) => items.iter().try_for_each(hashable),
        Value::List(_) | Value::Map(_) | Value::Given(_) | Value::Environment => {
            Err(Error::evaluation(format!("runtime error: hash of unhashable type {}", key.type_name())))
        }
        Value::Nil | Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::Time(_) => Ok(()),
        Value::Int(_, Width::Int | Width::Int64 | Width::Byte | Width::Month | Width::Weekday) => Ok(()),
        Value::Duration(_) | Value::Location => Ok(()),
    }
}
