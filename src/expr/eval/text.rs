//! Functions and operators over texts, and values printed as text.

use super::{
    super::{
        budget::Budget,
        builtin::Builtin,
        error::Error,
        limits, moment, number,
        tree::Binary,
        value::{List, Made, Map, Text, Value, Width},
    },
    Evaluated, Machine, access, held,
};

impl<'v> Machine<'v> {
    /// `contains`, `startsWith` and `endsWith`: false where a side is nil.
    pub(super) fn text_operator(&mut self, operator: Binary, a: &Value<'v>, b: &Value<'v>) -> Evaluated<'v> {
        if a.is_nil() || b.is_nil() {
            return Ok(Value::Bool(false));
        }
        let (a, b) = (text(a)?, text(b)?);
        self.budget.read_text(a.len().saturating_add(b.len()))?;
        Ok(Value::Bool(match operator {
            Binary::Contains => a.contains(&**b),
            Binary::StartsWith => a.starts_with(&**b),
            Binary::EndsWith => a.ends_with(&**b),
            other => return Err(Error::evaluation(format!("{} searches no text", other.sign()))),
        }))
    }

    pub(super) fn text_function(&mut self, function: Builtin, arguments: &[Value<'v>]) -> Evaluated<'v> {
        let Some((first, rest)) = arguments.split_first() else {
            return Ok(Value::Nil);
        };
        if function == Builtin::Join {
            return self.join(first, rest.first());
        }
        let first = text(first)?;
        self.budget.grow_text(first.len())?;
        match function {
            Builtin::Upper => Ok(Value::text(upper(first))),
            Builtin::Lower => Ok(Value::text(lower(first))),
            Builtin::Trim | Builtin::TrimPrefix | Builtin::TrimSuffix => trim(function, first, rest),
            Builtin::Split | Builtin::SplitAfter => self.split(function, first, rest),
            Builtin::Replace => self.replace(first, rest),
            Builtin::Repeat => self.repeat(first, rest),
            Builtin::ToBase64 => Ok(Value::text(super::json::base64(first.as_bytes()))),
            Builtin::FromBase64 => super::json::of_base64(first),
            _ => search(function, first, rest),
        }
    }

    fn split(&mut self, function: Builtin, whole: &Text<'v>, rest: &[Value<'v>]) -> Evaluated<'v> {
        let by = text(rest.first().unwrap_or(&Value::Nil))?;
        let limit = match rest.get(1) {
            Some(limit) => access::integer(limit)?,
            None => -1,
        };
        if limit == 0 {
            return Ok(Value::made(Made::TextsNil, vec![]));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let parts = pieces(whole, by, limit, function == Builtin::SplitAfter);
        self.budget.grow(parts.len())?;
        Ok(Value::made(Made::Texts, parts.into_iter().map(Value::text).collect()))
    }

    fn replace(&mut self, whole: &Text<'v>, rest: &[Value<'v>]) -> Evaluated<'v> {
        let [old, new, limit @ ..] = rest else {
            return Ok(Value::Nil);
        };
        let (old, new) = (text(old)?, text(new)?);
        let limit = match limit.first() {
            Some(limit) => usize::try_from(access::integer(limit)?).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let count = if old.is_empty() { whole.chars().count() + 1 } else { whole.matches(&**old).count() };
        self.budget.grow_text(whole.len().saturating_add(count.min(limit).saturating_mul(new.len())))?;
        Ok(Value::text(whole.replacen(&**old, new, limit)))
    }

    fn repeat(&mut self, whole: &Text<'v>, rest: &[Value<'v>]) -> Evaluated<'v> {
        let count = access::integer(rest.first().unwrap_or(&Value::Nil))?;
        let Ok(times) = usize::try_from(count) else {
            let message = format!("invalid argument for repeat (expected positive integer, got {count})");
            return Err(Error::evaluation(message));
        };
        // The reference charges every byte here, and so do we.
        self.budget.grow(whole.len().saturating_mul(times))?;
        if times as u64 > limits::MEMORY_CELLS {
            return Err(Error::limit("memory budget exceeded"));
        }
        Ok(Value::text(whole.repeat(times)))
    }

    fn join(&mut self, of: &Value<'v>, glue: Option<&Value<'v>>) -> Evaluated<'v> {
        let glue = match glue {
            Some(glue) => text(glue)?.to_string(),
            None => String::new(),
        };
        let list = match of {
            Value::List(list) if matches!(list.type_name(), "[]interface {}" | "[]string") => list,
            other => {
                return Err(Error::evaluation(format!(
                    "invalid argument for join (type {})",
                    other.type_name()
                )));
            }
        };
        let mut out = String::new();
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                out.push_str(&glue);
            }
            let part = text(&item)?;
            self.budget.grow_text(part.len() + glue.len())?;
            out.push_str(part);
        }
        Ok(Value::text(out))
    }
}

/// The value as a text, or the reference's words for what is none.
pub(super) fn text<'a, 'v>(value: &'a Value<'v>) -> Result<&'a Text<'v>, Error> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(held(other, "string")),
    }
}

/// Character by character: no special casing, no change of how many there are.
fn upper(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_uppercase())).collect()
}

