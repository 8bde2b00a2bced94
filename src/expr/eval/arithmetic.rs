//! Arithmetic: integers wrap, division is in floats, dividing by zero is infinite.

use super::{
    super::{
        error::{self, Error},
        moment, number,
        tree::Binary,
        value::{List, Number, Text, Value, Width},
    },
    Evaluated, Machine,
};

impl<'v> Machine<'v> {
    pub(super) fn compute(&mut self, operator: Binary, a: Value<'v>, b: Value<'v>) -> Evaluated<'v> {
        match operator {
            Binary::Power => Ok(Value::Float(float(&a)?.powf(float(&b)?))),
            Binary::Add => self.add(a, b),
            Binary::Subtract => subtract(&a, &b),
            Binary::Multiply => multiply(&a, &b),
            Binary::Divide => match (a.number(), b.number()) {
                (Some(x), Some(y)) => Ok(Value::Float(x.float() / y.float())),
                _ => Err(undefined(&a, "/", &b)),
            },
            Binary::Modulo => match (a.number(), b.number()) {
                (Some(Number::Int(_)), Some(Number::Int(0))) => {
                    Err(Error::evaluation("runtime error: integer divide by zero"))
                }
                (Some(Number::Int(x)), Some(Number::Int(y))) => Ok(Value::int(x.wrapping_rem(y))),
                _ => Err(undefined(&a, "%", &b)),
            },
            other => Err(undefined(&a, other.sign(), &b)),
        }
    }

    pub(super) fn add(&mut self, a: Value<'v>, b: Value<'v>) -> Evaluated<'v> {
        if let Some(sum) = numbers(&a, &b, i64::wrapping_add, |x, y| x + y) {
            return Ok(sum);
        }
        match (&a, &b) {
            (Value::Text(x), Value::Text(y)) => {
                self.budget.grow_text(x.len() + y.len())?;
                Ok(joined(x, y))
            }
            (Value::Time(time), Value::Duration(by)) | (Value::Duration(by), Value::Time(time)) => {
                Ok(moment::shifted(time, *by))
            }
            (Value::Duration(x), Value::Duration(y)) => Ok(Value::Duration(x.wrapping_add(*y))),
            _ => Err(undefined(&a, "+", &b)),
        }
    }

    /// `1..3`: the integers from and to, both included.
    pub(super) fn range(&mut self, a: &Value<'v>, b: &Value<'v>) -> Evaluated<'v> {
        let first = super::access::integer(a)?;
        let last = super::access::integer(b)?;
        let len = last.wrapping_sub(first).wrapping_add(1);
        let len = usize::try_from(len).unwrap_or(0);
        self.budget.grow(len)?;
        Ok(Value::List(List::Range { first, len }))
    }
}

fn joined<'v>(x: &Text<'v>, y: &Text<'v>) -> Value<'v> {
    Value::text([&**x, &**y].concat())
}

fn subtract<'v>(a: &Value<'v>, b: &Value<'v>) -> Evaluated<'v> {
    if let Some(difference) = numbers(a, b, i64::wrapping_sub, |x, y| x - y) {
        return Ok(difference);
    }
    match (a, b) {
        (Value::Time(x), Value::Time(y)) => Ok(Value::Duration(moment::between(x, y))),
        (Value::Time(time), Value::Duration(by)) => Ok(moment::shifted(time, by.wrapping_neg())),
        (Value::Duration(x), Value::Duration(y)) => Ok(Value::Duration(x.wrapping_sub(*y))),
        _ => Err(undefined(a, "-", b)),
    }
}

fn multiply<'v>(a: &Value<'v>, b: &Value<'v>) -> Evaluated<'v> {
    if let Some(product) = numbers(a, b, i64::wrapping_mul, |x, y| x * y) {
        return Ok(product);
    }
    match (a, b) {
        (Value::Duration(x), Value::Duration(y)) => Ok(Value::Duration(x.wrapping_mul(*y))),
        (Value::Duration(x), other) | (other, Value::Duration(x)) => match other.number() {
            Some(Number::Int(y)) => Ok(Value::Duration(x.wrapping_mul(y))),
            // The reference multiplies in floats here, and so gets a number, not a duration.
            Some(Number::Float(y)) => Ok(Value::Float(number::widened(*x) * y)),
            None => Err(undefined(a, "*", b)),
        },
        _ => Err(undefined(a, "*", b)),
    }
}

fn numbers<'v>(
    a: &Value<'v>,
    b: &Value<'v>,
    ints: impl Fn(i64, i64) -> i64,
    floats: impl Fn(f64, f64) -> f64,
) -> Option<Value<'v>> {
    match (a.number()?, b.number()?) {
        (Number::Int(x), Number::Int(y)) => Some(Value::int(ints(x, y))),
        (x, y) => Some(Value::Float(floats(x.float(), y.float()))),
    }
}

pub(super) fn negate(value: Value<'_>) -> Evaluated<'_> {
    match value {
        Value::Int(value, Width::Byte) => {
            // A byte stays a byte.
            Ok(Value::Int(value.wrapping_neg().rem_euclid(256), Width::Byte))
        }
        Value::Int(value, width @ (Width::Int | Width::Int64)) => Ok(Value::Int(value.wrapping_neg(), width)),
        Value::Float(value) => Ok(Value::Float(-value)),
        other => Err(Error::evaluation(format!("invalid operation: - {}", other.type_name()))),
    }
}

fn float(value: &Value<'_>) -> Result<f64, Error> {
    value
        .number()
        .map(Number::float)
        .ok_or_else(|| Error::evaluation(format!("invalid operation: float({})", value.type_name())))
}

fn undefined(a: &Value<'_>, sign: &str, b: &Value<'_>) -> Error {
    let error = Error::evaluation(format!("invalid operation: {} {sign} {}", a.type_name(), b.type_name()));
    if a.is_nil() || b.is_nil() { error.hint(error::NIL_SIDE) } else { error }
}
