//! Values while a condition is evaluated. They borrow from the result and from the program wherever they can.

use std::{collections::BTreeMap, rc::Rc};

use serde_json::{Map as Object, Value as Json};

use super::{budget::Budget, builtin::Given, error::Error, moment::Moment, number};
use crate::domain::value::MetricValue;

/// Which of the reference's integer types a number has. Arithmetic ends in `Int`; messages tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Int,
    /// From `asInt` and from times.
    Int64,
    /// A byte of a text.
    Byte,
    Month,
    Weekday,
}

#[derive(Clone, Debug)]
pub(crate) enum Text<'v> {
    Borrowed(&'v str),
    Owned(Rc<str>),
}

impl Text<'_> {
    pub(crate) fn shared(&self) -> Rc<str> {
        match self {
            Self::Borrowed(text) => Rc::from(*text),
            Self::Owned(text) => text.clone(),
        }
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// An element of a list literal without anything to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Const {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
}

/// What the reference would hold a list made by the language in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Any,
    /// A list that was never made: equal to nil, and empty.
    AnyNil,
    Texts,
    TextsNil,
    Pairs,
    Pair,
}

#[derive(Clone, Debug)]
pub(crate) enum List<'v> {
    Floats(&'v [f64]),
    Json(&'v [Json]),
    Rows(&'v [Object<String, Json>]),
    Consts(&'v [Const]),
    /// Consecutive integers.
    Range {
        first: i64,
        len: usize,
    },
    Made {
        kind: Made,
        items: Rc<[Value<'v>]>,
        from: usize,
        to: usize,
        depth: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Map<'v> {
    Object(&'v Object<String, Json>),
    Made {
        fields: Rc<BTreeMap<Rc<str>, Value<'v>>>,
        depth: usize,
    },
    /// Keys of any type, in the order of making; `groups` when it comes from `groupBy`.
    Any {
        entries: Rc<Vec<(Value<'v>, Value<'v>)>>,
        groups: bool,
        depth: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Value<'v> {
    Nil,
    Bool(bool),
    Int(i64, Width),
    Float(f64),
    Text(Text<'v>),
    List(List<'v>),
    Map(Map<'v>),
    Time(Rc<Moment>),
    /// Nanoseconds.
    Duration(i64),
    Location,
    Given(Given),
    Environment,
}

impl<'v> Value<'v> {
    pub(crate) fn int(value: i64) -> Self {
        Self::Int(value, Width::Int)
    }

    pub(crate) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Owned(text.into()))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::made(Made::Any, items)
    }

    pub(crate) fn made(kind: Made, items: Vec<Self>) -> Self {
        let (to, depth) = (items.len(), above(items.iter()));
        Self::List(List::Made { kind, items: items.into(), from: 0, to, depth })
    }

    pub(crate) fn of_json(json: &'v Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => Self::Float(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(object) => Self::Map(Map::Object(object)),
        }
    }

    pub(crate) fn of_result(result: &'v MetricValue) -> Self {
        match result {
            MetricValue::Float(value) => Self::Float(*value),
            MetricValue::Int(value) => Self::int(*value),
            MetricValue::Floats(list) => Self::List(List::Floats(list)),
            MetricValue::MapList(rows) => Self::List(List::Rows(rows)),
            MetricValue::Json(json) => Self::of_json(json),
            MetricValue::Str(text) => Self::Text(Text::Borrowed(text)),
            MetricValue::Nil => Self::Nil,
        }
    }

    /// The name that people see in messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_, Width::Int) => "int",
            Self::Int(_, Width::Int64) => "int64",
            Self::Int(_, Width::Byte) => "uint8",
            Self::Int(_, Width::Month) => "time.Month",
            Self::Int(_, Width::Weekday) => "time.Weekday",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(list) => list.type_name(),
            Self::Map(Map::Object(_) | Map::Made { .. }) | Self::Environment => "map[string]interface {}",
            Self::Map(Map::Any { groups: true, .. }) => "map[interface {}][]interface {}",
            Self::Map(Map::Any { groups: false, .. }) => "map[interface {}]interface {}",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Location => "*time.Location",
            Self::Given(_) => "func",
        }
    }

    /// The type as `interface conversion` messages show it: nil without brackets.
    pub(crate) fn held_type(&self) -> &'static str {
        if matches!(self, Self::Nil) { "nil" } else { self.type_name() }
    }

    /// The kind that messages of functions over lists show.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::List(List::Made { kind: Made::Pair, .. }) => "array",
            Self::List(_) => "slice",
            Self::Map(_) | Self::Environment => "map",
            Self::Time(_) => "struct",
            Self::Duration(_) => "int64",
            Self::Int(_, Width::Month | Width::Weekday) => "int",
            Self::Location => "ptr",
            other => other.type_name(),
        }
    }

    /// How deep the lists and maps are nested that the condition made; those of a result do not count.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::List(List::Made { depth, .. }) => *depth,
            Self::Map(Map::Made { depth, .. } | Map::Any { depth, .. }) => *depth,
            _ => 0,
        }
    }

    /// True for nil and for lists that were never made.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Nil | Self::List(List::Made { kind: Made::AnyNil | Made::TextsNil, .. }))
    }

    /// The value as a number to compare and compute with; `None` for everything else, months and durations too.
    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Self::Int(value, Width::Int | Width::Int64 | Width::Byte) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }
}

