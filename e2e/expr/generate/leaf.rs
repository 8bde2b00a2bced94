//! What an expression ends in: literals, and parts of the result at hand.

use serde_json::Value;

use super::{Generator, Want};
use crate::sketch::Sketch;

impl Generator<'_> {
    pub(super) fn leaf(&mut self, want: Want) -> Sketch {
        if self.rng.one_in(7) {
            return self.from_result();
        }
        if self.rng.one_in(2)
            && let Some(fitting) = self.fitting(want)
        {
            return Sketch::text(fitting);
        }
        let text = match want {
            Want::Bool => (*self.rng.pick(&["true", "false", "result.ok", "nil"])).to_owned(),
            Want::Number => self.number_literal(),
            Want::Text => self.text_literal(),
            Want::List => {
                let items =
                    ["[]", "[1, 2]", "[1.5, 0.0]", "['a', 'b']", "1..3", "[1, 'a', nil]", "[[1], [2]]"];
                (*self.rng.pick(&items)).to_owned()
            }
            Want::Map => (*self.rng.pick(&["{}", "{a: 1}", "{'a': 'x', b: [1]}", "{x: nil}"])).to_owned(),
            Want::Time => {
                let times = [
                    "now()",
                    "date('2023-08-14')",
                    "duration('1h30m')",
                    "duration('300ms')",
                    "date('2023-08-14T01:02:03Z')",
                ];
                (*self.rng.pick(&times)).to_owned()
            }
        };
        Sketch::text(text)
    }

    /// A part of this very result that comes to `want`.
    pub(super) fn fitting(&mut self, want: Want) -> Option<String> {
        let mut all = vec![];
        if self.open > 0 && want == Want::Number {
            all.push("#".to_owned());
        }
        paths(self.result, "result", self.kind, want, 0, &mut all);
        if all.is_empty() { None } else { Some(self.rng.pick(&all).clone()) }
    }

    pub(super) fn from_result(&mut self) -> Sketch {
        let field = self.field();
        let index = *self.rng.pick(&["0", "0", "0", "1", "-1", "2", "5", "1.0", "'a'"]);
        let text = match self.rng.below(18) {
            0..=2 => "result".to_owned(),
            3..=5 => format!("result[{index}]"),
            6..=7 => format!("result.{field}"),
            8 => format!("result?.{field}"),
            9 => format!("result.{field}?.x"),
            10 => format!("result['{field}']"),
            11 => format!("result[0].{field}"),
            12 => format!("result.{field}[{index}]"),
            13 if self.variables > 0 => "v1".to_owned(),
            14 => "$env.result".to_owned(),
            15..=17 if self.open > 0 => {
                (*self.rng.pick(&["#", "#", "#.a", ".a", ".value", ".ok", "#index", "#acc"])).to_owned()
            }
            _ => "result".to_owned(),
        };
        Sketch::text(text)
    }

    pub(super) fn field(&mut self) -> &'static str {
        *self.rng.pick(&["a", "a", "b", "s", "list", "m", "nul", "value", "ok", "missing", "count"])
    }

    pub(super) fn order(&mut self) -> &'static str {
        *self.rng.pick(&["<", ">", "<=", ">=", "==", "!="])
    }

    pub(super) fn number_literal(&mut self) -> String {
        let all = [
            "0",
            "1",
            "2",
            "3",
            "5",
            "10",
            "0.05",
            "0.95",
            "1.0",
            "2.5",
            "-1",
            "1e3",
            "0x10",
            "1_000",
            ".5",
            "100",
            "0.0",
            "-0.5",
            "9007199254740993",
            "0b11",
            "0o17",
            "1e-3",
        ];
        (*self.rng.pick(&all)).to_owned()
    }

    /// A pattern for `matches`, quoted: one that people write, or pieces of the syntax in any order.
    pub(super) fn pattern(&mut self) -> String {
        if self.rng.one_in(2) {
            let all =
                ["'^a'", "'[0-9]+'", "'.'", "'('", "'a|b'", "'\\\\d'", "''", "'^(a|hello)$'", "'(?i)HELLO'"];
            return (*self.rng.pick(&all)).to_owned();
        }
        let pieces = [
            "a",
            "b",
            "1",
            "-",
            "[",
            "]",
            "[^",
            r"\\d",
            r"\\w",
            r"\\S",
            r"\\b",
            ".",
            "*",
            "+",
            "?",
            "{2}",
            "{1,3}",
            "{,2}",
            "|",
            "(",
            ")",
            "(?:",
            "(?i)",
            "^",
            "$",
            "0-9",
            "a-e",
            "--",
            "&&",
            "~~",
            "[:alpha:]",
            r"\\-",
            r"\\.",
            r"\\x41",
            r"\\pL",
            r"\\Q",
            r"\\E",
            "{",
            "}",
            " ",
            "[a-e]",
            "[^0-9]",
            "(a|b)",
            "[a-e-]",
            "^.*",
            "el",
        ];
        let count = 1 + self.rng.below(6);
        let pattern: String = (0..count).map(|_| *self.rng.pick(&pieces)).collect();
        format!("'{pattern}'")
    }

    pub(super) fn text_literal(&mut self) -> String {
        let all = [
            "'a'",
            "\"a\"",
            "''",
            "'b'",
            "'hello'",
            "'1'",
            "'1.5'",
            "'true'",
            "'NaN'",
            "' a '",
            "'a,b'",
            "\"it's\"",
            "'\\u0041'",
            "`raw`",
            "'\u{65e5}\u{672c}'",
            "'A'",
            "'2023-08-14'",
            "'1h'",
            "'{\"a\":1}'",
            "'[1,2]'",
        ];
        (*self.rng.pick(&all)).to_owned()
    }
}

/// The ways into a value that come to `want`.
fn paths(value: &Value, path: &str, kind: &str, want: Want, depth: usize, into: &mut Vec<String>) {
    let special = matches!(value.as_str(), Some("NaN" | "+Inf" | "-Inf")) && kind.starts_with("float");
    let fits = match want {
        Want::Bool => value.is_boolean(),
        Want::Number => value.is_number() || special,
        Want::Text => value.is_string() && !special,
        Want::List => value.is_array(),
        Want::Map => value.is_object(),
        Want::Time => false,
    };
    if fits {
        into.push(path.to_owned());
    }
    if depth > 2 {
        return;
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate().take(2) {
                paths(item, &format!("{path}[{index}]"), kind, want, depth + 1, into);
            }
        }
        Value::Object(object) => {
            for (name, item) in object {
                paths(item, &format!("{path}.{name}"), kind, want, depth + 1, into);
            }
        }
        _ => {}
    }
}
