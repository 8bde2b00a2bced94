//! JSON read through the table into a typed tree: the round trip that drops unknown fields.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Error,
    quantity::Quantity,
    table::{self, Field, Kind, Stored, Struct},
};

/// A value of the API with its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Typed {
    /// A pointer to nothing, or a list or map that is absent.
    Nil,
    Text(String),
    Bool(bool),
    Int(i64),
    Quantity(Quantity),
    /// `None` is the zero time.
    Time(Option<Timestamp>),
    /// `None` is absent.
    Raw(Option<Value>),
    Pointer(Box<Typed>),
    List(Vec<Typed>),
    /// Sorted by key.
    Map(Vec<(String, Typed)>),
    Struct(Object),
}

/// A struct with all its fields, in declaration order.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) of: &'static Struct,
    pub(super) values: Vec<Typed>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.of.name == other.of.name && self.values == other.values
    }
}

impl Object {
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static Field, &Typed)> {
        self.of.fields.iter().zip(&self.values)
    }

    pub(super) fn fields_mut(&mut self) -> impl Iterator<Item = (&'static Field, &mut Typed)> {
        self.of.fields.iter().zip(&mut self.values)
    }

    pub(super) fn field(&self, name: &str) -> Option<&Typed> {
        self.fields().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    pub(super) fn field_mut(&mut self, name: &str) -> Option<&mut Typed> {
        self.fields_mut().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }
}

impl Typed {
    /// The value of a field that is absent.
    pub(super) fn zero(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(String::new()),
            Kind::Bool => Self::Bool(false),
            Kind::Int32 | Kind::Int64 | Kind::IntOrString => Self::Int(0),
            Kind::Quantity => Self::Quantity(Quantity::zero()),
            Kind::Time => Self::Time(None),
            Kind::Raw => Self::Raw(None),
            Kind::Pointer(_) | Kind::List(_) | Kind::Map(_) => Self::Nil,
            Kind::Struct(of) => Self::Struct(Object {
                of,
                values: of.fields.iter().map(|field| Self::zero(table::kind(field.kind))).collect(),
            }),
        }
    }

    /// What Go's `omitempty` leaves out.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Nil | Self::Raw(None) => true,
            Self::Text(text) => text.is_empty(),
            Self::Bool(bit) => !bit,
            Self::Int(number) => *number == 0,
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Quantity(_) | Self::Time(_) | Self::Raw(Some(_)) | Self::Pointer(_) | Self::Struct(_) => {
                false
            }
        }
    }

    /// The struct that this is or points to.
    pub(super) fn object(&self) -> Option<&Object> {
        match self {
            Self::Pointer(target) => target.object(),
            Self::Struct(object) => Some(object),
            Self::Nil
            | Self::Text(_)
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Quantity(_)
            | Self::Time(_)
            | Self::Raw(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// The struct that this is or points to.
    pub(super) fn object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Pointer(target) => target.object_mut(),
            Self::Struct(object) => Some(object),
            Self::Nil
            | Self::Text(_)
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Quantity(_)
            | Self::Time(_)
            | Self::Raw(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }
}

/// Where a value lies, from the leaf back to the root; made without allocation, printed only in an error.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Place::Root, name) => write!(f, "{name}"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// What to do with a value of the wrong type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Refuse it.
    Strict,
    /// Read it as absent.
    Lenient,
}

impl Reader {
    /// Reads `value` as a `kind` of the table; `null` is absent.
    pub(super) fn read(self, value: &Value, kind: &'static str) -> Result<Typed, Error> {
        self.at(&Place::Root, value, table::kind(kind))
    }

    fn at(self, place: &Place<'_>, value: &Value, kind: Kind) -> Result<Typed, Error> {
        if value.is_null() {
            return Ok(Typed::zero(kind));
        }
        let read = match kind {
            Kind::Pointer(inner) => {
                let target = self.at(place, value, table::kind(inner))?;
                return Ok(Typed::Pointer(Box::new(target)));
            }
            Kind::Struct(of) => value.as_object().map(|object| self.object(place, object, of)),
            Kind::List(of) => value.as_array().map(|items| self.list(place, items, of)),
            Kind::Map(of) => value.as_object().map(|entries| self.map(place, entries, of)),
            Kind::Raw => Some(Ok(Typed::Raw(Some(value.clone())))),
            Kind::Text
            | Kind::Bool
            | Kind::Int32
            | Kind::Int64
            | Kind::Quantity
            | Kind::IntOrString
            | Kind::Time => scalar(value, kind).map(Ok),
        };
        match read {
            Some(typed) => typed,
            None if self == Self::Lenient => Ok(Typed::zero(kind)),
            None => Err(mismatch(place, value, kind)),
        }
    }

    fn object(
        self,
        place: &Place<'_>,
        object: &serde_json::Map<String, Value>,
        of: &'static Struct,
    ) -> Result<Typed, Error> {
        let value = |field: &'static Field| {
            let kind = table::kind(field.kind);
            match object.get(field.name) {
                None | Some(Value::Null) => Ok(stored(field, kind)),
                Some(value) => self.at(&Place::Field(place, field.name), value, kind),
            }
        };
        Ok(Typed::Struct(Object { of, values: of.fields.iter().map(value).collect::<Result<_, _>>()? }))
    }

    fn list(self, place: &Place<'_>, items: &[Value], of: &'static str) -> Result<Typed, Error> {
        let item =
            |(index, item): (usize, &Value)| self.at(&Place::Index(place, index), item, table::kind(of));
        Ok(Typed::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?))
    }

    fn map(
        self,
        place: &Place<'_>,
        entries: &serde_json::Map<String, Value>,
        of: &'static str,
    ) -> Result<Typed, Error> {
        let mut read = vec![];
        for (key, value) in entries {
            if of == table::LABEL && value.is_null() {
                continue;
            }
            read.push((key.clone(), self.at(&Place::Field(place, key), value, table::kind(of))?));
        }
        read.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Typed::Map(read))
    }
}

