//! Conditions and results at random, weighted to what people write, then everything else.

use serde_json::Value;

use crate::rng::Rng;

/// A condition as a tree, so that it can be shrunk.
#[derive(Clone, Debug)]
pub struct Sketch {
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub enum Part {
    Text(String),
    Child(Sketch),
}

impl Sketch {
    pub fn text(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// A template in which each `~` stands for the next child.
    fn of(template: &str, children: Vec<Sketch>) -> Self {
        let mut parts = vec![];
        let mut children = children.into_iter();
        for (index, text) in template.split('~').enumerate() {
            if index > 0 {
                parts.extend(children.next().map(Part::Child));
            }
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
        }
        Self { parts }
    }

    pub fn print(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Child(child) => child.print(),
            })
            .collect()
    }

    /// Every sketch that is this one with one part made simpler, the simplest first.
    pub fn simpler(&self) -> Vec<Sketch> {
        let mut all = vec![];
        for part in &self.parts {
            if let Part::Child(child) = part {
                all.push(child.clone());
            }
        }
        if self.parts.len() > 1 || !matches!(&self.parts[0], Part::Text(text) if text.len() <= 6) {
            for plain in ["true", "1", "nil", "result", "#", "'a'", "[]"] {
                all.push(Self::text(plain));
            }
        }
        for (index, part) in self.parts.iter().enumerate() {
            if let Part::Child(child) = part {
                for simpler in child.simpler() {
                    let mut parts = self.parts.clone();
                    parts[index] = Part::Child(simpler);
                    all.push(Self { parts });
                }
            }
        }
        all
    }
}

/// What an expression should come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Bool,
    Number,
    Text,
    List,
    Map,
    Time,
}

const WANTS: &[Want] = &[Want::Bool, Want::Number, Want::Number, Want::Text, Want::List, Want::Map, Want::Time];

pub struct Generator<'a> {
    rng: &'a mut Rng,
    /// The type of the result that the condition is for, and the result.
    kind: &'a str,
    result: &'a Value,
    /// How many predicates are open.
    open: usize,
    variables: usize,
}

impl<'a> Generator<'a> {
    pub fn new(rng: &'a mut Rng, kind: &'a str, result: &'a Value) -> Self {
        Self { rng, kind, result, open: 0, variables: 0 }
    }

    /// A whole condition.
    pub fn condition(&mut self) -> Sketch {
        if self.rng.one_in(3) {
            return self.usual();
        }
        let depth = 1 + self.rng.below(4);
        match self.rng.below(30) {
            0 => self.any(depth),
            1 => {
                let value = self.any(depth - 1);
                self.variables += 1;
                let body = self.want(Want::Bool, depth);
                self.variables -= 1;
                Sketch::of("let v1 = ~; ~", vec![value, body])
            }
            2 => Sketch::of("~; ~", vec![self.any(depth - 1), self.want(Want::Bool, depth)]),
            _ => self.want(Want::Bool, depth),
        }
    }

    /// The shapes of the wild.
    fn usual(&mut self) -> Sketch {
        let order = self.order();
        let number = self.number_literal();
        let all = 0..26;
        let choices: Vec<usize> = match self.kind {
            _ if self.rng.one_in(4) => all.collect(),
            "float" | "int" => vec![5, 6, 7, 11, 14, 19, 20, 23],
            "floats" => vec![0, 1, 2, 3, 8, 9, 10, 12, 13, 21, 22, 25],
            "json" => vec![15, 16, 17, 24],
            "string" => vec![18, 19],
            "nil" | "nilptr" => vec![14, 20, 23],
            _ => all.collect(),
        };
        let choice = *self.rng.pick(&choices);
        let template = match choice {
            0..=4 => format!("result[0] {order} {number}"),
            5..=7 => format!("result {order} {number}"),
            8 => format!("len(result) == 0 || result[0] {order} {number}"),
            9 => format!("len(result) > 0 && result[0] {order} {number}"),
            10 => format!("isNaN(result[0]) || result[0] {order} {number}"),
            11 => format!("isNaN(result) || result {order} {number}"),
            12 => format!("all(result, # {order} {number})"),
            13 => format!("any(result, {{# {order} {number}}})"),
            14 => format!("default(result, 0) {order} {number}"),
            15 => format!("result.{} {order} {number}", self.field()),
            16 => format!("result.ok && result.{} {order} {number}", self.field()),
            17 => format!("result['{}'] == {}", self.field(), self.text_literal()),
            18 => format!("result == {}", self.text_literal()),
            19 => format!("asFloat(result) {order} {number}"),
            20 => format!("(result ?? 0) {order} {number}"),
            21 => format!("max(result) {order} {number}"),
            22 => format!("sum(result) / len(result) {order} {number}"),
            23 => format!("isNil(result) || result {order} {number}"),
            24 => format!("all(result.list, {{.value {order} {number}}})"),
            _ => format!("len(filter(result, # {order} {number})) {order} {number}"),
        };
        Sketch::text(template)
    }

