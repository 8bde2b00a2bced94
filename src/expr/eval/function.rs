//! Functions called by name: the given ones, and the built-in ones without a predicate.

use super::{
    super::{
        builtin::{Builtin, Given},
        error::Error,
        lower::CodeId,
        moment, number,
        value::{Value, Width},
    },
    Evaluated, Machine, Scope, held, invalid_argument, list, text,
};

impl<'v> Machine<'v> {
    pub(super) fn given(
        &mut self,
        function: Given,
        arguments: &[CodeId],
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let mut last = Value::Nil;
        let mut first = None;
        for argument in arguments {
            last = self.eval(*argument, scope)?;
            self.read(&last)?;
            first.get_or_insert_with(|| last.clone());
        }
        let first = first.unwrap_or(Value::Nil);
        let nothing = self.result.is_nil();
        match function {
            Given::IsNan => real(&first).map(|value| Value::Bool(value.is_nan())),
            Given::IsInf => real(&first).map(|value| Value::Bool(value.is_infinite())),
            // The argument plays no part: the question is whether there is a result at all.
            Given::IsNil => Ok(Value::Bool(nothing)),
            Given::Default if nothing => Ok(last),
            Given::Default => Ok(Value::of_result(self.result)),
            Given::AsInt => as_int(&first),
            Given::AsFloat => as_float(&first),
        }
    }

    pub(super) fn function(
        &mut self,
        function: Builtin,
        arguments: &[CodeId],
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        if let [only] = arguments {
            let value = self.eval(*only, scope)?;
            self.read(&value)?;
            return match function {
                Builtin::Len => len(&value),
                Builtin::Abs | Builtin::Ceil | Builtin::Floor | Builtin::Round => rounded(function, &value),
                Builtin::Int => int(&value),
                Builtin::Float => float(&value),
                Builtin::Type => Ok(Value::text(type_of(&value))),
                other => self.apply(other, &[value]),
            };
        }
        let arguments = self.arguments(arguments, scope)?;
        arguments.iter().try_for_each(|argument| self.read(argument))?;
        self.apply(function, &arguments)
    }

    /// Charges a walk over an argument that is a text: every function takes at least one.
    fn read(&mut self, argument: &Value<'v>) -> Result<(), Error> {
        match argument {
            Value::Text(text) => self.budget.read_text(text.len()),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, function: Builtin, arguments: &[Value<'v>]) -> Evaluated<'v> {
        match function {
            Builtin::String => {
                let printed = self.printed(arguments.first().unwrap_or(&Value::Nil))?;
                Ok(Value::text(printed))
            }
            Builtin::ToJson => self.json_text_of(arguments.first().unwrap_or(&Value::Nil)),
            Builtin::FromJson => {
                let value = text::text(arguments.first().unwrap_or(&Value::Nil))?.clone();
                self.of_json_text(&value)
            }
            Builtin::Now => match self.now {
                Some(now) => Ok(moment::at(now)),
                None => Err(Error::evaluation("now() is not known here")),
            },
            Builtin::Duration => {
                let value = text::text(arguments.first().unwrap_or(&Value::Nil))?;
                self.budget.spend(value.len() as u64)?;
                moment::duration(value).map(Value::Duration)
            }
            Builtin::Date => moment::date(arguments),
            Builtin::Timezone => {
                let value = text::text(arguments.first().unwrap_or(&Value::Nil))?;
                moment::timezone(value)
            }
            Builtin::BitAnd
            | Builtin::BitOr
            | Builtin::BitXor
            | Builtin::BitNand
            | Builtin::BitNot
            | Builtin::BitShl
            | Builtin::BitShr
            | Builtin::BitUshr => bits(function, arguments),
            Builtin::Trim
            | Builtin::TrimPrefix
            | Builtin::TrimSuffix
            | Builtin::Upper
            | Builtin::Lower
            | Builtin::Split
            | Builtin::SplitAfter
            | Builtin::Replace
            | Builtin::Repeat
            | Builtin::Join
            | Builtin::IndexOf
            | Builtin::LastIndexOf
            | Builtin::HasPrefix
            | Builtin::HasSuffix
            | Builtin::ToBase64
            | Builtin::FromBase64 => self.text_function(function, arguments),
            other => self.list_function(other, arguments),
        }
    }
}

fn real(value: &Value<'_>) -> Result<f64, Error> {
    match value {
        Value::Float(value) => Ok(*value),
        other => Err(held(other, "float64").hint("write the number with a point, as in `0.0`")),
    }
}

fn as_int<'v>(value: &Value<'v>) -> Evaluated<'v> {
    match value {
        Value::Int(value, Width::Int | Width::Int64 | Width::Byte) => Ok(Value::Int(*value, Width::Int64)),
        Value::Float(value) => Ok(Value::Int(number::truncated(*value), Width::Int64)),
        Value::Text(text) => number::decimal(text)
            .map(|value| Value::Int(value, Width::Int64))
            .map_err(|why| Error::evaluation(why.message("ParseInt", text))),
        other => Err(unsupported("asInt", other)),
    }
}

fn as_float<'v>(value: &Value<'v>) -> Evaluated<'v> {
    match value {
        Value::Text(text) => number::float(text)
            .map(Value::Float)
            .map_err(|why| Error::evaluation(why.message("ParseFloat", text))),
        other => match list::float(other) {
            Ok(value) => Ok(Value::Float(value)),
            Err(_) => Err(unsupported("asFloat", other)),
        },
    }
}

