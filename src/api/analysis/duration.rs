//! Durations as Go writes them: `300ms`, `1.5h`, `2h45m`. No I/O.

use go_duration::GoDurationParseError;
use jiff::SignedDuration;

/// Parses a Go duration. There are no days; a sign is allowed; `"0"` needs no unit.
///
/// # Errors
/// Go's own text, for instance `time: unknown unit "d" in duration "1d"`.
pub fn parse(text: &str) -> Result<SignedDuration, String> {
    // The one form without a unit that Go takes and the crate does not.
    if matches!(text, "0" | "+0" | "-0") {
        return Ok(SignedDuration::ZERO);
    }
    match go_duration::parse_go_duration(text) {
        Ok(duration) => Ok(SignedDuration::from_nanos(duration.nanoseconds())),
        Err(GoDurationParseError::MissingUnit) => {
            Err(format!("time: missing unit in duration {}", quoted(text)))
        }
        Err(GoDurationParseError::UnknownUnit(unit)) => {
            Err(format!("time: unknown unit {} in duration {}", quoted(&unit), quoted(text)))
        }
        Err(GoDurationParseError::InvalidDuration) => Err(format!("time: invalid duration {}", quoted(text))),
    }
}

/// Go's quotes for these errors: every byte outside printable ASCII becomes `\xHH`.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_grammar_of_go() {
        for (text, milliseconds) in [
            ("0", 0),
            ("-0", 0),
            ("300ms", 300),
            ("1.5h", 5_400_000),
            ("2h45m", 9_900_000),
            (".5s", 500),
            ("-10s", -10_000),
            ("1m1m", 120_000),
        ] {
            assert_eq!(parse(text), Ok(SignedDuration::from_millis(milliseconds)), "{text}");
        }
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("60s-typo", "time: unknown unit \"s-typo\" in duration \"60s-typo\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("99999999999999999999h", "time: invalid duration \"99999999999999999999h\""),
            ("\u{b5}", "time: invalid duration \"\\xc2\\xb5\""),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()), "{text}");
        }
        assert_eq!(parse("1\u{b5}s"), Ok(SignedDuration::from_micros(1)));
        assert!(parse("5m.99999999999999999999").is_err());
    }
}
