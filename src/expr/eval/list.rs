//! Functions over lists and maps that need no predicate.

use std::cmp::Ordering;

use super::{
    super::{
        budget::Budget,
        builtin::Builtin,
        compare,
        error::Error,
        limits, number,
        value::{List, Made, Map, Number, Value},
    },
    Evaluated, Machine, access, held, invalid_argument, text,
};

impl<'v> Machine<'v> {
    pub(super) fn list_function(&mut self, function: Builtin, arguments: &[Value<'v>]) -> Evaluated<'v> {
        let [first, ..] = arguments else {
            return Ok(Value::Nil);
        };
        match function {
            Builtin::First => Ok(self.fetch(first, &Value::int(0)).unwrap_or(Value::Nil)),
            Builtin::Last => Ok(self.fetch(first, &Value::int(-1)).unwrap_or(Value::Nil)),
            Builtin::Get => self.get(first, arguments.get(1).unwrap_or(&Value::Nil)),
            Builtin::Take => take(first, arguments.get(1).unwrap_or(&Value::Nil)),
            Builtin::Keys => self.entries(first, "get keys from", |(key, _)| key),
            Builtin::Values => {
                self.all_found(first)?;
                self.entries(first, "get values from", |(_, value)| value)
            }
            Builtin::ToPairs => self.pairs(first),
            Builtin::FromPairs => self.of_pairs(first),
            Builtin::Reverse => {
                let list = of(first, "cannot reverse")?;
                self.budget.grow(list.len())?;
                Ok(Value::list((0..list.len()).rev().filter_map(|index| list.get(index)).collect()))
            }
            Builtin::Uniq => self.uniq(of(first, "cannot uniq")?),
            Builtin::Concat => self.concat(arguments),
            Builtin::Flatten => {
                let list = of(first, "cannot flatten")?;
                let mut flat = vec![];
                self.flatten(list, &mut flat, 0)?;
                Ok(Value::list(flat))
            }
            Builtin::Sort => self.sort(first, arguments.get(1)),
            Builtin::Max | Builtin::Min => self.extreme(function, arguments, 0),
            Builtin::Mean => self.mean(arguments),
            Builtin::Median => self.median(arguments),
            other => Err(Error::evaluation(format!("{} is no function over a list", other.name()))),
        }
    }

    fn get(&mut self, from: &Value<'v>, by: &Value<'v>) -> Evaluated<'v> {
        let length = match from {
            Value::List(list) => list.len(),
            Value::Text(text) => text.len(),
            Value::Map(map) => {
                return Ok(compare::lookup(map, by, &mut self.budget)?.unwrap_or(Value::Nil));
            }
            Value::Environment => return self.fetch(from, by),
            _ => return Ok(Value::Nil),
        };
        let index = access::integer(by)?;
        let index = if index < 0 { index.wrapping_add(number::length(length)) } else { index };
        match usize::try_from(index) {
            Ok(index) if index < length => self.fetch(from, &Value::int(number::length(index))),
            Ok(_) | Err(_) => Ok(Value::Nil),
        }
    }

    fn entries(
        &mut self,
        of: &Value<'v>,
        verb: &str,
        part: impl Fn((Value<'v>, Value<'v>)) -> Value<'v>,
    ) -> Evaluated<'v> {
        let Value::Map(map) = of else {
            return Err(Error::evaluation(format!("cannot {verb} {}", of.kind_name())));
        };
        self.budget.grow(map.len())?;
        Ok(Value::list(map.entries(&mut self.budget)?.into_iter().map(part).collect()))
    }

    /// Fails for a map with a key that is not even equal to itself, NaN: the reference walks keys and looks each up.
    fn all_found(&mut self, of: &Value<'v>) -> Result<(), Error> {
        let Value::Map(map @ Map::Any { .. }) = of else {
            return Ok(());
        };
        for (key, _) in map.entries(&mut self.budget)? {
            if !compare::same_key(&key, &key, &mut self.budget)? {
                return Err(Error::evaluation("reflect: call of reflect.Value.Interface on zero Value")
                    .hint("a key is NaN"));
            }
        }
        Ok(())
    }