    fn any(&mut self, depth: usize) -> Sketch {
        let want = *self.rng.pick(WANTS);
        self.want(want, depth)
    }

    /// An expression that should come to `want`; now and then another.
    fn want(&mut self, want: Want, depth: usize) -> Sketch {
        let want = if self.rng.one_in(24) { *self.rng.pick(WANTS) } else { want };
        if depth == 0 || self.rng.one_in(8) {
            return self.leaf(want);
        }
        if self.rng.one_in(9) {
            return self.anywhere(want, depth - 1);
        }
        match want {
            Want::Bool => self.boolean(depth - 1),
            Want::Number => self.number(depth - 1),
            Want::Text => self.text(depth - 1),
            Want::List => self.list(depth - 1),
            Want::Map => self.map(depth - 1),
            Want::Time => self.time(depth - 1),
        }
    }

    fn leaf(&mut self, want: Want) -> Sketch {
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
                let items = ["[]", "[1, 2]", "[1.5, 0.0]", "['a', 'b']", "1..3", "[1, 'a', nil]", "[[1], [2]]"];
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
    fn fitting(&mut self, want: Want) -> Option<String> {
        let mut all = vec![];
        if self.open > 0 && want == Want::Number {
            all.push("#".to_owned());
        }
        paths(self.result, "result", self.kind, want, 0, &mut all);
        if all.is_empty() { None } else { Some(self.rng.pick(&all).clone()) }
    }

    fn from_result(&mut self) -> Sketch {
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
            15..=17 if self.open > 0 => (*self.rng.pick(&["#", "#", "#.a", ".a", ".value", ".ok", "#index", "#acc"])).to_owned(),
            _ => "result".to_owned(),
        };
        Sketch::text(text)
    }

