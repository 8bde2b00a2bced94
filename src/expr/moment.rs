//! Times and durations of the language: nanoseconds, and an offset for the parts of a date.
//!
//! Named time zones other than UTC need a database, which a pure room does not read: they are an error.

mod duration;

use std::rc::Rc;

use jiff::Timestamp;

use super::{
    error::Error,
    layout, number,
    types::Type,
    value::{Value, Width},
};

pub(crate) use duration::{duration, duration_text};

const SECOND: i64 = 1_000_000_000;

/// A point in time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    /// Nanoseconds since 1970 in UTC.
    pub(crate) nanos: i128,
    /// Seconds east of UTC, for the parts of the date.
    pub(crate) offset: i32,
}

/// The parts of a date and time on its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    /// Nanoseconds since midnight.
    pub(crate) clock: i64,
}

impl Moment {
    /// The moment of these parts at an offset. Months and days over the end run on into the next.
    pub(crate) fn of_civil(civil: Civil, offset: i32) -> Self {
        let days = days_of(civil.year, civil.month, civil.day);
        let nanos = i128::from(days) * i128::from(86_400 * SECOND) + i128::from(civil.clock)
            - i128::from(offset) * i128::from(SECOND);
        Self { nanos, offset }
    }

    pub(crate) fn civil(&self) -> Civil {
        let local = self.nanos + i128::from(self.offset) * i128::from(SECOND);
        let day = i128::from(86_400 * SECOND);
        let days = i64::try_from(local.div_euclid(day)).unwrap_or_default();
        let clock = i64::try_from(local.rem_euclid(day)).unwrap_or_default();
        let (year, month, date) = date_of(days);
        Civil { year, month, day: date, clock }
    }

    /// 0 is Sunday.
    pub(crate) fn weekday(&self) -> i64 {
        let civil = self.civil();
        (days_of(civil.year, civil.month, civil.day) + 4).rem_euclid(7)
    }

    pub(crate) fn rfc3339(&self) -> String {
        layout::format("2006-01-02T15:04:05.999999999Z07:00", self)
    }

    pub(crate) fn printed(&self) -> String {
        layout::format("2006-01-02 15:04:05.999999999 -0700 MST", self)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let months = year * 12 + (month - 1);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year + day - 1 - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The English name of a month, 1 to 12.
pub(crate) fn month_name(month: i64) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or("%!Month")
}

/// The English name of a day of the week, 0 to 6.
pub(crate) fn weekday_name(day: i64) -> &'static str {
    usize::try_from(day).ok().and_then(|index| DAYS.get(index)).copied().unwrap_or("%!Weekday")
}

pub(crate) fn at<'v>(now: Timestamp) -> Value<'v> {
    Value::Time(Rc::new(Moment { nanos: now.as_nanosecond(), offset: 0 }))
}

pub(crate) fn shifted<'v>(time: &Moment, by: i64) -> Value<'v> {
    Value::Time(Rc::new(Moment { nanos: time.nanos + i128::from(by), offset: time.offset }))
}

/// The duration from `y` to `x`, cut to what a duration can hold.
pub(crate) fn between(x: &Moment, y: &Moment) -> i64 {
    let nanos = x.nanos - y.nanos;
    i64::try_from(nanos).unwrap_or(if nanos > 0 { i64::MAX } else { i64::MIN })
}

/// `timezone(name)`.
pub(crate) fn timezone<'v>(name: &str) -> Result<Value<'v>, Error> {
    match name {
        "UTC" | "" => Ok(Value::Location),
        other => Err(Error::evaluation(format!("time zone {other} is not supported")).hint("use UTC")),
    }
}

/// `date(text)`, `date(text, layout)`, `date(text, layout, zone)`, each with a zone in front.
pub(crate) fn date<'v>(arguments: &[Value<'v>]) -> Result<Value<'v>, Error> {
    let arguments = match arguments {
        [Value::Location, rest @ ..] => rest,
        all => all,
    };
    let text = |index: usize| match arguments.get(index) {
        Some(Value::Text(text)) => Ok(text),
        other => Err(super::eval::not_held(other.unwrap_or(&Value::Nil), "string")),
    };
    let value = text(0)?;
    if arguments.len() >= 2 {
        let layout = text(1)?;
        if arguments.len() == 3 {
            timezone(text(2)?)?;
        }
        return layout::parse(layout, value)
            .map(|time| Value::Time(Rc::new(time)))
            .map_err(Error::evaluation);
    }
    layout::USUAL
        .iter()
        .find_map(|layout| layout::parse(layout, value).ok())
        .map(|time| Value::Time(Rc::new(time)))
        .ok_or_else(|| Error::evaluation(format!("invalid date {}", &**value)))
}

/// What has methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Time,
    Duration,
    Month,
    Weekday,
    Location,
}