/// A number of either kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Int(value) => number::widened(value),
            Self::Float(value) => value,
        }
    }
}

impl Const {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text(Text::Borrowed(text)),
        }
    }
}

/// The depth of a value that holds these.
fn above<'a, 'v: 'a>(values: impl Iterator<Item = &'a Value<'v>>) -> usize {
    1 + values.map(Value::depth).max().unwrap_or(0)
}

impl<'v> List<'v> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Floats(items) => items.len(),
            Self::Json(items) => items.len(),
            Self::Rows(items) => items.len(),
            Self::Consts(items) => items.len(),
            Self::Range { len, .. } => *len,
            Self::Made { from, to, .. } => to - from,
        }
    }

    /// The element at an index below the length.
    pub(crate) fn get(&self, index: usize) -> Option<Value<'v>> {
        match self {
            Self::Floats(items) => items.get(index).map(|item| Value::Float(*item)),
            Self::Json(items) => items.get(index).map(Value::of_json),
            Self::Rows(items) => items.get(index).map(|row| Value::Map(Map::Object(row))),
            Self::Consts(items) => items.get(index).map(Const::value),
            Self::Range { first, len } => {
                (index < *len).then(|| Value::int(first.wrapping_add(number::length(index))))
            }
            Self::Made { items, from, to, .. } => items.get(*from..*to)?.get(index).cloned(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'v>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The elements from `from` up to `to`, both within the length.
    pub(crate) fn part(&self, from: usize, to: usize) -> Self {
        let to = to.min(self.len());
        let from = from.min(to);
        match self {
            Self::Floats(items) => Self::Floats(items.get(from..to).unwrap_or_default()),
            Self::Json(items) => Self::Json(items.get(from..to).unwrap_or_default()),
            Self::Rows(items) => Self::Rows(items.get(from..to).unwrap_or_default()),
            Self::Consts(items) => Self::Consts(items.get(from..to).unwrap_or_default()),
            Self::Range { first, .. } => {
                Self::Range { first: first.wrapping_add(number::length(from)), len: to - from }
            }
            Self::Made { kind, items, from: start, depth, .. } => {
                let kind = if *kind == Made::Pair { Made::Any } else { *kind };
                Self::Made { kind, items: items.clone(), from: start + from, to: start + to, depth: *depth }
            }
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Floats(_) => "[]float64",
            Self::Json(_) | Self::Consts(_) => "[]interface {}",
            Self::Rows(_) => "[]map[string]interface {}",
            Self::Range { .. } => "[]int",
            Self::Made { kind, .. } => match kind {
                Made::Any | Made::AnyNil => "[]interface {}",
                Made::Texts | Made::TextsNil => "[]string",
                Made::Pairs => "[][2]interface {}",
                Made::Pair => "[2]interface {}",
            },
        }
    }
}

impl<'v> Map<'v> {
    pub(crate) fn made(fields: BTreeMap<Rc<str>, Value<'v>>) -> Self {
        let depth = above(fields.values());
        Self::Made { fields: Rc::new(fields), depth }
    }

    pub(crate) fn any(entries: Vec<(Value<'v>, Value<'v>)>, groups: bool) -> Self {
        let depth = above(entries.iter().flat_map(|(key, value)| [key, value]));
        Self::Any { entries: Rc::new(entries), groups, depth }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Object(object) => object.len(),
            Self::Made { fields, .. } => fields.len(),
            Self::Any { entries, .. } => entries.len(),
        }
    }

    /// The value under a text key.
    pub(crate) fn field(&self, name: &str) -> Option<Value<'v>> {
        match self {
            Self::Object(object) => object.get(name).map(Value::of_json),
            Self::Made { fields, .. } => fields.get(name).cloned(),
            Self::Any { entries, .. } => entries.iter().find_map(|(key, value)| match key {
                Value::Text(text) if &**text == name => Some(value.clone()),
                _ => None,
            }),
        }
    }

    /// Keys and values, texts in order; keys of any type in the order of making.
    ///
    /// # Errors
    /// When the steps are used up.
    pub(crate) fn entries(&self, budget: &mut Budget) -> Result<Vec<(Value<'v>, Value<'v>)>, Error> {
        budget.spend(self.len() as u64)?;
        Ok(match self {
            Self::Object(object) => {
                let mut all: Vec<_> = object.iter().collect();
                all.sort_by(|a, b| a.0.cmp(b.0));
                all.into_iter()
                    .map(|(key, value)| (Value::Text(Text::Borrowed(key)), Value::of_json(value)))
                    .collect()
            }
            Self::Made { fields, .. } => {
                fields.iter().map(|(key, value)| (Value::text(key.clone()), value.clone())).collect()
            }
            Self::Any { entries, .. } => entries.as_ref().clone(),
        })
    }
}
