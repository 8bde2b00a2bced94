//! Durations as Go reads and prints them.

use super::super::{error::Error, escape::quoted, number};

/// `1h30m`, `300ms`, `-1.5h`: the reference's durations.
pub(crate) fn duration(text: &str) -> Result<i64, Error> {
    parse_duration(text).map_err(Error::evaluation)
}

fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted(text)));
        }
        let scale: u128 = unit_nanos(unit).ok_or_else(|| {
            let (unit, text) = (quoted(unit), quoted(text));
            format!("time: unknown unit {unit} in duration {text}")
        })?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = match fraction {
            "" => 0.0,
            digits => format!("0.{digits}").parse::<f64>().unwrap_or_default(),
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a unit has at most 3.6e12 nanoseconds, exact in a float"
        )]
        let part = u128::try_from(number::truncated(part * scale as f64)).unwrap_or_default();
        total =
            whole.checked_mul(scale).and_then(|nanos| nanos.checked_add(total + part)).ok_or_else(invalid)?;
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = behind;
    }
    if text.starts_with('-') {
        return Ok(i64::try_from(-total.cast_signed()).unwrap_or(i64::MIN));
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A duration as the reference prints it: `1h30m0s`, `1.5s`, `300ms`.
pub(crate) fn duration_text(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let fraction = |size: u64, unit: u64, digits: usize| {
        let text = format!("{}.{:0digits$}", size / unit, size % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if size < 1_000 {
        return format!("{sign}{size}ns");
    }
    if size < 1_000_000 {
        return format!("{sign}{}\u{b5}s", fraction(size, 1_000, 3));
    }
    if size < 1_000_000_000 {
        return format!("{sign}{}ms", fraction(size, 1_000_000, 6));
    }
    let minutes = size / 60_000_000_000;
    let seconds = fraction(size % 60_000_000_000, 1_000_000_000, 9);
    if minutes == 0 {
        return format!("{sign}{seconds}s");
    }
    if minutes < 60 {
        return format!("{sign}{minutes}m{seconds}s");
    }
    format!("{sign}{}h{}m{seconds}s", minutes / 60, minutes % 60)
}
