//! Patterns of `matches`: RE2 syntax, translated for a linear-time engine of the same family.
//!
//! `\d`, `\w`, `\s` and `\b` are ASCII in RE2; brackets and braces that stand for themselves there are escaped.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

use super::{budget::Budget, error::Error, limits};

/// The largest count that RE2 repeats.
const REPEAT: u32 = 1000;

/// A compiled pattern that knows what it costs.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Steps for each byte of the text, by the size of the automaton.
    weight: u64,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The message, when the pattern is none or larger than the limit.
    pub(crate) fn compile(pattern: &str) -> Result<Self, String> {
        let translated = Translation { rest: pattern, out: String::new(), repeated: false }
            .run()
            .map_err(|why| format!("error parsing regexp: {why}: `{pattern}`"))?;
        // The engine does not tell how large an automaton is, so it is made under ever larger limits. A small one
        // fits the first.
        let (mut bytes, mut weight) = (limits::PATTERN_SMALL_BYTES, limits::PATTERN_WEIGHT);
        loop {
            match RegexBuilder::new(&translated).size_limit(bytes).nest_limit(100).build() {
                Ok(regex) => return Ok(Self { regex, weight }),
                Err(regex::Error::CompiledTooBig(_)) if bytes < limits::PATTERN_BYTES => {
                    bytes *= 2;
                    weight *= 2;
                }
                Err(regex::Error::CompiledTooBig(_)) => {
                    return Err(format!("error parsing regexp: expression too large: `{pattern}`"));
                }
                Err(_) => {
                    return Err(format!("error parsing regexp: invalid or unsupported syntax: `{pattern}`"));
                }
            }
        }
    }

    /// As [`Pattern::compile`], by a condition that is being evaluated.
    ///
    /// # Errors
    /// The message, or the steps are used up.
    pub(crate) fn make(pattern: &str, budget: &mut Budget) -> Result<Self, Error> {
        if pattern.len() > limits::TEXT_BYTES {
            let message = format!("pattern has {} bytes, the limit is {}", pattern.len(), limits::TEXT_BYTES);
            return Err(Error::limit(message));
        }
        budget.spend(limits::PATTERN_STEPS)?;
        let made = Self::compile(pattern).map_err(Error::evaluation)?;
        budget.spend(made.weight * 100)?;
        Ok(made)
    }

    /// True where the text has a match.
    ///
    /// # Errors
    /// When the steps are used up.
    pub(crate) fn is_match(&self, text: &str, budget: &mut Budget) -> Result<bool, Error> {
        budget.spend(self.weight.saturating_mul(text.len() as u64))?;
        Ok(self.regex.is_match(text))
    }
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
    /// True right behind a repetition: another one there is an error.
    repeated: bool,
}

