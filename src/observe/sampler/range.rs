//! Bounds of a range query: `now()`, alone or with a duration added or taken away. Anything else is refused.

use jiff::{SignedDuration, Timestamp};

use crate::api::analysis::duration;

/// A bound as time since 1970.
///
/// # Errors
/// What cannot be read, with the field's name.
pub(super) fn bound(field: &str, text: &str, now: Timestamp) -> Result<SignedDuration, String> {
    let failed = |why: &str| format!("failed to parse rangeQuery.{field} as time: {why}");
    let rest =
        text.trim().strip_prefix("now()").ok_or_else(|| failed("it does not begin with now()"))?.trim();
    let now = now.as_duration();
    if rest.is_empty() {
        return Ok(now);
    }
    let (is_added, rest) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
        (Some(rest), _) => (true, rest.trim()),
        (None, Some(rest)) => (false, rest.trim()),
        (None, None) => return Err(failed("after now() only + or - and duration(\"...\") are understood")),
    };
    let quoted = rest.strip_prefix("duration(").and_then(|rest| rest.strip_suffix(')')).map(str::trim);
    let inner = quoted.and_then(|quoted| {
        ['"', '\'', '`'].iter().find_map(|quote| quoted.strip_prefix(*quote)?.strip_suffix(*quote))
    });
    let inner =
        inner.ok_or_else(|| failed("after now() only + or - and duration(\"...\") are understood"))?;
    let span = duration::parse(inner).map_err(|error| failed(&error))?;
    let at = if is_added { now.checked_add(span) } else { now.checked_sub(span) };
    at.ok_or_else(|| failed("it is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_now_give_or_take() {
        let now = Timestamp::from_second(10_000).unwrap();
        let seconds = |text| bound("start", text, now).map(|at| at.as_secs());
        assert_eq!(seconds("now()"), Ok(10_000));
        assert_eq!(seconds(" now() - duration(\"1h\") "), Ok(6_400));
        assert_eq!(seconds("now()+duration('30s')"), Ok(10_030));
        for wrong in [
            "",
            "yesterday",
            "now() duration(\"1h\")",
            "now() - 1h",
            "now() - duration(1h)",
            "now() - duration(\"x\")",
        ] {
            assert!(
                seconds(wrong).unwrap_err().starts_with("failed to parse rangeQuery.start as time: "),
                "{wrong}"
            );
        }
    }
}