    fn field(&mut self) -> &'static str {
        *self.rng.pick(&["a", "a", "b", "s", "list", "m", "nul", "value", "ok", "missing", "count"])
    }

    fn order(&mut self) -> &'static str {
        *self.rng.pick(&["<", ">", "<=", ">=", "==", "!="])
    }

    fn number_literal(&mut self) -> String {
        let all = [
            "0", "1", "2", "3", "5", "10", "0.05", "0.95", "1.0", "2.5", "-1", "1e3", "0x10", "1_000", ".5", "100",
            "0.0", "-0.5", "9007199254740993", "0b11", "0o17", "1e-3",
        ];
        (*self.rng.pick(&all)).to_owned()
    }

    fn text_literal(&mut self) -> String {
        let all = [
            "'a'", "\"a\"", "''", "'b'", "'hello'", "'1'", "'1.5'", "'true'", "'NaN'", "' a '", "'a,b'", "\"it's\"",
            "'\\u0041'", "`raw`", "'\u{65e5}\u{672c}'", "'A'", "'2023-08-14'", "'1h'", "'{\"a\":1}'", "'[1,2]'",
        ];
        (*self.rng.pick(&all)).to_owned()
    }

    /// Forms that come to whatever their parts come to.
    fn anywhere(&mut self, want: Want, depth: usize) -> Sketch {
        match self.rng.below(9) {
            0 => Sketch::of("(~)", vec![self.want(want, depth)]),
            1 => {
                let parts = vec![self.want(Want::Bool, depth), self.want(want, depth), self.want(want, depth)];
                Sketch::of("(~ ? ~ : ~)", parts)
            }
            2 => {
                let parts = vec![self.want(Want::Bool, depth), self.want(want, depth), self.want(want, depth)];
                Sketch::of("(if ~ { ~ } else { ~ })", parts)
            }
            3 => Sketch::of("(~ ?? ~)", vec![self.want(want, depth), self.want(want, depth)]),
            4 => Sketch::of("default(~, ~)", vec![self.any(depth), self.want(want, depth)]),
            5 => Sketch::of("get(~, ~)", vec![self.want(Want::List, depth), self.want(Want::Number, depth)]),
            6 => Sketch::of("(~)[~]", vec![self.want(Want::List, depth), self.want(Want::Number, depth)]),
            7 => {
                let field = self.field();
                let dot = *self.rng.pick(&[".", "?.", "."]);
                Sketch::of(&format!("(~){dot}{field}"), vec![self.want(Want::Map, depth)])
            }
            _ => {
                let name = *self.rng.pick(&["first", "last", "find", "findLast", "max", "min", "reduce"]);
                self.over_list(name, want, depth)
            }
        }
    }

    /// A function over a list, with a predicate where it takes one, sometimes through a pipe.
    fn over_list(&mut self, name: &str, yields: Want, depth: usize) -> Sketch {
        let list = self.want(Want::List, depth);
        let takes_predicate = matches!(
            name,
            "all" | "any" | "none" | "one" | "filter" | "map" | "count" | "find" | "findIndex" | "findLast"
                | "findLastIndex" | "groupBy" | "sortBy" | "reduce"
        ) || (name == "sum" && self.rng.one_in(2));
        if !takes_predicate {
            let template = if self.rng.one_in(6) { format!("(~ | {name}())") } else { format!("{name}(~)") };
            return Sketch::of(&template, vec![list]);
        }
        self.open += 1;
        let predicate = match name {
            "map" | "sum" | "reduce" | "groupBy" | "sortBy" => self.want(yields, depth.min(2)),
            _ => self.want(Want::Bool, depth.min(2)),
        };
        self.open -= 1;
        let braces = self.rng.one_in(2);
        let body = if braces { "{~}" } else { "~" };
        let third = match name {
            "reduce" if self.rng.one_in(2) => ", 0",
            "sortBy" if self.rng.one_in(3) => ", 'desc'",
            _ => "",
        };
        let template = if self.rng.one_in(6) {
            format!("(~ | {name}({body}{third}))")
        } else {
            format!("{name}(~, {body}{third})")
        };
        Sketch::of(&template, vec![list, predicate])
    }

    fn boolean(&mut self, depth: usize) -> Sketch {
        match self.rng.below(24) {
            0..=4 => {
                let order = self.order();
                let parts = vec![self.want(Want::Number, depth), self.want(Want::Number, depth)];
                Sketch::of(&format!("~ {order} ~"), parts)
            }
            5..=7 => {
                let sign = *self.rng.pick(&["&&", "||", "and", "or"]);
                let parts = vec![self.want(Want::Bool, depth), self.want(Want::Bool, depth)];
                Sketch::of(&format!("~ {sign} ~"), parts)
            }
            8 => Sketch::of("!(~)", vec![self.want(Want::Bool, depth)]),
            9 => Sketch::of("not ~", vec![self.want(Want::Bool, depth)]),
            10 => {
                let want = *self.rng.pick(WANTS);
                let order = self.order();
                Sketch::of(&format!("~ {order} ~"), vec![self.want(want, depth), self.want(want, depth)])
            }
            11 => {
                let word = *self.rng.pick(&["in", "not in"]);
                Sketch::of(&format!("~ {word} ~"), vec![self.any(depth), self.want(Want::List, depth)])
            }
            12 => Sketch::of("~ in ~", vec![self.want(Want::Text, depth), self.want(Want::Map, depth)]),
            13 => {
                let word = *self.rng.pick(&["contains", "startsWith", "endsWith", "not contains"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("~ {word} ~"), parts)
            }
            14 => {
                let pattern = *self.rng.pick(&["'^a'", "'[0-9]+'", "'.'", "'('", "'a|b'", "'\\\\d'", "''"]);
                Sketch::of(&format!("~ matches {pattern}"), vec![self.want(Want::Text, depth)])
            }
            15..=17 => {
                let name = *self.rng.pick(&["all", "any", "none", "one", "all", "any"]);
                self.over_list(name, Want::Bool, depth)
            }
            18 => {
                let name = *self.rng.pick(&["all", "any", "none"]);
                let sign = *self.rng.pick(&["&&", "||"]);
                let list = *self.rng.pick(&["result", "[1, 'a', 3]", "result.list"]);
                self.open += 1;
                let parts = vec![self.want(Want::Bool, depth.min(2)), self.want(Want::Bool, depth.min(2))];
                self.open -= 1;
                Sketch::of(&format!("{name}({list}, ~) {sign} {name}({list}, ~)"), parts)
            }
            19 => {
                let name = *self.rng.pick(&["isNaN", "isInf", "isNil"]);
                Sketch::of(&format!("{name}(~)"), vec![self.want(Want::Number, depth)])
            }
            20 => {
                let (x, y) = (self.order(), self.order());
                let parts =
                    vec![self.want(Want::Number, depth), self.want(Want::Number, depth), self.want(Want::Number, depth)];
                Sketch::of(&format!("~ {x} ~ {y} ~"), parts)
            }
            21 => {
                let name = *self.rng.pick(&["hasPrefix", "hasSuffix"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            22 => {
                let order = self.order();
                let parts = vec![self.want(Want::Time, depth), self.want(Want::Time, depth)];
                Sketch::of(&format!("~ {order} ~"), parts)
            }
            _ => {
                let order = self.order();
                let list = self.over_list("count", Want::Bool, depth);
                let number = self.rng.below(3);
                Sketch::of(&format!("~ {order} {number}"), vec![list])
            }
        }
    }

    fn number(&mut self, depth: usize) -> Sketch {
        match self.rng.below(16) {
            0..=3 => {
                let sign = *self.rng.pick(&["+", "-", "*", "/", "%", "**", "+", "-"]);
                let parts = vec![self.want(Want::Number, depth), self.want(Want::Number, depth)];
                Sketch::of(&format!("~ {sign} ~"), parts)
            }
            4 => Sketch::of("(~)", vec![self.want(Want::Number, depth)]),
            5 => Sketch::of("-~", vec![self.want(Want::Number, depth)]),
            6 => {
                let name = *self.rng.pick(&["asInt", "asFloat", "int", "float"]);
                Sketch::of(&format!("{name}(~)"), vec![self.any(depth)])
            }
            7 => {
                let name = *self.rng.pick(&["abs", "ceil", "floor", "round"]);
                Sketch::of(&format!("{name}(~)"), vec![self.want(Want::Number, depth)])
            }
            8..=9 => Sketch::of("len(~)", vec![self.any_of(&[Want::List, Want::Text, Want::Map], depth)]),
            10..=11 => {
                let names = [
                    "sum", "mean", "median", "max", "min", "count", "first", "last", "find", "findIndex", "reduce",
                    "findLastIndex",
                ];
                let name = *self.rng.pick(&names);
                self.over_list(name, Want::Number, depth)
            }
            12 => {
                let name = *self.rng.pick(&["max", "min", "mean", "median"]);
                let parts = vec![self.want(Want::Number, depth), self.any_of(&[Want::Number, Want::List], depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            13 => {
                let name = *self.rng.pick(&["indexOf", "lastIndexOf"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            14 => {
                let name = *self.rng.pick(&["bitand", "bitor", "bitxor", "bitnand", "bitshl", "bitshr", "bitushr"]);
                let parts = vec![self.want(Want::Number, depth), self.want(Want::Number, depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            _ => {
                let names = ["Hours()", "Minutes()", "Seconds()", "Unix()", "Year()", "Day()", "Hour()", "Milliseconds()"];
                let name = *self.rng.pick(&names);
                Sketch::of(&format!("(~).{name}"), vec![self.want(Want::Time, depth)])
            }
        }
    }

    fn any_of(&mut self, wants: &[Want], depth: usize) -> Sketch {
        let want = *self.rng.pick(wants);
        self.want(want, depth)
    }

    fn text(&mut self, depth: usize) -> Sketch {
        match self.rng.below(10) {
            0 => Sketch::of("~ + ~", vec![self.want(Want::Text, depth), self.want(Want::Text, depth)]),
            1..=2 => {
                let name = *self.rng.pick(&["string", "type", "toJSON"]);
                Sketch::of(&format!("{name}(~)"), vec![self.any(depth)])
            }
            3..=4 => {
                let names = ["upper", "lower", "trim", "trimPrefix", "trimSuffix", "toBase64", "fromBase64"];
                let name = *self.rng.pick(&names);
                Sketch::of(&format!("{name}(~)"), vec![self.want(Want::Text, depth)])
            }
            5 => {
                let name = *self.rng.pick(&["trim", "trimPrefix", "trimSuffix"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            6 => {
                let limit = *self.rng.pick(&["", ", 1", ", 0", ", -1"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("replace(~, ~, ~{limit})"), parts)
            }
            7 => Sketch::of("join(~, ~)", vec![self.want(Want::List, depth), self.want(Want::Text, depth)]),
            8 => Sketch::of("repeat(~, ~)", vec![self.want(Want::Text, depth), self.want(Want::Number, depth)]),
            _ => {
                let bounds = *self.rng.pick(&["[0:1]", "[1:]", "[:2]", "[-1:]", "[0:100]"]);
                Sketch::of(&format!("(~){bounds}"), vec![self.want(Want::Text, depth)])
            }
        }
    }

    fn list(&mut self, depth: usize) -> Sketch {
        match self.rng.below(14) {
            0..=1 => Sketch::of("[~, ~]", vec![self.any(depth), self.any(depth)]),
            2 => Sketch::of("[~]", vec![self.any(depth)]),
            3 => Sketch::of("(~..~)", vec![self.want(Want::Number, depth), self.want(Want::Number, depth)]),
            4..=7 => {
                let names = ["filter", "map", "map", "filter", "sort", "reverse", "uniq", "flatten", "concat", "sortBy"];
                let name = *self.rng.pick(&names);
                let yields = *self.rng.pick(WANTS);
                self.over_list(name, yields, depth)
            }
            8 => {
                let bounds = *self.rng.pick(&["[0:1]", "[1:]", "[:2]", "[-1:]", "[5:9]", "[:]"]);
                Sketch::of(&format!("(~){bounds}"), vec![self.want(Want::List, depth)])
            }
            9 => Sketch::of("take(~, ~)", vec![self.want(Want::List, depth), self.want(Want::Number, depth)]),
            10 => Sketch::of("concat(~, ~)", vec![self.want(Want::List, depth), self.want(Want::List, depth)]),
            11 => {
                let name = *self.rng.pick(&["split", "splitAfter"]);
                let limit = *self.rng.pick(&["", "", ", 1", ", 2", ", 0"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("{name}(~, ~{limit})"), parts)
            }
            12 => {
                let name = *self.rng.pick(&["sort(keys(~))", "values(~)", "toPairs(~)", "fromJSON(toJSON(~))"]);
                Sketch::of(name, vec![self.want(Want::Map, depth)])
            }
            _ => Sketch::of("sort(~, 'desc')", vec![self.want(Want::List, depth)]),
        }
    }

    fn map(&mut self, depth: usize) -> Sketch {
        match self.rng.below(6) {
            0..=1 => Sketch::of("{a: ~, 'b': ~}", vec![self.any(depth), self.any(depth)]),
            2 => Sketch::of("fromJSON(toJSON(~))", vec![self.want(Want::Map, depth)]),
            3 => Sketch::of("fromPairs(toPairs(~))", vec![self.want(Want::Map, depth)]),
            4 => self.over_list("groupBy", Want::Number, depth),
            _ => Sketch::of("{(~): ~}", vec![self.want(Want::Text, depth), self.any(depth)]),
        }
    }

    fn time(&mut self, depth: usize) -> Sketch {
        match self.rng.below(6) {
            0 => Sketch::of("~ - ~", vec![self.want(Want::Time, depth), self.want(Want::Time, depth)]),
            1 => Sketch::of("~ + ~", vec![self.want(Want::Time, depth), self.want(Want::Time, depth)]),
            2 => Sketch::of("~ * ~", vec![self.want(Want::Time, depth), self.want(Want::Number, depth)]),
            3 => Sketch::of("date(~)", vec![self.want(Want::Text, depth)]),
            4 => Sketch::of("duration(~)", vec![self.want(Want::Text, depth)]),
            _ => self.leaf(Want::Time),
        }
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

/// The condition with a token or character put in, taken out or doubled: what a parser must stand.
pub fn damaged(rng: &mut Rng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = rng.below(chars.len() + 1);
    let tokens = [
        "(", ")", "[", "]", "{", "}", ",", ".", "..", "?", "?.", "??", ":", ";", "|", "||", "&&", "not ", "in ", "#",
        "'", "\"", "`", "=", "==", "!", "<", "-", "1", ".5", " ", "let ", "if ", "else ", "::", "//", "/*", "\\",
        "matches ", "@", "$", "\u{e9}",
    ];
    match rng.below(4) {
        0 if !chars.is_empty() => {
            chars.remove(at.min(chars.len() - 1));
        }
        1 => {
            let end = (at + rng.below(5)).min(chars.len());
            let part: Vec<char> = chars[at..end].to_vec();
            chars.splice(at..at, part);
        }
        _ => {
            let token = *rng.pick(&tokens);
            chars.splice(at..at, token.chars());
        }
    }
    chars.into_iter().collect()
}