impl Owner {
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Time(_) => Some(Self::Time),
            Value::Duration(_) => Some(Self::Duration),
            Value::Int(_, Width::Month) => Some(Self::Month),
            Value::Int(_, Width::Weekday) => Some(Self::Weekday),
            Value::Location => Some(Self::Location),
            _ => None,
        }
    }

    pub(crate) fn of_type(kind: &Type) -> Option<Self> {
        match kind {
            Type::Time => Some(Self::Time),
            Type::Duration => Some(Self::Duration),
            Type::Month => Some(Self::Month),
            Type::Weekday => Some(Self::Weekday),
            Type::Location => Some(Self::Location),
            _ => None,
        }
    }
}

/// A method, by its place in [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(usize);

type Row = (Owner, &'static str, &'static [Type], Type);

/// The methods that conditions may call, with their parameters and what they give.
const METHODS: &[Row] = &[
    (Owner::Duration, "Hours", &[], Type::Float),
    (Owner::Duration, "Minutes", &[], Type::Float),
    (Owner::Duration, "Seconds", &[], Type::Float),
    (Owner::Duration, "Milliseconds", &[], Type::Int64),
    (Owner::Duration, "Microseconds", &[], Type::Int64),
    (Owner::Duration, "Nanoseconds", &[], Type::Int64),
    (Owner::Duration, "Abs", &[], Type::Duration),
    (Owner::Duration, "Truncate", &[Type::Duration], Type::Duration),
    (Owner::Duration, "String", &[], Type::Text),
    (Owner::Time, "Unix", &[], Type::Int64),
    (Owner::Time, "UnixMilli", &[], Type::Int64),
    (Owner::Time, "UnixMicro", &[], Type::Int64),
    (Owner::Time, "UnixNano", &[], Type::Int64),
    (Owner::Time, "Year", &[], Type::Int),
    (Owner::Time, "Month", &[], Type::Month),
    (Owner::Time, "Day", &[], Type::Int),
    (Owner::Time, "YearDay", &[], Type::Int),
    (Owner::Time, "Weekday", &[], Type::Weekday),
    (Owner::Time, "Hour", &[], Type::Int),
    (Owner::Time, "Minute", &[], Type::Int),
    (Owner::Time, "Second", &[], Type::Int),
    (Owner::Time, "Nanosecond", &[], Type::Int),
    (Owner::Time, "IsZero", &[], Type::Bool),
    (Owner::Time, "UTC", &[], Type::Time),
    (Owner::Time, "String", &[], Type::Text),
    (Owner::Time, "Before", &[Type::Time], Type::Bool),
    (Owner::Time, "After", &[Type::Time], Type::Bool),
    (Owner::Time, "Equal", &[Type::Time], Type::Bool),
    (Owner::Time, "Compare", &[Type::Time], Type::Int),
    (Owner::Time, "Sub", &[Type::Time], Type::Duration),
    (Owner::Time, "Add", &[Type::Duration], Type::Time),
    (Owner::Time, "AddDate", &[Type::Int, Type::Int, Type::Int], Type::Time),
    (Owner::Time, "Format", &[Type::Text], Type::Text),
    (Owner::Month, "String", &[], Type::Text),
    (Owner::Weekday, "String", &[], Type::Text),
    (Owner::Location, "String", &[], Type::Text),
];

impl Method {
    pub(crate) fn named(owner: Owner, name: &str) -> Option<Self> {
        METHODS.iter().position(|(of, known, ..)| *of == owner && *known == name).map(Self)
    }

    pub(crate) fn name(self) -> &'static str {
        METHODS.get(self.0).map_or("", |row| row.1)
    }

    /// The parameters and what it gives.
    pub(crate) fn signature(self) -> (&'static [Type], Type) {
        METHODS.get(self.0).map_or((&[], Type::Unknown), |row| (row.2, row.3.clone()))
    }
}

/// Calls a method.
///
/// # Errors
/// Arguments that do not fit.
pub(crate) fn call<'v>(method: Method, of: &Value<'v>, arguments: &[Value<'v>]) -> Result<Value<'v>, Error> {
    let (wanted, _) = method.signature();
    if arguments.len() != wanted.len() {
        let message =
            format!("invalid number of arguments: expected {}, got {}", wanted.len(), arguments.len());
        return Err(Error::evaluation(message));
    }
    let outcome = match of {
        Value::Duration(nanos) => of_duration(method.name(), *nanos, arguments),
        Value::Time(time) => of_time(method.name(), time, arguments),
        Value::Int(month, Width::Month) => Some(Value::text(month_name(*month))),
        Value::Int(day, Width::Weekday) => Some(Value::text(weekday_name(*day))),
        Value::Location => Some(Value::text("UTC")),
        _ => None,
    };
    outcome.ok_or_else(|| {
        let given = arguments.first().unwrap_or(of);
        Error::evaluation(format!("cannot call {} with {}", method.name(), given.type_name()))
    })
}

fn of_duration<'v>(name: &str, nanos: i64, arguments: &[Value<'v>]) -> Option<Value<'v>> {
    let wide = |value: i64| Value::Int(value, Width::Int64);
    // Whole units and the rest apart, as the reference does, so that the last digit agrees.
    let parts =
        |unit: i64| number::widened(nanos / unit) + number::widened(nanos % unit) / number::widened(unit);
    Some(match (name, arguments) {
        ("Hours", _) => Value::Float(parts(3600 * SECOND)),
        ("Minutes", _) => Value::Float(parts(60 * SECOND)),
        ("Seconds", _) => Value::Float(parts(SECOND)),
        ("Milliseconds", _) => wide(nanos / 1_000_000),
        ("Microseconds", _) => wide(nanos / 1_000),
        ("Nanoseconds", _) => wide(nanos),
        ("Abs", _) => Value::Duration(nanos.checked_abs().unwrap_or(i64::MAX)),
        ("String", _) => Value::text(duration_text(nanos)),
        ("Truncate", [Value::Duration(by)]) if *by <= 0 => Value::Duration(nanos),
        ("Truncate", [Value::Duration(by)]) => Value::Duration(nanos - nanos % by),
        _ => return None,
    })
}

