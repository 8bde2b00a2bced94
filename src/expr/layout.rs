//! Times read and written by a layout: an example of the reference time, Mon Jan 2 15:04:05 MST 2006.

use std::fmt::Write;

use super::{
    escape::quoted,
    moment::{Civil, Moment, month_name, weekday_name},
};

/// What `date` tries on a text without a layout, in this order.
pub(crate) const USUAL: &[&str] = &[
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
];

/// A part of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    LongMonth,
    Month,
    NumberMonth { padded: bool },
    LongWeekday,
    Weekday,
    Day { pad: Option<char> },
    YearDay,
    Hour,
    Hour12 { padded: bool },
    Minute { padded: bool },
    Second { padded: bool },
    LongYear,
    Year,
    Meridiem { upper: bool },
    Zone,
    Offset { z: bool, colon: bool, hours_only: bool },
    Fraction { digits: usize, optional: bool },
}

/// The longest first where one begins another.
const PARTS: &[(&str, Part)] = &[
    ("January", Part::LongMonth),
    ("Jan", Part::Month),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::Weekday),
    ("MST", Part::Zone),
    ("2006", Part::LongYear),
    ("002", Part::YearDay),
    ("01", Part::NumberMonth { padded: true }),
    ("02", Part::Day { pad: Some('0') }),
    ("03", Part::Hour12 { padded: true }),
    ("04", Part::Minute { padded: true }),
    ("05", Part::Second { padded: true }),
    ("06", Part::Year),
    ("15", Part::Hour),
    ("_2", Part::Day { pad: Some(' ') }),
    ("1", Part::NumberMonth { padded: false }),
    ("2", Part::Day { pad: None }),
    ("3", Part::Hour12 { padded: false }),
    ("4", Part::Minute { padded: false }),
    ("5", Part::Second { padded: false }),
    ("PM", Part::Meridiem { upper: true }),
    ("pm", Part::Meridiem { upper: false }),
    ("-07:00", Part::Offset { z: false, colon: true, hours_only: false }),
    ("-0700", Part::Offset { z: false, colon: false, hours_only: false }),
    ("-07", Part::Offset { z: false, colon: false, hours_only: true }),
    ("Z07:00", Part::Offset { z: true, colon: true, hours_only: false }),
    ("Z0700", Part::Offset { z: true, colon: false, hours_only: false }),
    ("Z07", Part::Offset { z: true, colon: false, hours_only: true }),
];

/// The part that a layout begins with, and its length.
fn part(layout: &str) -> Option<(Part, usize)> {
    if let Some(digits) = layout.strip_prefix(['.', ',']) {
        for kind in ['0', '9'] {
            let count = digits.chars().take_while(|c| *c == kind).count();
            let ends = !digits[count..].starts_with(|c: char| c.is_ascii_digit());
            if count > 0 && ends {
                return Some((Part::Fraction { digits: count, optional: kind == '9' }, count + 1));
            }
        }
        return None;
    }
    let (name, part) = PARTS.iter().find(|(name, _)| layout.starts_with(name))?;
    let month_in_word = *name == "Jan" && layout[3..].starts_with(|c: char| c.is_ascii_lowercase());
    if month_in_word || (*name == "Mon" && layout[3..].starts_with(|c: char| c.is_ascii_lowercase())) {
        return None;
    }
    Some((*part, name.len()))
}

