//! The evaluator: walks a program with budgets for steps and memory, and borrows instead of copying.

mod access;
mod arithmetic;
mod because;
mod function;
mod json;
mod list;
mod loops;
mod text;

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::Timestamp;

use super::{
    budget::Budget,
    builtin::Builtin,
    compare,
    error::Error,
    limits,
    lower::{Code, CodeId, Equality, Program},
    pattern::Pattern,
    tree::{Binary, Pointer},
    value::{List, Map, Value, Width},
};
use crate::domain::value::MetricValue;

pub use because::Reason;
pub(crate) use because::because;

pub(super) type Evaluated<'v> = Result<Value<'v>, Error>;

/// Evaluates a program. `now` is what `now()` gives; without it `now()` is an error.
///
/// # Errors
/// What cannot be judged, and the budgets.
pub(crate) fn run<'v>(
    program: &'v Program,
    result: &'v MetricValue,
    now: Option<Timestamp>,
) -> Evaluated<'v> {
    let mut machine = Machine { program, result, now, budget: Budget::default(), variables: vec![] };
    machine.eval(program.root(), None)
}

/// What `#` and its like stand for inside one predicate.
pub(super) struct Scope<'v> {
    element: Value<'v>,
    index: i64,
    accumulator: Value<'v>,
}

pub(super) struct Machine<'v> {
    program: &'v Program,
    result: &'v MetricValue,
    now: Option<Timestamp>,
    budget: Budget,
    variables: Vec<Value<'v>>,
}

impl<'v> Machine<'v> {
    pub(super) fn eval(&mut self, id: CodeId, scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        self.budget.spend(1)?;
        match self.step(id, scope) {
            Ok(value) => Ok(value),
            Err(error) => Err(error.at(self.program.span(id))),
        }
    }

    fn step(&mut self, id: CodeId, scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let program = self.program;
        match program.code(id) {
            Code::Result => Ok(Value::of_result(self.result)),
            Code::Float(value) => Ok(Value::Float(*value)),
            Code::Int(value) => Ok(Value::int(*value)),
            Code::Binary(operator, left, right) => self.binary(*operator, *left, *right, scope),
            Code::Member { base, property, optional } => self.member(*base, *property, *optional, scope),
            Code::And(left, right) => self.short(*left, *right, false, scope),
            Code::Or(left, right) => self.short(*left, *right, true, scope),
            Code::Equal(equality, left, right) => self.equal(*equality, *left, *right, scope),
            Code::Not(operand) => {
                let value = self.eval(*operand, scope)?;
                boolean(&value).map(|value| Value::Bool(!value))
            }
            Code::Pointer(pointer) => Ok(pointed(*pointer, scope)),
            Code::Bool(value) => Ok(Value::Bool(*value)),
            Code::Nil => Ok(Value::Nil),
            other => self.rarer(other, scope).and_then(shallow),
        }
    }