fn of_time<'v>(name: &str, time: &Moment, arguments: &[Value<'v>]) -> Option<Value<'v>> {
    let wide = |unit: i128| {
        let value = time.nanos.div_euclid(unit);
        Value::Int(i64::try_from(value).unwrap_or_default(), Width::Int64)
    };
    let civil = time.civil();
    Some(match (name, arguments) {
        ("Unix", _) => wide(1_000_000_000),
        ("UnixMilli", _) => wide(1_000_000),
        ("UnixMicro", _) => wide(1_000),
        ("UnixNano", _) => wide(1),
        ("Year", _) => Value::int(civil.year),
        ("Month", _) => Value::Int(civil.month, Width::Month),
        ("Day", _) => Value::int(civil.day),
        ("YearDay", _) => {
            Value::int(days_of(civil.year, civil.month, civil.day) - days_of(civil.year, 1, 1) + 1)
        }
        ("Weekday", _) => Value::Int(time.weekday(), Width::Weekday),
        ("Hour", _) => Value::int(civil.clock / (3600 * SECOND)),
        ("Minute", _) => Value::int(civil.clock / (60 * SECOND) % 60),
        ("Second", _) => Value::int(civil.clock / SECOND % 60),
        ("Nanosecond", _) => Value::int(civil.clock % SECOND),
        ("IsZero", _) => {
            Value::Bool(time.nanos == i128::from(days_of(1, 1, 1)) * i128::from(86_400 * SECOND))
        }
        ("UTC", _) => Value::Time(Rc::new(Moment { nanos: time.nanos, offset: 0 })),
        ("String", _) => Value::text(time.printed()),
        ("Format", [Value::Text(layout)]) => Value::text(layout::format(layout, time)),
        ("Before", [Value::Time(other)]) => Value::Bool(time.nanos < other.nanos),
        ("After", [Value::Time(other)]) => Value::Bool(time.nanos > other.nanos),
        ("Equal", [Value::Time(other)]) => Value::Bool(time.nanos == other.nanos),
        ("Compare", [Value::Time(other)]) => Value::int(time.nanos.cmp(&other.nanos) as i64),
        ("Sub", [Value::Time(other)]) => Value::Duration(between(time, other)),
        ("Add", [Value::Duration(by)]) => shifted(time, *by),
        ("AddDate", [years, months, days]) => {
            // Bounded, so that no sum leaves the calendar.
            let part = |value: &Value<'v>| match value {
                Value::Int(value, _) if value.abs() < 1_000_000 => Some(*value),
                _ => None,
            };
            let moved = Civil {
                year: civil.year + part(years)?,
                month: civil.month + part(months)?,
                day: civil.day + part(days)?,
                clock: civil.clock,
            };
            Value::Time(Rc::new(Moment::of_civil(moved, time.offset)))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_two_ways_to_say_one_thing() {
        for (year, month, day, days) in
            [(1970, 1, 1, 0), (2000, 2, 29, 11_016), (1, 1, 1, -719_162), (2026, 11, 21, 20_778)]
        {
            assert_eq!(days_of(year, month, day), days);
            assert_eq!(date_of(days), (year, month, day));
        }
        assert_eq!(days_of(2024, 13, 1), days_of(2025, 1, 1));
    }

    #[test]
    fn durations_read_and_print_as_the_reference_does() {
        for (text, printed) in [
            ("1h", "1h0m0s"),
            ("1.5h", "1h30m0s"),
            ("-1m30s", "-1m30s"),
            ("300ms", "300ms"),
            ("1500us", "1.5ms"),
            (".5s", "500ms"),
            ("0", "0s"),
        ] {
            assert_eq!(duration_text(duration(text).unwrap()), printed, "{text}");
        }
        for text in ["", "5", "1d", "h", "1..5h", "9999999999999999999h", "1h-1m", "??"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