fn lower(text: &str) -> String {
    text.chars().map(|c| single(c, c.to_lowercase())).collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn trim<'v>(function: Builtin, whole: &Text<'v>, rest: &[Value<'v>]) -> Evaluated<'v> {
    let by = match rest.first() {
        Some(by) => Some(text(by)?),
        None => None,
    };
    let cut: &str = match (function, by) {
        (Builtin::Trim, None) => whole.trim(),
        (Builtin::Trim, Some(set)) => whole.trim_matches(|c| set.contains(c)),
        (Builtin::TrimPrefix, by) => {
            let by = by.map_or(" ", |by| by);
            whole.strip_prefix(by).unwrap_or(whole)
        }
        (_, by) => {
            let by = by.map_or(" ", |by| by);
            whole.strip_suffix(by).unwrap_or(whole)
        }
    };
    Ok(Value::text(cut))
}

fn search<'v>(function: Builtin, whole: &Text<'v>, rest: &[Value<'v>]) -> Evaluated<'v> {
    let part = text(rest.first().unwrap_or(&Value::Nil))?;
    let at = |at: Option<usize>| Value::int(at.map_or(-1, number::length));
    Ok(match function {
        Builtin::HasPrefix => Value::Bool(whole.starts_with(&**part)),
        Builtin::HasSuffix => Value::Bool(whole.ends_with(&**part)),
        Builtin::IndexOf => at(whole.find(&**part)),
        Builtin::LastIndexOf => at(whole.rfind(&**part)),
        other => return Err(Error::evaluation(format!("{} searches no text", other.name()))),
    })
}

/// The pieces of a text, at most `limit`; an empty separator cuts between characters.
fn pieces(whole: &str, by: &str, limit: usize, keep: bool) -> Vec<String> {
    let mut pieces = vec![];
    let mut rest = whole;
    while pieces.len() + 1 < limit {
        let end = if by.is_empty() {
            match rest.chars().next() {
                Some(c) if c.len_utf8() < rest.len() => c.len_utf8(),
                _ => break,
            }
        } else {
            match rest.find(by) {
                Some(end) => end,
                None => break,
            }
        };
        let kept = if keep { end + by.len() } else { end };
        pieces.push(rest[..kept].to_owned());
        rest = &rest[end + by.len()..];
    }
    if !by.is_empty() || !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

/// A value as `%v` prints it, for a message: cut where it is long.
pub(super) fn shown(value: &Value<'_>) -> String {
    let mut printer = Printer { out: String::new(), most: limits::MESSAGE_BYTES, budget: Budget::default() };
    if printer.print(value, 0).is_err() {
        printer.out.push_str("...");
    }
    printer.out
}

impl<'v> Machine<'v> {
    /// A value as `%v` prints it.
    pub(super) fn printed(&mut self, value: &Value<'v>) -> Result<String, Error> {
        let most = usize::try_from(limits::MEMORY_CELLS * limits::BYTES_A_CELL).unwrap_or(usize::MAX);
        let mut printer = Printer { out: String::new(), most, budget: std::mem::take(&mut self.budget) };
        let printed = printer.print(value, 0);
        self.budget = printer.budget;
        printed?;
        self.budget.grow_text(printer.out.len())?;
        Ok(printer.out)
    }
}

/// Prints until there is too much of it.
struct Printer {
    out: String,
    /// Bytes.
    most: usize,
    budget: Budget,
}

impl Printer {
    fn print(&mut self, value: &Value<'_>, depth: usize) -> Result<(), Error> {
        self.budget.spend(1)?;
        if depth > limits::VALUE_DEPTH {
            self.out.push_str("...");
            return Ok(());
        }
        match value {
            Value::Nil => self.push("<nil>"),
            Value::Bool(value) => self.push(if *value { "true" } else { "false" }),
            Value::Int(value, Width::Month) => self.push(moment::month_name(*value)),
            Value::Int(value, Width::Weekday) => self.push(moment::weekday_name(*value)),
            Value::Int(value, _) => self.push(&value.to_string()),
            Value::Float(value) => self.push(&number::printed(*value)),
            Value::Text(text) => self.push(text),
            Value::List(list) => self.list(list, depth),
            Value::Map(map) => self.map(map, depth),
            Value::Time(time) => self.push(&time.printed()),
            Value::Duration(nanos) => self.push(&moment::duration_text(*nanos)),
            Value::Location => self.push("UTC"),
            Value::Given(given) => self.push(given.name()),
            Value::Environment => self.push("map[..]"),
        }
    }

    /// Takes as much of the part as there is room for.
    fn push(&mut self, part: &str) -> Result<(), Error> {
        let room = self.most.saturating_sub(self.out.len());
        if part.len() <= room {
            self.out.push_str(part);
            return Ok(());
        }
        self.out.push_str(&part[..part.floor_char_boundary(room)]);
        Err(Error::limit("memory budget exceeded"))
    }

    fn list(&mut self, list: &List<'_>, depth: usize) -> Result<(), Error> {
        self.push("[")?;
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                self.push(" ")?;
            }
            self.print(&item, depth + 1)?;
        }
        self.push("]")
    }

    fn map(&mut self, map: &Map<'_>, depth: usize) -> Result<(), Error> {
        self.push("map[")?;
        for (index, (key, value)) in map.entries(&mut self.budget)?.iter().enumerate() {
            if index > 0 {
                self.push(" ")?;
            }
            self.print(key, depth + 1)?;
            self.push(":")?;
            self.print(value, depth + 1)?;
        }
        self.push("]")
    }
}
