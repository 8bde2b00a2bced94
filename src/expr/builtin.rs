//! The names of the built-in functions.

macro_rules! builtins {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A built-in function of the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Builtin { $($variant),+ }

        impl Builtin {
            /// Every function, in the order of the documentation.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name as written in conditions.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The function of that name.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

builtins! {
    All = "all", None = "none", Any = "any", One = "one", Filter = "filter", Map = "map", Find = "find",
    FindIndex = "findIndex", FindLast = "findLast", FindLastIndex = "findLastIndex", Count = "count",
    Sum = "sum", GroupBy = "groupBy", SortBy = "sortBy", Reduce = "reduce",
    Len = "len", Type = "type", Abs = "abs", Ceil = "ceil", Floor = "floor", Round = "round", Int = "int",
    Float = "float", String = "string", Trim = "trim", TrimPrefix = "trimPrefix", TrimSuffix = "trimSuffix",
    Upper = "upper", Lower = "lower", Split = "split", SplitAfter = "splitAfter", Replace = "replace",
    Repeat = "repeat", Join = "join", IndexOf = "indexOf", LastIndexOf = "lastIndexOf",
    HasPrefix = "hasPrefix", HasSuffix = "hasSuffix", Max = "max", Min = "min", Mean = "mean",
    Median = "median", ToJson = "toJSON", FromJson = "fromJSON", ToBase64 = "toBase64",
    FromBase64 = "fromBase64", Now = "now", Duration = "duration", Date = "date", Timezone = "timezone",
    First = "first", Last = "last", Get = "get", Take = "take", Keys = "keys", Values = "values",
    ToPairs = "toPairs", FromPairs = "fromPairs", Reverse = "reverse", Uniq = "uniq", Concat = "concat",
    Flatten = "flatten", Sort = "sort", BitAnd = "bitand", BitOr = "bitor", BitXor = "bitxor",
    BitNand = "bitnand", BitShl = "bitshl", BitShr = "bitshr", BitUshr = "bitushr", BitNot = "bitnot",
}

/// An argument of a function that takes a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Value,
    Predicate,
    OptionalValue,
    OptionalPredicate,
}

impl Argument {
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::OptionalValue | Self::OptionalPredicate)
    }
}

impl Builtin {
    /// The arguments of a function whose arguments include a predicate; `None` for all others.
    pub(crate) fn predicate_arguments(self) -> Option<&'static [Argument]> {
        use Argument::{OptionalPredicate, OptionalValue, Predicate, Value};
        match self {
            Self::All | Self::None | Self::Any | Self::One | Self::Filter | Self::Map => {
                Some(&[Value, Predicate])
            }
            Self::Find | Self::FindIndex | Self::FindLast | Self::FindLastIndex | Self::GroupBy => {
                Some(&[Value, Predicate])
            }
            Self::Count | Self::Sum => Some(&[Value, OptionalPredicate]),
            Self::SortBy | Self::Reduce => Some(&[Value, Predicate, OptionalValue]),
            _ => None,
        }
    }
}

/// A function that conditions have beside the built-in ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    IsNan,
    IsInf,
    IsNil,
    AsInt,
    AsFloat,
    Default,
}

impl Given {
    pub(crate) const ALL: &[Self] =
        &[Self::IsNan, Self::IsInf, Self::IsNil, Self::AsInt, Self::AsFloat, Self::Default];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::IsNan => "isNaN",
            Self::IsInf => "isInf",
            Self::IsNil => "isNil",
            Self::AsInt => "asInt",
            Self::AsFloat => "asFloat",
            Self::Default => "default",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|given| given.name() == name)
    }
}
