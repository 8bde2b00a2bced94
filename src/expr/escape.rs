//! Escapes in texts, and texts quoted for messages.

use std::{borrow::Cow, fmt::Write};

/// How many bytes the escape at the start of `rest` (behind the backslash) takes; `None` when it is none.
pub(crate) fn length(rest: &str, quote: char) -> Option<usize> {
    let first = rest.chars().next()?;
    let digits = |skip: usize, count: usize, base: u32| {
        let taken = rest.get(skip..skip + count)?;
        taken.chars().all(|c| c.is_digit(base)).then_some(skip + count)
    };
    match first {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => Some(1),
        c if c == quote => Some(1),
        '0'..='7' => digits(0, 3, 8),
        'x' => digits(1, 2, 16),
        'u' if rest.starts_with("u{") => {
            let close = rest.find('}')?;
            let count = close.checked_sub(2)?;
            let fits = (1..=6).contains(&count) && rest[2..close].chars().all(|c| c.is_ascii_hexdigit());
            fits.then_some(close + 1)
        }
        'u' => digits(1, 4, 16),
        'U' => digits(1, 8, 16),
        _ => None,
    }
}

/// What the inside of a quoted text stands for. Line ends become `\n`.
pub(crate) fn unescape(inner: &str) -> Result<Cow<'_, str>, String> {
    if !inner.contains(['\\', '\r']) {
        return Ok(inner.into());
    }
    let inner = inner.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (c, used) = escaped(rest).ok_or("unable to unescape string")?;
        out.push(c);
        rest = &rest[used..];
    }
    out.push_str(rest);
    Ok(out.into())
}

/// The character of one escape and the bytes it takes.
fn escaped(rest: &str) -> Option<(char, usize)> {
    let code = |digits: &str, base: u32, used: usize| {
        let value = u32::from_str_radix(digits, base).ok()?;
        // A lone surrogate has no character of its own.
        let c = if (0xD800..0xE000).contains(&value) { '\u{FFFD}' } else { char::from_u32(value)? };
        Some((c, used))
    };
    let simple = |c: char| Some((c, 1));
    match rest.chars().next()? {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        c @ ('\\' | '\'' | '"' | '`' | '?') => simple(c),
        '0'..='3' => code(rest.get(..3)?, 8, 3),
        'x' => code(rest.get(1..3)?, 16, 3),
        'u' if rest.starts_with("u{") => {
            let close = rest.find('}')?;
            code(rest.get(2..close)?, 16, close + 1)
        }
        'u' => code(rest.get(1..5)?, 16, 5),
        'U' => code(rest.get(1..9)?, 16, 9),
        _ => None,
    }
}

/// The text in double quotes, with everything that does not print escaped, as Go writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
