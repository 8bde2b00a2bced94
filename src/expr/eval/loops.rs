//! Functions that ask a predicate about each element of a list.

use super::{
    super::{
        budget::Budget,
        builtin::Builtin,
        compare,
        error::Error,
        lower::{CodeId, LoweredTuning},
        number,
        value::{List, Made, Map, Value, Width},
    },
    Evaluated, Machine, Scope, boolean, list,
};

impl<'v> Machine<'v> {
    pub(super) fn looped(
        &mut self,
        function: Builtin,
        arguments: &'v [CodeId],
        tuning: LoweredTuning,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let Some((&over, rest)) = arguments.split_first() else {
            return Ok(Value::Nil);
        };
        let over = self.eval(over, scope)?;
        let list = &listed(function, over, &mut self.budget)?;
        let predicate = rest.first().copied();
        match function {
            Builtin::All => self.until(list, predicate, false).map(|found| Value::Bool(found.is_none())),
            Builtin::None => self.until(list, predicate, true).map(|found| Value::Bool(found.is_none())),
            Builtin::Any => self.until(list, predicate, true).map(|found| Value::Bool(found.is_some())),
            Builtin::One => Ok(Value::Bool(self.count(list, predicate, None)? == 1)),
            Builtin::Count => self.count(list, predicate, tuning.threshold).map(Value::int),
            Builtin::Find | Builtin::FindLast | Builtin::FindIndex | Builtin::FindLastIndex => {
                self.find(function, list, predicate, tuning)
            }
            Builtin::Filter => self.filter(list, predicate, tuning.map),
            Builtin::Map => self.map_each(list, predicate),
            Builtin::Sum => self.sum(list, predicate),
            Builtin::GroupBy => self.group(list, predicate),
            Builtin::SortBy => self.sort_by(list, predicate, rest.get(1).copied(), scope),
            Builtin::Reduce => self.reduce(list, predicate, rest.get(1).copied(), scope),
            other => Err(Error::evaluation(format!("{} takes no predicate", other.name()))),
        }
    }