    fn rarer(&mut self, code: &'v Code, scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        match code {
            Code::Text(text) => Ok(Value::Text(super::value::Text::Borrowed(text))),
            Code::Consts(items) => Ok(Value::List(List::Consts(items))),
            Code::Environment => Ok(Value::Environment),
            Code::Given(given) => Ok(Value::Given(*given)),
            Code::Variable(slot) => Ok(self.variables.get(*slot).cloned().unwrap_or(Value::Nil)),
            Code::Let(slot, value, body) => self.declare(*slot, *value, *body, scope),
            Code::Negate(operand) => arithmetic::negate(self.eval(*operand, scope)?),
            Code::Coalesce(left, right) => self.coalesce(*left, *right, scope),
            Code::Chain(steps, last) => self.chain(steps, *last, scope),
            Code::InInts(left, set) => self.in_ints(*left, set, scope),
            Code::InTexts(left, set) => self.in_texts(*left, set, scope),
            Code::Matches(left, pattern) => self.matches(*left, pattern, scope),
            Code::Optional(inner) => self.optional(*inner, scope),
            Code::Slice { base, from, to } => self.slice(*base, *from, *to, scope),
            Code::Sequence(parts) => self.sequence(parts, scope),
            Code::Conditional(condition, yes, no) => self.conditional(*condition, *yes, *no, scope),
            Code::Array(items) => self.array(items, scope),
            Code::Map(pairs) => self.map(pairs, scope),
            Code::Builtin(function, arguments, tuning) if function.predicate_arguments().is_some() => {
                self.looped(*function, arguments, *tuning, scope)
            }
            Code::Builtin(function, arguments, _) => self.function(*function, arguments, scope),
            Code::CallGiven(function, arguments) => self.given(*function, arguments, scope),
            Code::CallMethod(method, base, arguments) => self.method(*method, *base, arguments, scope),
            Code::CallMember { base, property, arguments } => {
                self.call_member(*base, *property, arguments, scope)
            }
            Code::CallValue(callee, arguments) => self.call_value(*callee, arguments, scope),
            // `step` has these already.
            Code::Nil
            | Code::Bool(_)
            | Code::Int(_)
            | Code::Float(_)
            | Code::Result
            | Code::Not(_)
            | Code::And(..)
            | Code::Or(..)
            | Code::Equal(..)
            | Code::Binary(..)
            | Code::Member { .. }
            | Code::Pointer(_) => Err(Error::evaluation("this part has no evaluation")),
        }
    }

    fn declare(
        &mut self,
        slot: usize,
        value: CodeId,
        body: CodeId,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let value = self.eval(value, scope)?;
        if self.variables.len() <= slot {
            self.variables.resize(self.program.variables.max(slot + 1), Value::Nil);
        }
        if let Some(place) = self.variables.get_mut(slot) {
            *place = value;
        }
        self.eval(body, scope)
    }

    /// `&&` and `||`: the left side decides when it is `decides`, otherwise the right side is the outcome as it
    /// is, bool or not.
    fn short(
        &mut self,
        left: CodeId,
        right: CodeId,
        decides: bool,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let value = self.eval(left, scope)?;
        if boolean(&value)? == decides { Ok(value) } else { self.eval(right, scope) }
    }

    fn coalesce(&mut self, left: CodeId, right: CodeId, scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let value = self.eval(left, scope)?;
        if value.is_nil() { self.eval(right, scope) } else { Ok(value) }
    }

    fn equal(
        &mut self,
        how: Equality,
        left: CodeId,
        right: CodeId,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let a = self.eval(left, scope)?;
        let b = self.eval(right, scope)?;
        let equal = match (how, &a, &b) {
            (Equality::Ints, Value::Int(x, Width::Int), Value::Int(y, Width::Int)) => x == y,
            (Equality::Ints, Value::Int(_, Width::Int), other) | (Equality::Ints, other, _) => {
                return Err(held(other, "int"));
            }
            (Equality::Texts, Value::Text(x), Value::Text(y)) => compare::same_text(x, y, &mut self.budget)?,
            (Equality::Texts, Value::Text(_), other) | (Equality::Texts, other, _) => {
                return Err(held(other, "string"));
            }
            (Equality::Any, a, b) => compare::equal(a, b, &mut self.budget)?,
        };
        Ok(Value::Bool(equal))
    }

    fn binary(
        &mut self,
        operator: Binary,
        left: CodeId,
        right: CodeId,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let a = self.eval(left, scope)?;
        let b = self.eval(right, scope)?;
        match operator {
            Binary::Less | Binary::More | Binary::LessOrEqual | Binary::MoreOrEqual => {
                ordering(operator, &a, &b, &mut self.budget).map(Value::Bool)
            }
            Binary::In => compare::contains(&a, &b, &mut self.budget).map(Value::Bool),
            Binary::Matches => self.matches_made(&a, &b),
            Binary::Contains | Binary::StartsWith | Binary::EndsWith => self.text_operator(operator, &a, &b),
            Binary::Range => self.range(&a, &b),
            other => self.compute(other, a, b),
        }
    }

    fn chain(
        &mut self,
        steps: &[(Binary, CodeId)],
        last: CodeId,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let Some((&(first, left), rest)) = steps.split_first() else {
            return Ok(Value::Bool(true));
        };
        let mut operator = first;
        let mut left = self.eval(left, scope)?;
        for (next, right) in rest.iter().map(|(next, right)| (Some(*next), *right)).chain([(None, last)]) {
            let right = self.eval(right, scope)?;
            if !ordering(operator, &left, &right, &mut self.budget)? {
                return Ok(Value::Bool(false));
            }
            left = right;
            operator = next.unwrap_or(operator);
        }
        Ok(Value::Bool(true))
    }

    fn in_ints(&mut self, left: CodeId, set: &[i64], scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let value = self.eval(left, scope)?;
        self.budget.spend(set.len() as u64 / 16)?;
        match value {
            Value::Int(value, Width::Int) => Ok(Value::Bool(set.contains(&value))),
            Value::Nil => Ok(Value::Bool(set.contains(&0))),
            other => Err(compare::key_type(&other, "int")),
        }
    }

    fn in_texts(&mut self, left: CodeId, set: &[Box<str>], scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let value = self.eval(left, scope)?;
        self.budget.spend(set.len() as u64 / 8)?;
        let name = match &value {
            Value::Text(text) => &**text,
            Value::Nil => "",
            other => return Err(compare::key_type(other, "string")),
        };
        Ok(Value::Bool(set.iter().any(|known| **known == *name)))
    }

    fn matches(&mut self, left: CodeId, pattern: &Pattern, scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        match self.eval(left, scope)? {
            value if value.is_nil() => Ok(Value::Bool(false)),
            Value::Text(text) => pattern.is_match(&text, &mut self.budget).map(Value::Bool),
            other => Err(held(&other, "[]uint8")),
        }
    }

    /// `matches` with a pattern that the condition made.
    fn matches_made(&mut self, a: &Value<'v>, b: &Value<'v>) -> Evaluated<'v> {
        if a.is_nil() || b.is_nil() {
            return Ok(Value::Bool(false));
        }
        let Value::Text(pattern) = b else {
            return Err(held(b, "string"));
        };
        let Value::Text(text) = a else {
            return Err(held(a, "[]uint8"));
        };
        let pattern = Pattern::make(pattern, &mut self.budget)?;
        pattern.is_match(text, &mut self.budget).map(Value::Bool)
    }

    fn sequence(&mut self, parts: &[CodeId], scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let mut last = Value::Nil;
        for part in parts {
            last = self.eval(*part, scope)?;
        }
        Ok(last)
    }

    fn conditional(
        &mut self,
        condition: CodeId,
        yes: Option<CodeId>,
        no: CodeId,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let test = self.eval(condition, scope)?;
        match (boolean(&test)?, yes) {
            (true, None) => Ok(test),
            (true, Some(yes)) => self.eval(yes, scope),
            (false, _) => self.eval(no, scope),
        }
    }

    fn array(&mut self, items: &[CodeId], scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let items: Result<Vec<_>, Error> = items.iter().map(|item| self.eval(*item, scope)).collect();
        let items = items?;
        self.budget.grow(items.len())?;
        Ok(Value::list(items))
    }

    fn map(&mut self, pairs: &[(CodeId, CodeId)], scope: Option<&Scope<'v>>) -> Evaluated<'v> {
        let mut map = BTreeMap::new();
        let mut wrong = None;
        for (key, value) in pairs {
            let key = self.eval(*key, scope)?;
            let value = self.eval(*value, scope)?;
            match key {
                Value::Text(name) => {
                    map.insert(name.shared(), value);
                }
                other => wrong = Some(held(&other, "string")),
            }
        }
        self.budget.grow(pairs.len())?;
        match wrong {
            Some(wrong) => Err(wrong),
            None => Ok(Value::Map(Map::made(map))),
        }
    }

    /// The arguments of a call, in order.
    pub(super) fn arguments(
        &mut self,
        ids: &[CodeId],
        scope: Option<&Scope<'v>>,
    ) -> Result<Vec<Value<'v>>, Error> {
        ids.iter().map(|id| self.eval(*id, scope)).collect()
    }
}