/// Writes a time by a layout.
pub(crate) fn format(layout: &str, time: &Moment) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        match part(rest) {
            Some((part, length)) => {
                write_part(part, time, &mut out);
                rest = &rest[length..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn write_part(part: Part, time: &Moment, out: &mut String) {
    let civil = time.civil();
    let seconds = civil.clock / 1_000_000_000;
    let hour12 = if seconds / 3600 % 12 == 0 { 12 } else { seconds / 3600 % 12 };
    let two = |value: i64, padded: bool| if padded { format!("{value:02}") } else { value.to_string() };
    let text = match part {
        Part::LongMonth => month_name(civil.month).to_owned(),
        Part::Month => month_name(civil.month).chars().take(3).collect(),
        Part::NumberMonth { padded } => two(civil.month, padded),
        Part::LongWeekday => weekday_name(time.weekday()).to_owned(),
        Part::Weekday => weekday_name(time.weekday()).chars().take(3).collect(),
        Part::Day { pad: Some(' ') } => format!("{:2}", civil.day),
        Part::Day { pad } => two(civil.day, pad.is_some()),
        Part::YearDay => {
            let first = Moment::of_civil(Civil { month: 1, day: 1, ..civil }, time.offset);
            format!("{:03}", (time.nanos - first.nanos) / 86_400_000_000_000 + 1)
        }
        Part::Hour => two(seconds / 3600, true),
        Part::Hour12 { padded } => two(hour12, padded),
        Part::Minute { padded } => two(seconds / 60 % 60, padded),
        Part::Second { padded } => two(seconds % 60, padded),
        Part::LongYear => format!("{:04}", civil.year),
        Part::Year => two(civil.year.rem_euclid(100), true),
        Part::Meridiem { upper } => {
            let text = if seconds / 3600 >= 12 { "PM" } else { "AM" };
            if upper { text.to_owned() } else { text.to_lowercase() }
        }
        Part::Zone if time.offset == 0 => "UTC".to_owned(),
        Part::Zone => written_offset(time.offset, false, time.offset % 3600 == 0),
        Part::Offset { z: true, .. } if time.offset == 0 => "Z".to_owned(),
        Part::Offset { colon, hours_only, .. } => written_offset(time.offset, colon, hours_only),
        Part::Fraction { digits, optional } => fraction(civil.clock % 1_000_000_000, digits, optional),
    };
    out.push_str(&text);
}

fn written_offset(offset: i32, colon: bool, hours_only: bool) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    let mut out = format!("{sign}{:02}", minutes / 60);
    if !hours_only {
        let _ = write!(out, "{}{:02}", if colon { ":" } else { "" }, minutes % 60);
    }
    out
}

fn fraction(nanos: i64, digits: usize, optional: bool) -> String {
    let text: String = format!("{nanos:09}").chars().take(digits).collect();
    let text = if optional { text.trim_end_matches('0') } else { &text };
    if text.is_empty() { String::new() } else { format!(".{text}") }
}

/// What has been read of a time so far.
struct Reading {
    civil: Civil,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    afternoon: Option<bool>,
    year_day: Option<i64>,
    offset: i32,
}

/// Reads a time by a layout; UTC where the text names no other offset.
///
/// # Errors
/// The message of the reference, with the part that did not fit.
pub(crate) fn parse(layout: &str, value: &str) -> Result<Moment, String> {
    let mut reading = Reading {
        civil: Civil { year: 0, month: 1, day: 1, clock: 0 },
        hour: 0,
        minute: 0,
        second: 0,
        nanos: 0,
        afternoon: None,
        year_day: None,
        offset: 0,
    };
    let complaint = |what: &str| format!("parsing time {} as {}: {what}", quoted(value), quoted(layout));
    let mut format = layout;
    let mut rest = value;
    while let Some(c) = format.chars().next() {
        match part(format) {
            Some((part, length)) => {
                let element = &format[..length];
                let cannot = || complaint(&format!("cannot parse {} as {}", quoted(rest), quoted(element)));
                let next_is_fraction =
                    matches!(self::part(&format[length..]), Some((Part::Fraction { .. }, _)));
                rest = reading.read(part, rest, next_is_fraction).ok_or_else(cannot)?;
                format = &format[length..];
            }
            None => {
                rest = rest.strip_prefix(c).ok_or_else(|| {
                    complaint(&format!("cannot parse {} as {}", quoted(rest), quoted(&c.to_string())))
                })?;
                format = &format[c.len_utf8()..];
            }
        }
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {}: extra text: {}", quoted(value), quoted(rest)));
    }
    reading.finish().ok_or_else(|| format!("parsing time {}: day out of range", quoted(value)))
}

/// A number of `least` to `most` digits at the start of a text, and what follows it.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

fn two(text: &str, padded: bool) -> Option<(i64, &str)> {
    digits(text, if padded { 2 } else { 1 }, 2)
}

/// The index of the name that a text begins with.
fn named(text: &str, names: impl Iterator<Item = String>) -> Option<(i64, &str)> {
    for (index, name) in names.enumerate() {
        if text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(&name)) {
            return Some((i64::try_from(index).unwrap_or_default(), &text[name.len()..]));
        }
    }
    None
}

impl Reading {
    fn read<'a>(&mut self, part: Part, text: &'a str, fraction_follows: bool) -> Option<&'a str> {
        let short = |name: &str| name.chars().take(3).collect::<String>();
        let (value, rest) = match part {
            Part::LongMonth => {
                named(text, (1..=12).map(|m| month_name(m).to_owned())).map(|(m, r)| (m + 1, r))?
            }
            Part::Month => named(text, (1..=12).map(|m| short(month_name(m)))).map(|(m, r)| (m + 1, r))?,
            Part::LongWeekday => named(text, (0..7).map(|d| weekday_name(d).to_owned()))?,
            Part::Weekday => named(text, (0..7).map(|d| short(weekday_name(d))))?,
            Part::NumberMonth { padded } | Part::Hour12 { padded } => two(text, padded)?,
            Part::Minute { padded } | Part::Second { padded } => two(text, padded)?,
            Part::Day { pad: Some(' ') } => two(text.strip_prefix(' ').unwrap_or(text), false)?,
            Part::Day { pad } => two(text, pad.is_some())?,
            Part::YearDay => digits(text, 3, 3)?,
            Part::Hour => two(text, false)?,
            Part::LongYear => digits(text, 4, 4)?,
            Part::Year => digits(text, 2, 2)?,
            Part::Meridiem { upper } => {
                let names = if upper { ["AM", "PM"] } else { ["am", "pm"] };
                let index = names.iter().position(|name| text.starts_with(name))?;
                (i64::try_from(index).ok()?, &text[2..])
            }
            Part::Zone => return self.zone(text),
            Part::Offset { z, colon, hours_only } => return self.offset(text, z, colon, hours_only),
            Part::Fraction { digits, optional } => return self.fraction(text, digits, optional),
        };
        self.set(part, value)?;
        if matches!(part, Part::Second { .. }) && !fraction_follows && rest.starts_with(['.', ',']) {
            // A fraction may follow the seconds even where the layout has none.
            return Some(self.fraction(rest, 0, true).unwrap_or(rest));
        }
        Some(rest)
    }

    fn set(&mut self, part: Part, value: i64) -> Option<()> {
        let (place, least, most) = match part {
            Part::LongMonth | Part::Month | Part::NumberMonth { .. } => (&mut self.civil.month, 1, 12),
            Part::Day { .. } => (&mut self.civil.day, 0, 99),
            Part::Hour => (&mut self.hour, 0, 23),
            Part::Hour12 { .. } => (&mut self.hour, 0, 12),
            Part::Minute { .. } => (&mut self.minute, 0, 59),
            Part::Second { .. } => (&mut self.second, 0, 59),
            Part::LongYear => (&mut self.civil.year, 0, 9999),
            Part::Year => {
                self.civil.year = if value >= 69 { 1900 + value } else { 2000 + value };
                return Some(());
            }
            Part::YearDay => {
                self.year_day = Some(value);
                return Some(());
            }
            Part::Meridiem { .. } => {
                self.afternoon = Some(value == 1);
                return Some(());
            }
            _ => return Some(()),
        };
        if !(least..=most).contains(&value) {
            return None;
        }
        *place = value;
        Some(())
    }

    /// An abbreviation of three or four capitals. Only UTC and GMT are known; others count as UTC, as in the
    /// reference.
    fn zone<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix("UTC") {
            return Some(rest);
        }
        let capitals = text.bytes().take_while(u8::is_ascii_uppercase).count();
        match capitals {
            3 => Some(&text[3..]),
            4 if text[..4].ends_with('T') => Some(&text[4..]),
            5 if text[..5].ends_with("ST") => Some(&text[5..]),
            _ => None,
        }
    }

    fn offset<'a>(&mut self, text: &'a str, z: bool, colon: bool, hours_only: bool) -> Option<&'a str> {
        if z && let Some(rest) = text.strip_prefix('Z') {
            return Some(rest);
        }
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let (hours, mut rest) = digits(&text[1..], 2, 2)?;
        let mut minutes = 0;
        if !hours_only {
            if colon {
                rest = rest.strip_prefix(':')?;
            }
            (minutes, rest) = digits(rest, 2, 2)?;
        }
        if hours > 24 || minutes > 60 {
            return None;
        }
        self.offset = i32::try_from(sign * (hours * 3600 + minutes * 60)).ok()?;
        Some(rest)
    }

    /// `.123`: exactly `digits` of them, or as many as there are.
    fn fraction<'a>(&mut self, text: &'a str, digits: usize, optional: bool) -> Option<&'a str> {
        let Some(rest) = text.strip_prefix(['.', ',']) else {
            return if optional { Some(text) } else { None };
        };
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let wanted = if optional { count } else { digits };
        if count < wanted || wanted == 0 {
            return if optional { Some(text) } else { None };
        }
        let shown: String = rest[..wanted].chars().chain("000000000".chars()).take(9).collect();
        self.nanos = shown.parse().ok()?;
        Some(&rest[wanted..])
    }

    fn finish(mut self) -> Option<Moment> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            Some(_) | None => {}
        }
        let clock = ((self.hour * 60 + self.minute) * 60 + self.second) * 1_000_000_000 + self.nanos;
        let mut civil = Civil { clock, ..self.civil };
        if let Some(day) = self.year_day {
            civil = Civil { month: 1, day, ..civil };
        }
        let moment = Moment::of_civil(civil, self.offset);
        let exact = self.year_day.is_some() || moment.civil() == civil;
        (exact && civil.day > 0).then_some(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_dates_are_read_and_written_back() {
        for (text, printed) in [
            ("2023-08-14", "2023-08-14T00:00:00Z"),
            ("2023-08-14 01:02:03", "2023-08-14T01:02:03Z"),
            ("2023-08-14T01:02:03.5+02:00", "2023-08-14T01:02:03.5+02:00"),
            ("02 Jan 06 15:04 UTC", "2006-01-02T15:04:00Z"),
            ("Mon, 02 Jan 2006 15:04:05 GMT", "2006-01-02T15:04:05Z"),
            ("15:04:05", "0000-01-01T15:04:05Z"),
        ] {
            let time = USUAL.iter().find_map(|layout| parse(layout, text).ok()).unwrap();
            assert_eq!(time.rfc3339(), printed, "{text}");
        }
        for text in ["", "2023-02-30", "2023-13-01", "2023-08-14x", "yesterday"] {
            assert!(USUAL.iter().all(|layout| parse(layout, text).is_err()), "{text}");
        }
    }

    #[test]
    fn a_text_that_does_not_fit_says_where() {
        assert_eq!(
            parse("2006-01-02", "2023/08").unwrap_err(),
            "parsing time \"2023/08\" as \"2006-01-02\": cannot parse \"/08\" as \"-\""
        );
    }
}
