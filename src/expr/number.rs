//! Numbers as the reference reads, converts and writes them.

use std::borrow::Cow;

use super::{escape::quoted, tree::Node};

/// Why a text is no number, in the reference's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotANumber {
    Syntax,
    Range,
}

impl NotANumber {
    /// `strconv.ParseInt: parsing "abc": invalid syntax`.
    pub(crate) fn message(self, function: &str, text: &str) -> String {
        let why = match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        };
        format!("strconv.{function}: parsing {}: {why}", quoted(text))
    }
}

/// The node of a number token.
pub(crate) fn literal(token: &str) -> Result<Node, String> {
    let text = token.replace('_', "");
    let lower = text.to_ascii_lowercase();
    let based = |name: &str, prefix: &str, base: u32| {
        let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
        integer(digits, base, false)
            .map(Node::Int)
            .map_err(|e| format!("invalid {name} literal: {}", e.message("ParseInt", &text)))
    };
    if lower.starts_with("0x") {
        based("hex", "0x", 16)
    } else if lower.contains(['.', 'e']) {
        float(&text)
            .map(Node::Float)
            .map_err(|e| format!("invalid float literal: {}", e.message("ParseFloat", &text)))
    } else if lower.starts_with("0b") {
        based("binary", "0b", 2)
    } else if lower.starts_with("0o") {
        based("octal", "0o", 8)
    } else {
        based("integer", "", 10)
    }
}

/// A base-10 integer with an optional sign and nothing else.
pub(crate) fn decimal(text: &str) -> Result<i64, NotANumber> {
    integer(text, 10, true)
}

fn integer(text: &str, base: u32, signed: bool) -> Result<i64, NotANumber> {
    let digits = if signed { text.strip_prefix(['+', '-']).unwrap_or(text) } else { text };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(NotANumber::Syntax);
    }
    i64::from_str_radix(text, base).map_err(|_| NotANumber::Range)
}

/// A float in Go's syntax: decimal or hexadecimal, underscores between digits, `Inf`, `NaN`.
pub(crate) fn float(text: &str) -> Result<f64, NotANumber> {
    if let Some(special) = special(text) {
        return Ok(special);
    }
    if text.contains('_') && !underscores_fit(text) {
        return Err(NotANumber::Syntax);
    }
    let plain = if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
    let (sign, unsigned) = match plain.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let value = if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        hexadecimal(&unsigned[2..])?
    } else {
        if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err(NotANumber::Syntax);
        }
        unsigned.parse::<f64>().map_err(|_| NotANumber::Syntax)?
    };
    if value.is_infinite() { Err(NotANumber::Range) } else { Ok(sign * value) }
}

fn special(text: &str) -> Option<f64> {
    let (sign, name) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("infinity") {
        Some(sign * f64::INFINITY)
    } else if text.eq_ignore_ascii_case("nan") {
        Some(f64::NAN)
    } else {
        None
    }
}

/// Underscores must stand between digits; a base prefix counts as a digit.
fn underscores_fit(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let prefixed = ["0x", "0b", "0o"].iter().find_map(|prefix| text.strip_prefix(prefix));
    let hex = text.starts_with("0x");
    let mut before = if prefixed.is_some() { '0' } else { '^' };
    for c in prefixed.unwrap_or(&text).chars() {
        if c.is_ascii_digit() || (hex && c.is_ascii_hexdigit()) {
            before = '0';
        } else if c == '_' {
            if before != '0' {
                return false;
            }
            before = '_';
        } else {
            if before == '_' {
                return false;
            }
            before = '!';
        }
    }
    before != '_'
}

/// `1.8p-2`, behind the `0x`. The exponent is a must.
fn hexadecimal(text: &str) -> Result<f64, NotANumber> {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('p').ok_or(NotANumber::Syntax)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(NotANumber::Syntax);
    }
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.chars().all(|c| c.is_ascii_digit()) {
        return Err(NotANumber::Syntax);
    }
    // More digits than a float has bits only move the point; a few hundred are exact enough.
    let exponent: i32 =
        exponent.parse().map_or(if exponent.starts_with('-') { -100_000 } else { 100_000 }, |e| e);
    let mut value = 0.0_f64;
    for c in digits.chars() {
        value = value * 16.0 + f64::from(c.to_digit(16).unwrap_or_default());
    }
    let scale = exponent.saturating_sub(4 * i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    if value == 0.0 {
        return Ok(0.0);
    }
    // In two halves, so that neither factor overflows where the product does not.
    Ok(value * 2.0_f64.powi(scale / 2) * 2.0_f64.powi(scale - scale / 2))
}

/// A float to an integer: cut towards zero; the smallest integer where it does not fit, as the reference's
/// machine does.
pub(crate) fn truncated(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked, the cut is meant")]
        {
            value as i64
        }
    } else {
        i64::MIN
    }
}

/// An integer as a float, rounded to the nearest.
#[expect(
    clippy::cast_precision_loss,
    reason = "the reference compares and computes in floats, rounded alike"
)]
pub(crate) fn widened(value: i64) -> f64 {
    value as f64
}

/// A length as an integer of the language.
pub(crate) fn length(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The shortest text of a float, with an exponent when it is below -4 or at least `exponent_from`.
pub(crate) fn shortest(value: f64, exponent_from: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value == 0.0 || (-4..exponent_from).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A float as `%v` prints it: `1e+06`, `0.05`, `+Inf`.
pub(crate) fn printed(value: f64) -> String {
    shortest(value, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_in_gos_syntax() {
        for (text, value) in [
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1_000", 1000.0),
            ("0x1p-2", 0.25),
            ("0x_1.8p1", 3.0),
            ("+2", 2.0),
        ] {
            assert_eq!(float(text), Ok(value), "{text}");
        }
        for text in ["", "abc", "1__0", "_1", "1_", "0x1", "1e", "+nan", " 1", "infin", "1e5_"] {
            assert_eq!(float(text), Err(NotANumber::Syntax), "{text}");
        }
        assert_eq!(float("1e999"), Err(NotANumber::Range));
        assert!(float("NaN").unwrap().is_nan());
        assert_eq!(float("-inf"), Ok(f64::NEG_INFINITY));
    }

    #[test]
    fn a_float_that_fits_no_integer_becomes_the_smallest() {
        assert_eq!(truncated(-1.9), -1);
        assert_eq!(truncated(1e300), i64::MIN);
        assert_eq!(truncated(f64::NAN), i64::MIN);
    }
}