fn pointed<'v>(pointer: Pointer, scope: Option<&Scope<'v>>) -> Value<'v> {
    let Some(scope) = scope else {
        return Value::Nil;
    };
    match pointer {
        Pointer::Element => scope.element.clone(),
        Pointer::Index => Value::int(scope.index),
        Pointer::Accumulator => scope.accumulator.clone(),
    }
}

fn ordering(operator: Binary, a: &Value<'_>, b: &Value<'_>, budget: &mut Budget) -> Result<bool, Error> {
    use Ordering::{Equal, Greater, Less};
    let (sign, wanted): (&str, &[Ordering]) = match operator {
        Binary::Less => ("<", &[Less]),
        Binary::More => (">", &[Greater]),
        Binary::LessOrEqual => ("<=", &[Less, Equal]),
        Binary::MoreOrEqual => (">=", &[Greater, Equal]),
        other => return Err(Error::evaluation(format!("{} does not order", other.sign()))),
    };
    Ok(compare::order(a, b, sign, budget)?.is_some_and(|order| wanted.contains(&order)))
}

/// Refuses values that would take a stack of their own to compare, print and drop.
fn shallow(value: Value<'_>) -> Evaluated<'_> {
    if value.depth() > limits::VALUE_DEPTH {
        return Err(
            Error::limit("value is nested too deeply").hint("at most 128 lists and objects in one another")
        );
    }
    Ok(value)
}

/// A bool, or the reference's words for what is none.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Error> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(held(other, "bool")),
    }
}

/// `interface conversion: interface {} is int, not float64`.
pub(super) fn held(value: &Value<'_>, wanted: &str) -> Error {
    Error::evaluation(format!("interface conversion: interface {{}} is {}, not {wanted}", value.held_type()))
}

/// As [`held`], for the rooms beside this one.
pub(super) fn not_held(value: &Value<'_>, wanted: &str) -> Error {
    held(value, wanted)
}

/// The name under which the message of a built-in function speaks.
pub(super) fn invalid_argument(function: Builtin, value: &Value<'_>) -> Error {
    Error::evaluation(format!("invalid argument for {} (type {})", function.name(), value.type_name()))
}