fn unsupported(function: &str, value: &Value<'_>) -> Error {
    let message = format!("{function}() not supported on {} {}", value.type_name(), text::shown(value));
    Error::evaluation(message)
}

fn len<'v>(value: &Value<'v>) -> Evaluated<'v> {
    match value {
        Value::List(list) => Ok(Value::int(number::length(list.len()))),
        Value::Map(map) => Ok(Value::int(number::length(map.len()))),
        Value::Text(text) => Ok(Value::int(number::length(text.chars().count()))),
        Value::Environment => Ok(Value::int(number::length(Given::ALL.len() + 1))),
        other => Err(invalid_argument(Builtin::Len, other)),
    }
}

fn rounded<'v>(function: Builtin, value: &Value<'v>) -> Evaluated<'v> {
    match (function, value) {
        (Builtin::Abs, Value::Int(value, width @ (Width::Int | Width::Int64 | Width::Byte))) => {
            Ok(Value::Int(value.wrapping_abs(), *width))
        }
        // A negative zero keeps its sign, which nothing but a division shows.
        (Builtin::Abs, Value::Float(value)) => Ok(Value::Float(if *value < 0.0 { -value } else { *value })),
        (Builtin::Ceil, Value::Float(value)) => Ok(Value::Float(value.ceil())),
        (Builtin::Floor, Value::Float(value)) => Ok(Value::Float(value.floor())),
        (Builtin::Round, Value::Float(value)) => Ok(Value::Float(value.round())),
        (
            Builtin::Ceil | Builtin::Floor | Builtin::Round,
            Value::Int(value, Width::Int | Width::Int64 | Width::Byte),
        ) => Ok(Value::Float(number::widened(*value))),
        (_, other) => Err(invalid_argument(function, other)),
    }
}

fn int<'v>(value: &Value<'v>) -> Evaluated<'v> {
    match value {
        Value::Int(value, _) | Value::Duration(value) => Ok(Value::int(*value)),
        Value::Float(value) => Ok(Value::int(number::truncated(*value))),
        Value::Text(text) => number::decimal(text)
            .map(Value::int)
            .map_err(|_| Error::evaluation(format!("invalid operation: int({})", &**text))),
        other => Err(Error::evaluation(format!("invalid operation: int({})", other.type_name()))),
    }
}

fn float<'v>(value: &Value<'v>) -> Evaluated<'v> {
    match value {
        Value::Text(text) => number::float(text)
            .map(Value::Float)
            .map_err(|_| Error::evaluation(format!("invalid operation: float({})", &**text))),
        other => match list::float(other) {
            Ok(value) => Ok(Value::Float(value)),
            Err(_) => Err(Error::evaluation(format!("invalid operation: float({})", other.type_name()))),
        },
    }
}

fn type_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_, Width::Int | Width::Int64) => "int",
        Value::Int(_, Width::Byte) => "uint",
        Value::Int(_, Width::Month) => "time.Month",
        Value::Int(_, Width::Weekday) => "time.Weekday",
        Value::Float(_) => "float",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) | Value::Environment => "map",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Location => "unknown",
        Value::Given(_) => "func",
    }
}

fn bits<'v>(function: Builtin, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let int = |index: usize| match arguments.get(index) {
        Some(Value::Int(value, Width::Int | Width::Int64 | Width::Byte)) => Ok(*value),
        other => {
            let name = other.map_or("<nil>", Value::type_name);
            Err(Error::evaluation(format!(
                "cannot use {name} as argument (type int) to call {}",
                function.name()
            )))
        }
    };
    let x = int(0)?;
    if function == Builtin::BitNot {
        return Ok(Value::int(!x));
    }
    let y = int(1)?;
    let shift = || match u32::try_from(y) {
        _ if y < 0 => {
            Err(Error::evaluation(format!("invalid operation: negative shift count {y} (type int)")))
        }
        Ok(y) if y < 64 => Ok(Some(y)),
        Ok(_) | Err(_) => Ok(None),
    };
    Ok(Value::int(match function {
        Builtin::BitAnd => x & y,
        Builtin::BitOr => x | y,
        Builtin::BitXor => x ^ y,
        Builtin::BitNand => x & !y,
        Builtin::BitShl => shift()?.map_or(0, |y| x << y),
        Builtin::BitShr => shift()?.map_or(if x < 0 { -1 } else { 0 }, |y| x >> y),
        Builtin::BitUshr => shift()?.map_or(0, |y| (x.cast_unsigned() >> y).cast_signed()),
        other => return Err(Error::evaluation(format!("{} has no bits", other.name()))),
    }))
}