impl Translation<'_> {
    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.rest.chars().next() {
            let behind_repeat = std::mem::take(&mut self.repeated);
            match c {
                '*' | '+' | '?' => {
                    self.take(c);
                    self.out.push(c);
                    self.repeat(behind_repeat)?;
                }
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' => self.brace(behind_repeat)?,
                '}' | ']' => {
                    self.take(c);
                    self.literal(c);
                }
                '(' => self.group()?,
                _ => {
                    self.take(c);
                    self.out.push(c);
                }
            }
        }
        Ok(self.out)
    }

    fn take(&mut self, c: char) {
        self.rest = &self.rest[c.len_utf8()..];
    }

    fn literal(&mut self, c: char) {
        let _ = write!(self.out, "\\x{{{:x}}}", u32::from(c));
    }

    fn group(&mut self) -> Result<(), String> {
        self.take('(');
        if let Some(rest) = self.rest.strip_prefix("?)") {
            // No flags at all, which the engine does not know.
            self.rest = rest;
            self.out.push_str("(?:)");
            return Ok(());
        }
        self.out.push('(');
        let Some(flags) = self.rest.strip_prefix('?') else {
            return Ok(());
        };
        if flags.starts_with("P<") || flags.starts_with('<') {
            return Ok(());
        }
        // Only RE2's flags: the engine knows more.
        let end = flags.find([':', ')']).unwrap_or(flags.len());
        if !flags[..end].chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
            return Err("invalid or unsupported Perl syntax".to_owned());
        }
        // The engine refuses a flag that is there twice.
        self.out.push('?');
        let from = self.out.len();
        for flag in flags[..end].chars() {
            if flag == '-' || !self.out[from..].contains(flag) {
                self.out.push(flag);
            }
        }
        self.rest = &flags[end..];
        Ok(())
    }

    /// `{2,5}` repeats; every other brace stands for itself.
    fn brace(&mut self, behind_repeat: bool) -> Result<(), String> {
        let end = self.rest.find('}');
        let counts = end.and_then(|end| counts(&self.rest[1..end]));
        let Some((end, (low, high))) = end.zip(counts) else {
            self.take('{');
            self.literal('{');
            return Ok(());
        };
        if low > REPEAT || high.is_some_and(|high| high > REPEAT || high < low) {
            return Err("invalid repeat count".to_owned());
        }
        self.out.push_str(&self.rest[..=end]);
        self.rest = &self.rest[end + 1..];
        self.repeat(behind_repeat)
    }

    /// Behind a repetition: it may be lazy, and no other may follow.
    fn repeat(&mut self, behind_repeat: bool) -> Result<(), String> {
        if behind_repeat {
            return Err("invalid nested repetition operator".to_owned());
        }
        if self.rest.starts_with('?') {
            self.take('?');
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        self.take('\\');
        let Some(c) = self.rest.chars().next() else {
            return Err("trailing backslash at end of expression".to_owned());
        };
        if c == 'Q' && !in_class {
            self.take(c);
            let end = self.rest.find("\\E");
            let (quoted, behind) = match end {
                Some(end) => (&self.rest[..end], &self.rest[end + 2..]),
                None => (self.rest, ""),
            };
            for c in quoted.chars() {
                let _ = write!(self.out, "\\x{{{:x}}}", u32::from(c));
            }
            self.rest = behind;
            return Ok(());
        }
        let ascii = match (c, in_class) {
            ('d', true) => "0-9",
            ('w', true) => "0-9A-Za-z_",
            ('s', true) => r"\t\n\x0c\r ",
            ('d', false) => "[0-9]",
            ('w', false) => "[0-9A-Za-z_]",
            ('s', false) => r"[\t\n\x0c\r ]",
            ('D', _) => "[^0-9]",
            ('W', _) => "[^0-9A-Za-z_]",
            ('S', _) => r"[^\t\n\x0c\r ]",
            ('b', false) => r"(?-u:\b)",
            ('A', false) => r"\A",
            ('z', false) => r"\z",
            ('a', _) => r"\x07",
            ('f', _) => r"\x0c",
            ('n', _) => r"\n",
            ('r', _) => r"\r",
            ('t', _) => r"\t",
            ('v', _) => r"\x0b",
            _ => return self.rarer_escape(c),
        };
        self.take(c);
        self.out.push_str(ascii);
        Ok(())
    }

    fn rarer_escape(&mut self, c: char) -> Result<(), String> {
        match c {
            'p' | 'P' => {
                let name = if self.rest[1..].starts_with('{') {
                    self.rest.find('}').map(|end| end + 1)
                } else {
                    self.rest.chars().nth(1).map(|letter| 1 + letter.len_utf8())
                };
                let end = name.ok_or("invalid character class range")?;
                self.out.push('\\');
                self.out.push_str(&self.rest[..end]);
                self.rest = &self.rest[end..];
                Ok(())
            }
            'x' => self.hexadecimal(),
            '0'..='7' => self.octal(),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                self.take(c);
                self.literal(c);
                Ok(())
            }
            _ => Err("invalid escape sequence".to_owned()),
        }
    }

    fn hexadecimal(&mut self) -> Result<(), String> {
        let (digits, used) = match self.rest[1..].strip_prefix('{') {
            Some(braced) => {
                let end = braced.find('}').ok_or("invalid escape sequence")?;
                (&braced[..end], end + 3)
            }
            None => (self.rest.get(1..3).ok_or("invalid escape sequence")?, 3),
        };
        let hex = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        if !hex {
            return Err("invalid escape sequence".to_owned());
        }
        let _ = write!(self.out, "\\x{{{digits}}}");
        self.rest = &self.rest[used..];
        Ok(())
    }

    /// A zero and up to two more octal digits; anything else would be a back reference.
    fn octal(&mut self) -> Result<(), String> {
        let count = self.rest.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if !self.rest.starts_with('0') && count < 2 {
            return Err("invalid escape sequence".to_owned());
        }
        let code = u32::from_str_radix(&self.rest[..count], 8).map_err(|_| "invalid escape sequence")?;
        let _ = write!(self.out, "\\x{{{code:x}}}");
        self.rest = &self.rest[count..];
        Ok(())
    }

    /// `[..]`: inside, brackets and doubled signs stand for themselves.
    fn class(&mut self) -> Result<(), String> {
        self.take('[');
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let c = self.rest.chars().next().ok_or("missing closing ]")?;
            match c {
                ']' if !first => {
                    self.take(c);
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.starts_with("[:") && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").map_or(self.rest.len(), |end| end + 2);
                    self.out.push_str(&self.rest[..end]);
                    self.rest = &self.rest[end..];
                }
                '\\' if self.names_a_class() => self.escape(true)?,
                _ => self.range()?,
            }
            first = false;
        }
    }

    /// One character of a class, or two with a `-` between. A `-` that is neither stands for itself.
    fn range(&mut self) -> Result<(), String> {
        self.member()?;
        if self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]") {
            self.take('-');
            self.out.push('-');
            self.member()?;
        }
        Ok(())
    }

    /// Escaped, because two of some characters mean something to the engine: `--`, `&&`, `~~`.
    fn member(&mut self) -> Result<(), String> {
        match self.rest.chars().next() {
            None => Err("missing closing ]".to_owned()),
            Some('\\') if self.names_a_class() => Err("invalid escape sequence".to_owned()),
            Some('\\') => self.escape(true),
            Some(c) => {
                self.take(c);
                self.literal(c);
                Ok(())
            }
        }
    }

    /// True for `\d` and its like.
    fn names_a_class(&self) -> bool {
        self.rest
            .strip_prefix('\\')
            .is_some_and(|name| name.starts_with(['d', 'D', 'w', 'W', 's', 'S', 'p', 'P']))
    }
}