/// What an absent field reads as.
fn stored(field: &Field, kind: Kind) -> Typed {
    let target = match field.stored {
        Stored::Nothing => return Typed::zero(kind),
        Stored::Text(text) => Typed::Text(text.to_owned()),
        Stored::False => Typed::Bool(false),
    };
    if matches!(kind, Kind::Pointer(_)) { Typed::Pointer(Box::new(target)) } else { target }
}

fn scalar(value: &Value, kind: Kind) -> Option<Typed> {
    match kind {
        Kind::Text => value.as_str().map(|text| Typed::Text(text.to_owned())),
        Kind::Bool => value.as_bool().map(Typed::Bool),
        Kind::Int32 => integer(value).filter(|number| i32::try_from(*number).is_ok()).map(Typed::Int),
        Kind::Int64 => integer(value).map(Typed::Int),
        Kind::IntOrString => scalar(value, Kind::Text).or_else(|| scalar(value, Kind::Int32)),
        Kind::Quantity => Quantity::from_json(value).map(Typed::Quantity),
        Kind::Time => time(value.as_str()?).map(Typed::Time),
        Kind::Raw | Kind::Struct(_) | Kind::Pointer(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// An integer, also when it is spelt `3.0`: the API server stores both alike.
fn integer(value: &Value) -> Option<i64> {
    // Beyond 2^53 a float no longer says which integer was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "an integral float below 2^53 fits")]
    let from_float = |float: f64| (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64);
    value.as_i64().or_else(|| if value.is_u64() { None } else { value.as_f64().and_then(from_float) })
}

/// `Some(None)` is Go's zero time.
fn time(text: &str) -> Option<Option<Timestamp>> {
    const GO_ZERO_SECOND: i64 = -62_135_596_800;
    let at: Timestamp = text.parse().ok()?;
    Some((at.as_second() != GO_ZERO_SECOND).then_some(at))
}

fn mismatch(place: &Place<'_>, value: &Value, kind: Kind) -> Error {
    let expected = match kind {
        Kind::Text => "a string",
        Kind::Bool => "true or false",
        Kind::Int32 => "an integer of 32 bits",
        Kind::Int64 => "an integer of 64 bits",
        Kind::Quantity => "a quantity such as 500m or 1Gi",
        Kind::IntOrString => "an integer of 32 bits or a string",
        Kind::Time => "a time such as 2006-01-02T15:04:05Z",
        Kind::Struct(_) | Kind::Map(_) => "an object",
        Kind::List(_) => "a list",
        Kind::Raw | Kind::Pointer(_) => "a value",
    };
    let path = place.to_string();
    Error { path: if path.is_empty() { ".".into() } else { path }, expected, found: found(value) }
}

fn found(value: &Value) -> String {
    const SHOWN: usize = 40;
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let text = value.to_string();
            let cut: String = text.chars().take(SHOWN).collect();
            if cut.len() < text.len() { format!("{cut}...") } else { cut }
        }
    }
}