    /// What the predicate says of one element; the element itself where there is no predicate.
    fn ask(&mut self, predicate: Option<CodeId>, element: Value<'v>, index: usize) -> Evaluated<'v> {
        let Some(predicate) = predicate else {
            self.budget.spend(1)?;
            return Ok(element);
        };
        let scope = Scope { element, index: number::length(index), accumulator: Value::Nil };
        self.eval(predicate, Some(&scope))
    }

    /// The index of the first element of which the predicate says `wanted`.
    fn until(
        &mut self,
        list: &List<'v>,
        predicate: Option<CodeId>,
        wanted: bool,
    ) -> Result<Option<usize>, Error> {
        for (index, element) in list.iter().enumerate() {
            if boolean(&self.ask(predicate, element, index)?)? == wanted {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn count(
        &mut self,
        list: &List<'v>,
        predicate: Option<CodeId>,
        threshold: Option<i64>,
    ) -> Result<i64, Error> {
        let mut count = 0;
        for (index, element) in list.iter().enumerate() {
            if boolean(&self.ask(predicate, element, index)?)? {
                count += 1;
                if threshold.is_some_and(|threshold| count >= threshold) {
                    break;
                }
            }
        }
        Ok(count)
    }

    fn find(
        &mut self,
        function: Builtin,
        list: &List<'v>,
        predicate: Option<CodeId>,
        tuning: LoweredTuning,
    ) -> Evaluated<'v> {
        let backwards = matches!(function, Builtin::FindLast | Builtin::FindLastIndex);
        for step in 0..list.len() {
            let index = if backwards { list.len() - 1 - step } else { step };
            let Some(element) = list.get(index) else {
                continue;
            };
            if boolean(&self.ask(predicate, element.clone(), index)?)? {
                return match function {
                    Builtin::FindIndex | Builtin::FindLastIndex => Ok(Value::int(number::length(index))),
                    _ if tuning.map.is_some() => self.ask(tuning.map, element, index),
                    _ => Ok(element),
                };
            }
        }
        if tuning.throws {
            Err(Error::evaluation("reflect: slice index out of range"))
        } else {
            Ok(Value::Nil)
        }
    }

    fn filter(&mut self, list: &List<'v>, predicate: Option<CodeId>, map: Option<CodeId>) -> Evaluated<'v> {
        let mut kept = vec![];
        for (index, element) in list.iter().enumerate() {
            if boolean(&self.ask(predicate, element.clone(), index)?)? {
                kept.push(match map {
                    Some(_) => self.ask(map, element, index)?,
                    None => element,
                });
            }
        }
        self.budget.grow(kept.len())?;
        Ok(Value::list(kept))
    }

    fn map_each(&mut self, list: &List<'v>, predicate: Option<CodeId>) -> Evaluated<'v> {
        let mut made = vec![];
        for (index, element) in list.iter().enumerate() {
            made.push(self.ask(predicate, element, index)?);
        }
        self.budget.grow(made.len())?;
        Ok(Value::list(made))
    }

    fn sum(&mut self, list: &List<'v>, predicate: Option<CodeId>) -> Evaluated<'v> {
        let mut total = Value::int(0);
        for (index, element) in list.iter().enumerate() {
            let part = self.ask(predicate, element, index)?;
            total = self.add(part, total)?;
        }
        Ok(total)
    }

    fn group(&mut self, list: &List<'v>, predicate: Option<CodeId>) -> Evaluated<'v> {
        let mut groups: Vec<(Value<'v>, Vec<Value<'v>>)> = vec![];
        for (index, element) in list.iter().enumerate() {
            let key = self.ask(predicate, element.clone(), index)?;
            compare::hashable(&key)?;
            match self.place(&groups, &key)?.and_then(|at| groups.get_mut(at)) {
                Some((_, members)) => members.push(element),
                None => groups.push((key, vec![element])),
            }
        }
        self.budget.grow(list.len())?;
        let entries = groups.into_iter().map(|(key, members)| (key, Value::list(members))).collect();
        Ok(Value::Map(Map::any(entries, true)))
    }

    fn sort_by(
        &mut self,
        list: &List<'v>,
        predicate: Option<CodeId>,
        order: Option<CodeId>,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let descending = match order {
            None => false,
            Some(order) => match self.eval(order, scope)? {
                Value::Text(text) if &*text == "asc" => false,
                Value::Text(text) if &*text == "desc" => true,
                Value::Text(_) => return Err(Error::evaluation("unknown order, use asc or desc")),
                _ => return Err(Error::evaluation("sortBy order argument must be a string")),
            },
        };
        let mut keyed = vec![];
        for (index, element) in list.iter().enumerate() {
            keyed.push((self.ask(predicate, element.clone(), index)?, element));
        }
        self.budget.grow(keyed.len())?;
        let sorted = list::sorted(keyed, descending, &mut self.budget)?;
        Ok(Value::list(sorted))
    }

    fn reduce(
        &mut self,
        list: &List<'v>,
        predicate: Option<CodeId>,
        initial: Option<CodeId>,
        scope: Option<&Scope<'v>>,
    ) -> Evaluated<'v> {
        let (mut accumulator, skip) = match initial {
            Some(initial) => (self.eval(initial, scope)?, 0),
            None => match list.get(0) {
                Some(first) => (first, 1),
                None => return Err(Error::evaluation("reduce of empty array with no initial value")),
            },
        };
        let Some(predicate) = predicate else {
            return Ok(accumulator);
        };
        for (index, element) in list.iter().enumerate().skip(skip) {
            let scope = Scope { element, index: number::length(index), accumulator };
            accumulator = self.eval(predicate, Some(&scope))?;
        }
        Ok(accumulator)
    }
}

/// What a loop walks over. A text is its bytes and an empty object an empty list, as the reference has it.
fn listed<'v>(function: Builtin, over: Value<'v>, budget: &mut Budget) -> Result<List<'v>, Error> {
    match over {
        Value::List(list) => Ok(list),
        Value::Text(text) => {
            budget.grow(text.len())?;
            let bytes: Vec<_> = text.bytes().map(|byte| Value::Int(i64::from(byte), Width::Byte)).collect();
            let to = bytes.len();
            Ok(List::Made { kind: Made::Any, items: bytes.into(), from: 0, to, depth: 1 })
        }
        Value::Map(map) if map.len() == 0 => Ok(List::Json(&[])),
        Value::Map(_) => Err(Error::evaluation("reflect: call of reflect.Value.Index on map Value")
            .hint("`values(..)` makes a list of an object")),
        Value::Nil => Err(Error::evaluation("reflect: call of reflect.Value.Len on zero Value")
            .hint(format!("{} needs a list: no data, or a field that is not there", function.name()))),
        other => Err(Error::evaluation(format!(
            "reflect: call of reflect.Value.Len on {} Value",
            other.kind_name()
        ))),
    }
}
