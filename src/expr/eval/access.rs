//! Members, slices, optional chains and calls of members.

use super::{
    super::{
        compare,
        error::{self, Error},
        lower::{Code, CodeId},
        moment::{self, Method, Owner},
        number,
        value::{Made, Map, Text, Value, Width},
    },
    Evaluated, Machine, Scope,
};

/// What an access came to: a value, or a nil that ends the optional chain around it.
enum Reached<'v> {
    Value(Value<'v>),
    Nothing,
}

impl<'v> Machine<'v> {
    /// A chain with `?.` in it: nil as soon as one of its optional links hangs on nil.
    pub(super) fn optional(&mut self, inner: CodeId, scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        match self.reach(inner, scope)? {
            Reached::Value(value) if !value.is_nil() => Ok(value),
            Reached::Value(_) | Reached::Nothing => Ok(Value::Nil),
        }
    }

    fn reach(&mut self, id: CodeId, scope: Option<&Scope<'v>>) -> Result<Reached<'v>, Error> {
        self.budget.spend(1)?;
        let program = self.program;
        let reached = match program.code(id) {
            Code::Member { base, property, optional } => {
                self.reach_member(*base, *property, *optional, scope)
            }
            Code::CallMember { base, property, arguments } => {
                let arguments = self.arguments(arguments, scope)?;
                match self.reach(*base, scope)? {
                    Reached::Nothing => Ok(Reached::Nothing),
                    Reached::Value(value) => {
                        let name = self.eval(*property, scope)?;
                        self.call_of(&value, &name, &arguments).map(Reached::Value)
                    }
                }
            }
            _ => return self.eval(id, scope).map(Reached::Value),
        };
        reached.map_err(|error| error.at(program.span(id)))
    }

    fn reach_member(
        &mut self,
        base: CodeId,
        property: CodeId,
        optional: bool,
        scope: Option<&Scope<'v>>,
    ) -> Result<Reached<'v>, Error> {
        let Reached::Value(base) = self.reach(base, scope)? else {
            return Ok(Reached::Nothing);
        };
        if optional && base.is_nil() {
            return Ok(Reached::Nothing);
        }
        let property = self.eval(property, scope)?;
        self.fetch(&base, &property).map(Reached::Value)
    }

    pub(super) fn member(
        &mut self,
        base: CodeId,
        property: CodeId,
        _optional: bool,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let base = self.eval(base, scope)?;
        let property = self.eval(property, scope)?;
        self.fetch(&base, &property)
    }