/// The counts of a repetition: `2`, `2,` or `2,5`.
fn counts(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u32>().ok() } else { None }
    };
    match text.split_once(',') {
        None => number(text).map(|count| (count, Some(count))),
        Some((low, "")) => number(low).map(|low| (low, None)),
        Some((low, high)) => Some((number(low)?, Some(number(high)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Pattern};

    #[test]
    fn classes_are_ascii_and_odd_brackets_stand_for_themselves() {
        for (pattern, text, found) in [
            (r"^\d+$", "42", true),
            (r"^\d+$", "\u{0664}", false),
            (r"^\w+$", "caf\u{e9}", false),
            (r"a{", "a{", true),
            (r"a{,5}", "a{,5}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"[[]", "[", true),
            (r"[a&&b]", "&", true),
            (r"[]a]", "]", true),
            (r"[a-c-]", "-", true),
            (r"[a-c-e]", "-", true),
            (r"^(?)$", "", true),
            (r"^(?ii)ok$", "OK", true),
            ("\\\u{8}el", "\u{8}el", true),
            (r"[+--]", ",", true),
            (r"[a~~b]", "~", true),
            (r"[\d-z]", "-", true),
            (r"[\d.]", ".", true),
            (r"\Qa.b\E", "a.b", true),
            (r"\Qa.b\E", "axb", false),
            (r"\<", "<", true),
            (r"^(?i)ok$", "OK", true),
            (r"\bok\b", "it is ok now", true),
            (r"[[:digit:]]", "7", true),
        ] {
            let matched = Pattern::compile(pattern).unwrap().is_match(text, &mut Budget::default());
            assert_eq!(matched, Ok(found), "{pattern} on {text}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in [
            "(", "[", "a**", "*", "a{1001}", r"\1", "(?x)a", "(?=a)", r"\", "[z-a]", "[0--9]", r"[a-\d]",
            r"\Z", "a{3,2}",
        ] {
            assert!(Pattern::compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_would_take_too_much_room_is_refused() {
        assert!(Pattern::compile("((a{100}){100}){100}").is_err());
    }
}