    fn pairs(&mut self, of: &Value<'v>) -> Evaluated<'v> {
        let Value::Map(map) = of else {
            return Err(Error::evaluation(format!("cannot transform {} to pairs", of.kind_name())));
        };
        self.budget.grow(map.len())?;
        self.all_found(of)?;
        let entries = map.entries(&mut self.budget)?.into_iter();
        let pairs = entries.map(|(key, value)| Value::made(Made::Pair, vec![key, value]));
        Ok(Value::made(Made::Pairs, pairs.collect()))
    }

    fn of_pairs(&mut self, of: &Value<'v>) -> Evaluated<'v> {
        let Value::List(list) = of else {
            return Err(Error::evaluation(format!("cannot transform {} from pairs", text::shown(of))));
        };
        self.budget.grow(list.len())?;
        let mut entries: Vec<(Value<'v>, Value<'v>)> = vec![];
        for pair in list.iter() {
            let Value::List(pair) = &pair else {
                return Err(Error::evaluation(format!("invalid pair {}", text::shown(&pair))));
            };
            let (Some(key), Some(value), 2) = (pair.get(0), pair.get(1), pair.len()) else {
                let shown = text::shown(&Value::List(pair.clone()));
                return Err(Error::evaluation(format!("invalid pair length {shown}")));
            };
            compare::hashable(&key)?;
            match self.place(&entries, &key)?.and_then(|at| entries.get_mut(at)) {
                Some((_, known)) => *known = value,
                None => entries.push((key, value)),
            }
        }
        Ok(Value::Map(Map::any(entries, false)))
    }

    /// Where a key is among entries.
    pub(super) fn place<T>(
        &mut self,
        entries: &[(Value<'v>, T)],
        key: &Value<'v>,
    ) -> Result<Option<usize>, Error> {
        for (at, (known, _)) in entries.iter().enumerate() {
            self.budget.spend(1)?;
            if compare::same_key(known, key, &mut self.budget)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn uniq(&mut self, list: &List<'v>) -> Evaluated<'v> {
        let mut kept: Vec<Value<'v>> = vec![];
        for item in list.iter() {
            let mut known = false;
            for other in &kept {
                self.budget.spend(1)?;
                known = known || compare::equal(&item, other, &mut self.budget)?;
            }
            if !known {
                kept.push(item);
            }
        }
        self.budget.grow(kept.len())?;
        Ok(Value::list(kept))
    }

    fn concat(&mut self, arguments: &[Value<'v>]) -> Evaluated<'v> {
        let mut all = vec![];
        for argument in arguments {
            let list = of(argument, "cannot concat")?;
            self.budget.grow(list.len())?;
            all.extend(list.iter());
        }
        Ok(Value::made(if all.is_empty() { Made::AnyNil } else { Made::Any }, all))
    }

    fn flatten(&mut self, list: &List<'v>, into: &mut Vec<Value<'v>>, depth: usize) -> Result<(), Error> {
        deep(depth)?;
        for item in list.iter() {
            self.budget.spend(1)?;
            match item {
                Value::List(inner) => self.flatten(&inner, into, depth + 1)?,
                other => {
                    self.budget.grow(1)?;
                    into.push(other);
                }
            }
        }
        Ok(())
    }

    fn sort(&mut self, of: &Value<'v>, order: Option<&Value<'v>>) -> Evaluated<'v> {
        let simple = |list: &List<'v>| {
            matches!(list.type_name(), "[]interface {}" | "[]int" | "[]float64" | "[]string")
        };
        let items: Vec<Value<'v>> = match of {
            Value::List(list) if simple(list) => list.iter().collect(),
            _ => vec![],
        };
        let descending = match order {
            None => false,
            Some(Value::Text(text)) if &**text == "asc" => false,
            Some(Value::Text(text)) if &**text == "desc" => true,
            Some(Value::Text(text)) => {
                return Err(Error::evaluation(format!("invalid order {}, expected asc or desc", &**text)));
            }
            Some(other) => {
                let message = format!("sort order argument must be a string (got {})", other.type_name());
                return Err(Error::evaluation(message));
            }
        };
        self.budget.grow(items.len())?;
        let unmade = !matches!(of, Value::List(list) if simple(list));
        let keyed = items.into_iter().map(|item| (item.clone(), item)).collect();
        let sorted = sorted(keyed, descending, &mut self.budget)?;
        Ok(Value::made(if unmade { Made::AnyNil } else { Made::Any }, sorted))
    }

    /// `max` and `min`, through lists in lists. Nil when there is no number at all.
    fn extreme(&mut self, function: Builtin, arguments: &[Value<'v>], depth: usize) -> Evaluated<'v> {
        deep(depth)?;
        let mut best: Option<Value<'v>> = None;
        for argument in arguments {
            match argument {
                Value::List(list) => best = self.extreme_of(function, list, best, depth)?,
                Value::Duration(_) | Value::Int(..) | Value::Float(_) => {
                    best = Some(better(function, best, argument.clone(), &mut self.budget)?);
                }
                other if arguments.len() == 1 => return Ok(other.clone()),
                other => return Err(invalid_argument(function, other)),
            }
        }
        Ok(best.unwrap_or(Value::Nil))
    }

    fn extreme_of(
        &mut self,
        function: Builtin,
        list: &List<'v>,
        mut best: Option<Value<'v>>,
        depth: usize,
    ) -> Result<Option<Value<'v>>, Error> {
        // Lists of one kind of number are taken among themselves first, which shows where NaN is.
        let apart = matches!(list, List::Floats(_) | List::Range { .. });
        let outer = if apart { best.take() } else { None };
        for item in list.iter() {
            self.budget.spend(1)?;
            if matches!(item, Value::List(_)) {
                let inner = self.extreme(function, std::slice::from_ref(&item), depth + 1)?;
                if !matches!(inner, Value::Nil) {
                    best = Some(better(function, best, inner, &mut self.budget)?);
                }
            } else if item.number().is_some() {
                best = Some(better(function, best, item, &mut self.budget)?);
            } else {
                return Err(invalid_argument(function, &item));
            }
        }
        match (outer, best) {
            (Some(outer), Some(inner)) => better(function, Some(outer), inner, &mut self.budget).map(Some),
            (outer, inner) => Ok(outer.or(inner)),
        }
    }

    fn mean(&mut self, arguments: &[Value<'v>]) -> Evaluated<'v> {
        let (mut total, mut count) = (0.0, 0);
        for argument in arguments {
            self.numbers(Builtin::Mean, argument, 0, &mut |number| {
                total += number;
                count += 1;
            })?;
        }
        Ok(Value::Float(if count == 0 { 0.0 } else { total / number::widened(count) }))
    }

    fn median(&mut self, arguments: &[Value<'v>]) -> Evaluated<'v> {
        let mut numbers = vec![];
        for argument in arguments {
            self.numbers(Builtin::Median, argument, 0, &mut |number| numbers.push(number))?;
        }
        if numbers.is_empty() {
            return Ok(Value::Float(0.0));
        }
        numbers.sort_by(|a, b| {
            // NaN first, so that the order is total.
            a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
        });
        let middle = numbers.len() / 2;
        let upper = numbers.get(middle).copied().unwrap_or_default();
        if numbers.len() % 2 == 1 {
            return Ok(Value::Float(upper));
        }
        let lower = numbers.get(middle.wrapping_sub(1)).copied().unwrap_or_default();
        Ok(Value::Float((lower + upper) / 2.0))
    }

    /// Hands each number of a value to `take`, through lists in lists.
    fn numbers(
        &mut self,
        function: Builtin,
        value: &Value<'v>,
        depth: usize,
        take: &mut dyn FnMut(f64),
    ) -> Result<(), Error> {
        deep(depth)?;
        // More than a step, so that the numbers of a list that is shared a thousand times stay few.
        self.budget.spend(4)?;
        match value {
            Value::List(list) => {
                return list.iter().try_for_each(|item| self.numbers(function, &item, depth + 1, take));
            }
            Value::Int(number, _) | Value::Duration(number) => take(number::widened(*number)),
            Value::Float(number) => take(*number),
            other => return Err(invalid_argument(function, other)),
        }
        Ok(())
    }
}

fn better<'v>(
    function: Builtin,
    best: Option<Value<'v>>,
    item: Value<'v>,
    budget: &mut Budget,
) -> Evaluated<'v> {
    let Some(best) = best else {
        return Ok(item);
    };
    let (sign, wanted) =
        if function == Builtin::Max { ("<", Ordering::Less) } else { (">", Ordering::Greater) };
    let takes = compare::order(&best, &item, sign, budget)? == Some(wanted);
    Ok(if takes { item } else { best })
}

fn deep(depth: usize) -> Result<(), Error> {
    if depth > limits::VALUE_DEPTH { Err(Error::limit("recursion depth exceeded")) } else { Ok(()) }
}

fn of<'a, 'v>(value: &'a Value<'v>, verb: &str) -> Result<&'a List<'v>, Error> {
    match value {
        Value::List(list) => Ok(list),
        other => Err(Error::evaluation(format!("{verb} {}", other.kind_name()))),
    }
}

fn take<'v>(from: &Value<'v>, count: &Value<'v>) -> Evaluated<'v> {
    let Value::List(list) = from else {
        return Err(Error::evaluation(format!("cannot take from {}", from.kind_name())));
    };
    let count = match count {
        Value::Int(count, super::super::value::Width::Byte) => {
            return Err(Error::evaluation(format!("cannot take uint8 elements ({count})")));
        }
        Value::Int(count, _) | Value::Duration(count) => *count,
        other => return Err(Error::evaluation(format!("cannot take {} elements", other.kind_name()))),
    };
    match usize::try_from(count) {
        Ok(count) => Ok(Value::List(list.part(0, count.min(list.len())))),
        Err(_) => Err(Error::evaluation("reflect.Value.Slice: slice index out of bounds")),
    }
}

/// Elements in the order of their keys. Up to a dozen by insertion, which is what the reference does and shows
/// where NaN makes the order none; more by merging.
///
/// # Errors
/// Keys that have no order.
pub(super) fn sorted<'v>(
    mut keyed: Vec<(Value<'v>, Value<'v>)>,
    descending: bool,
    budget: &mut Budget,
) -> Result<Vec<Value<'v>>, Error> {
    let mut less = |a: &Value<'v>, b: &Value<'v>| {
        let (a, b) = if descending { (b, a) } else { (a, b) };
        Ok::<bool, Error>(compare::order(a, b, "<", budget)? == Some(Ordering::Less))
    };
    const INSERTION: usize = 12;
    let mut width = INSERTION;
    for run in keyed.chunks_mut(INSERTION) {
        for next in 1..run.len() {
            let mut at = next;
            while at > 0 && less(&run[at].0, &run[at - 1].0)? {
                run.swap(at, at - 1);
                at -= 1;
            }
        }
    }
    while width < keyed.len() {
        let mut merged = Vec::with_capacity(keyed.len());
        for pair in keyed.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            let (mut i, mut j) = (0, 0);
            while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
                if less(&b.0, &a.0)? {
                    merged.push(b.clone());
                    j += 1;
                } else {
                    merged.push(a.clone());
                    i += 1;
                }
            }
            merged.extend_from_slice(&left[i..]);
            merged.extend_from_slice(&right[j..]);
        }
        keyed = merged;
        width *= 2;
    }
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

/// A number, or the words for what is none.
pub(super) fn float(value: &Value<'_>) -> Result<f64, Error> {
    value.number().map(Number::float).ok_or_else(|| held(value, "float64"))
}