    /// `base[property]` and `base.property`.
    pub(super) fn fetch(&mut self, base: &Value<'v>, property: &Value<'v>) -> Evaluated<'v> {
        match base {
            Value::List(list) => {
                let index = position(property, list.len())?;
                list.get(index).ok_or_else(|| out_of_range(number::length(index), list.len()))
            }
            Value::Text(text) => {
                let index = position(property, text.len())?;
                let byte = text.as_bytes().get(index).copied();
                byte.map(|byte| Value::Int(i64::from(byte), Width::Byte))
                    .ok_or_else(|| out_of_range(number::length(index), text.len()))
            }
            Value::Map(map) => {
                let missing = match map {
                    Map::Any { groups: true, .. } => Value::made(Made::AnyNil, vec![]),
                    Map::Any { .. } | Map::Object(_) | Map::Made { .. } => Value::Nil,
                };
                Ok(compare::lookup(map, property, &mut self.budget)?.unwrap_or(missing))
            }
            Value::Environment => match property {
                Value::Text(name) => Ok(self.environment(name)),
                other => Err(compare::key_type(other, "string")),
            },
            other => {
                let error =
                    Error::evaluation(format!("cannot fetch {} from {}", shown(property), other.type_name()));
                Err(if other.is_nil() {
                    error.hint("what stands in front is nil: a field that is not there, or no data; `?.` gives nil instead of an error")
                } else {
                    error
                })
            }
        }
    }

    fn environment(&self, name: &str) -> Value<'v> {
        match name {
            "result" => Value::of_result(self.result),
            other => super::super::builtin::Given::named(other).map_or(Value::Nil, Value::Given),
        }
    }

    pub(super) fn slice(
        &mut self,
        base: CodeId,
        from: Option<CodeId>,
        to: Option<CodeId>,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let base = self.eval(base, scope)?;
        let to = match to {
            Some(to) => self.eval(to, scope)?,
            None => Value::int(bytes_or_elements(&base)?),
        };
        let from = match from {
            Some(from) => self.eval(from, scope)?,
            None => Value::int(0),
        };
        match &base {
            Value::Text(text) => {
                let (from, to) = bounds(integer(&from)?, integer(&to)?, text.len());
                self.budget.grow_text(to.saturating_sub(from))?;
                part_of_text(text, from, to)
            }
            Value::List(list) => {
                let (from, to) = bounds(integer(&from)?, integer(&to)?, list.len());
                Ok(Value::List(list.part(from, to)))
            }
            _ => Err(Error::evaluation(format!("cannot slice {}", shown(&from)))),
        }
    }

    pub(super) fn method(
        &mut self,
        method: Method,
        base: CodeId,
        arguments: &[CodeId],
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let arguments = self.arguments(arguments, scope)?;
        let base = self.eval(base, scope)?;
        moment::call(method, &base, &arguments)
    }

    pub(super) fn call_member(
        &mut self,
        base: CodeId,
        property: CodeId,
        arguments: &[CodeId],
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let arguments = self.arguments(arguments, scope)?;
        let base = self.eval(base, scope)?;
        let property = self.eval(property, scope)?;
        self.call_of(&base, &property, &arguments)
    }

    /// Calls what a member turns out to be: a method of a time or duration, or nothing that can be called.
    fn call_of(&mut self, base: &Value<'v>, name: &Value<'v>, arguments: &[Value<'v>]) -> Evaluated<'v> {
        if let (Value::Text(name), Some(owner)) = (name, Owner::of(base))
            && let Some(method) = Method::named(owner, name)
        {
            return moment::call(method, base, arguments);
        }
        Err(not_callable(&self.fetch(base, name)?))
    }

    pub(super) fn call_value(
        &mut self,
        callee: CodeId,
        arguments: &[CodeId],
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        self.arguments(arguments, scope)?;
        let callee = self.eval(callee, scope)?;
        Err(not_callable(&callee))
    }
}

fn not_callable(value: &Value<'_>) -> Error {
    match value {
        Value::Nil => Error::evaluation("invalid operation: cannot call nil"),
        Value::Given(given) => {
            Error::evaluation(format!("calling {} through a value is not supported", given.name()))
                .hint("call it by its name")
        }
        other => Error::evaluation(format!(
            "invalid operation: cannot call non-function of type {}",
            other.type_name()
        )),
    }
}

/// A number that may stand as an index.
pub(super) fn integer(value: &Value<'_>) -> Result<i64, Error> {
    match value {
        Value::Int(value, Width::Int | Width::Int64 | Width::Byte) => Ok(*value),
        Value::Float(value) => Ok(number::truncated(*value)),
        other => Err(Error::evaluation(format!("invalid operation: int({})", other.type_name()))),
    }
}

/// An index within a length; negative ones count from the end.
fn position(property: &Value<'_>, length: usize) -> Result<usize, Error> {
    let index = integer(property)?;
    let adjusted = if index < 0 { index.wrapping_add(number::length(length)) } else { index };
    usize::try_from(adjusted)
        .ok()
        .filter(|index| *index < length)
        .ok_or_else(|| out_of_range(adjusted, length))
}

fn out_of_range(index: i64, length: usize) -> Error {
    let error = Error::evaluation(format!("index out of range: {index} (array length is {length})"));
    if length == 0 {
        return error.hint(error::EMPTY);
    }
    error.hint(format!("the last element is [{}], or [-1]", length - 1))
}

fn bytes_or_elements(value: &Value<'_>) -> Result<i64, Error> {
    match value {
        Value::List(list) => Ok(number::length(list.len())),
        Value::Map(map) => Ok(number::length(map.len())),
        Value::Text(text) => Ok(number::length(text.len())),
        other => Err(Error::evaluation(format!("invalid argument for len (type {})", other.type_name()))),
    }
}

/// The bounds of a slice, cut to the length.
fn bounds(from: i64, to: i64, length: usize) -> (usize, usize) {
    let within = |bound: i64| {
        let bound = if bound < 0 { bound.wrapping_add(number::length(length)) } else { bound };
        usize::try_from(bound).unwrap_or(0)
    };
    let to = within(to).min(length);
    (within(from).min(to), to)
}

/// A slice of a text is by bytes; the reference would cut a character in two, we refuse.
fn part_of_text<'v>(text: &Text<'v>, from: usize, to: usize) -> Evaluated<'v> {
    let cut = match text {
        Text::Borrowed(text) => text.get(from..to).map(|part| Value::Text(Text::Borrowed(part))),
        Text::Owned(text) => text.get(from..to).map(Value::text),
    };
    cut.ok_or_else(|| Error::evaluation(format!("slice [{from}:{to}] cuts a character in two")))
}

/// A value inside a message.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        other => super::text::shown(other),
    }
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn slice_bounds_count_from_the_end_and_stay_inside() {
        assert_eq!(bounds(0, 2, 3), (0, 2));
        assert_eq!(bounds(-1, 3, 3), (2, 3));
        assert_eq!(bounds(5, 2, 3), (2, 2));
        assert_eq!(bounds(i64::MIN, i64::MAX, 3), (0, 3));
    }
}
