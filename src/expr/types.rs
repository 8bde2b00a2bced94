//! Static types: what the reference knows of a value before it is there.

use std::sync::Arc;

use super::{
    builtin::{Builtin, Given},
    moment::Method,
};

/// What holds the elements of a list, and so what its type is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Any,
    Floats,
    Ints,
    Texts,
    Maps,
}

/// What kind of map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// `map[string]interface {}`: objects and map literals.
    Text,
    /// `map[interface {}]interface {}`: from `fromPairs`.
    Any,
    /// `map[interface {}][]interface {}`: from `groupBy`.
    Groups,
}

/// The static type of an expression.
///
/// `Unknown` and `Any` both mean that only the evaluation will tell; the reference treats them differently where
/// two branches meet, and so must we.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Unknown,
    Any,
    Nil,
    Bool,
    Int,
    Int64,
    Float,
    Text,
    /// A list, with what is known of its elements beyond the carrier.
    List(Carrier, Option<Arc<Type>>),
    Map(Keyed),
    Time,
    Duration,
    Month,
    Weekday,
    Location,
    Given(Given),
    Function(Builtin),
    /// A method of a time, duration or the like, not yet called.
    Method(Method),
}

impl Type {
    pub(crate) const LIST: Self = Self::List(Carrier::Any, None);

    /// A list made by the language, of elements of this type.
    pub(crate) fn list_of(element: Self) -> Self {
        Self::List(Carrier::Any, Some(Arc::new(element)))
    }

    /// The type without what is known of elements beyond the carrier.
    pub(crate) fn plain(self) -> Self {
        match self {
            Self::List(carrier, _) => Self::List(carrier, None),
            Self::Unknown => Self::Any,
            other => other,
        }
    }

    /// The name that people see in messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Nil => "unknown",
            Self::Any => "interface {}",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Float => "float64",
            Self::Text => "string",
            Self::List(Carrier::Any, _) => "[]interface {}",
            Self::List(Carrier::Floats, _) => "[]float64",
            Self::List(Carrier::Ints, _) => "[]int",
            Self::List(Carrier::Texts, _) => "[]string",
            Self::List(Carrier::Maps, _) => "[]map[string]interface {}",
            Self::Map(Keyed::Text) => "map[string]interface {}",
            Self::Map(Keyed::Any) => "map[interface {}]interface {}",
            Self::Map(Keyed::Groups) => "map[interface {}][]interface {}",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::Month => "time.Month",
            Self::Weekday => "time.Weekday",
            Self::Location => "*time.Location",
            Self::Given(given) => match given {
                Given::IsNan | Given::IsInf => "func(float64) bool",
                Given::IsNil => "func(interface {}) bool",
                Given::AsInt => "func(interface {}) int64",
                Given::AsFloat => "func(interface {}) float64",
                Given::Default => "func(interface {}, interface {}) interface {}",
            },
            Self::Function(_) => "func(...interface {}) (interface {}, error)",
            Self::Method(_) => "func",
        }
    }

    /// The type as a reader of English would say it, for hints.
    pub(crate) fn spoken(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Any => "a value",
            Self::Nil => "nil",
            Self::Bool => "a bool",
            Self::Int | Self::Int64 | Self::Float => "a number",
            Self::Text => "a text",
            Self::List(Carrier::Floats | Carrier::Ints, _) => "a list of numbers",
            Self::List(Carrier::Texts, _) => "a list of texts",
            Self::List(Carrier::Maps, _) => "a list of rows",
            Self::List(Carrier::Any, _) => "a list",
            Self::Map(_) => "an object",
            Self::Time => "a time",
            Self::Duration => "a duration",
            Self::Month | Self::Weekday | Self::Location => "a part of a time",
            Self::Given(_) | Self::Function(_) | Self::Method(_) => "a function",
        }
    }

    /// True when only the evaluation will tell.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Any)
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Self::Int | Self::Int64)
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Int64 | Self::Float)
    }

    /// True for everything that is made of a number: durations and months too.
    pub(crate) fn is_numeric_kind(&self) -> bool {
        self.is_number() || matches!(self, Self::Duration | Self::Month | Self::Weekday)
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::List(..))
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self, Self::Map(_))
    }

    /// What the reference compares where it asks whether two elements of a list literal are of one kind.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Unknown | Self::Nil => 0,
            Self::Any => 1,
            Self::Bool => 2,
            Self::Int | Self::Month | Self::Weekday => 3,
            Self::Int64 | Self::Duration => 4,
            Self::Float => 5,
            Self::Text => 6,
            Self::List(..) => 7,
            Self::Map(_) => 8,
            Self::Time => 9,
            Self::Location => 10,
            Self::Given(_) | Self::Function(_) | Self::Method(_) => 11,
        }
    }

    /// The type of an element of a list or of a value of a map.
    pub(crate) fn element(&self) -> Self {
        match self {
            Self::List(_, Some(element)) => element.as_ref().clone(),
            Self::List(Carrier::Any, None) | Self::Map(Keyed::Text | Keyed::Any) => Self::Any,
            Self::List(Carrier::Floats, None) => Self::Float,
            Self::List(Carrier::Ints, None) => Self::Int,
            Self::List(Carrier::Texts, None) => Self::Text,
            Self::List(Carrier::Maps, None) => Self::Map(Keyed::Text),
            Self::Map(Keyed::Groups) => Self::LIST,
            Self::Unknown | Self::Nil | Self::Bool | Self::Int | Self::Int64 | Self::Float | Self::Text => {
                Self::Unknown
            }
            Self::Any | Self::Time | Self::Duration | Self::Month | Self::Weekday | Self::Location => {
                Self::Unknown
            }
            Self::Given(_) | Self::Function(_) | Self::Method(_) => Self::Unknown,
        }
    }

    /// The type of the keys of a map.
    pub(crate) fn key(&self) -> Self {
        match self {
            Self::Map(Keyed::Text) => Self::Text,
            Self::Map(Keyed::Any | Keyed::Groups) => Self::Any,
            _ => Self::Unknown,
        }
    }

    /// True when a value of this type may stand where `target` is wanted.
    pub(crate) fn assignable_to(&self, target: &Self) -> bool {
        if *self == Self::Nil {
            return matches!(target.kind(), 1 | 7 | 8 | 10 | 11);
        }
        if *self == Self::Unknown || matches!(target, Self::Unknown | Self::Nil) {
            return false;
        }
        *target == Self::Any || self.name() == target.name()
    }

    /// True when `==` between the two is worth an evaluation.
    pub(crate) fn comparable_to(&self, other: &Self) -> bool {
        self.is_unknown()
            || other.is_unknown()
            || *self == Self::Nil
            || *other == Self::Nil
            || (self.is_number() && other.is_number())
            || (self.is_list() && other.is_list())
            || self.assignable_to(other)
    }

    /// True when one side is only known at evaluation and the other, if known, is one of `wanted`.
    pub(crate) fn maybe(&self, other: &Self, wanted: impl Fn(&Self) -> bool) -> bool {
        match (self.is_unknown(), other.is_unknown()) {
            (true, true) => true,
            (true, false) => wanted(other),
            (false, true) => wanted(self),
            (false, false) => false,
        }
    }

    /// What `+`, `-` and `*` of two numbers give.
    pub(crate) fn promoted(&self, other: &Self) -> Self {
        if *self == Self::Float || *other == Self::Float { Self::Float } else { Self::Int }
    }
}
