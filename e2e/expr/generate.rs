//! Conditions at random, weighted to what people write, then everything else.

mod leaf;

use serde_json::Value;

use crate::{rng::Rng, sketch::Sketch};

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

const WANTS: &[Want] =
    &[Want::Bool, Want::Number, Want::Number, Want::Text, Want::List, Want::Map, Want::Time];

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

    /// Forms that come to whatever their parts come to.
    fn anywhere(&mut self, want: Want, depth: usize) -> Sketch {
        match self.rng.below(9) {
            0 => Sketch::of("(~)", vec![self.want(want, depth)]),
            1 => {
                let parts =
                    vec![self.want(Want::Bool, depth), self.want(want, depth), self.want(want, depth)];
                Sketch::of("(~ ? ~ : ~)", parts)
            }
            2 => {
                let parts =
                    vec![self.want(Want::Bool, depth), self.want(want, depth), self.want(want, depth)];
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
            "all"
                | "any"
                | "none"
                | "one"
                | "filter"
                | "map"
                | "count"
                | "find"
                | "findIndex"
                | "findLast"
                | "findLastIndex"
                | "groupBy"
                | "sortBy"
                | "reduce"
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
                let pattern = self.pattern();
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
                let parts = vec![
                    self.want(Want::Number, depth),
                    self.want(Want::Number, depth),
                    self.want(Want::Number, depth),
                ];
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
                    "sum",
                    "mean",
                    "median",
                    "max",
                    "min",
                    "count",
                    "first",
                    "last",
                    "find",
                    "findIndex",
                    "reduce",
                    "findLastIndex",
                ];
                let name = *self.rng.pick(&names);
                self.over_list(name, Want::Number, depth)
            }
            12 => {
                let name = *self.rng.pick(&["max", "min", "mean", "median"]);
                let parts =
                    vec![self.want(Want::Number, depth), self.any_of(&[Want::Number, Want::List], depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            13 => {
                let name = *self.rng.pick(&["indexOf", "lastIndexOf"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            14 => {
                let name =
                    *self.rng.pick(&["bitand", "bitor", "bitxor", "bitnand", "bitshl", "bitshr", "bitushr"]);
                let parts = vec![self.want(Want::Number, depth), self.want(Want::Number, depth)];
                Sketch::of(&format!("{name}(~, ~)"), parts)
            }
            _ => {
                let names = [
                    "Hours()",
                    "Minutes()",
                    "Seconds()",
                    "Unix()",
                    "Year()",
                    "Day()",
                    "Hour()",
                    "Milliseconds()",
                ];
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
                let parts = vec![
                    self.want(Want::Text, depth),
                    self.want(Want::Text, depth),
                    self.want(Want::Text, depth),
                ];
                Sketch::of(&format!("replace(~, ~, ~{limit})"), parts)
            }
            7 => Sketch::of("join(~, ~)", vec![self.want(Want::List, depth), self.want(Want::Text, depth)]),
            8 => {
                Sketch::of("repeat(~, ~)", vec![self.want(Want::Text, depth), self.want(Want::Number, depth)])
            }
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
                let names = [
                    "filter", "map", "map", "filter", "sort", "reverse", "uniq", "flatten", "concat",
                    "sortBy",
                ];
                let name = *self.rng.pick(&names);
                let yields = *self.rng.pick(WANTS);
                self.over_list(name, yields, depth)
            }
            8 => {
                let bounds = *self.rng.pick(&["[0:1]", "[1:]", "[:2]", "[-1:]", "[5:9]", "[:]"]);
                Sketch::of(&format!("(~){bounds}"), vec![self.want(Want::List, depth)])
            }
            9 => Sketch::of("take(~, ~)", vec![self.want(Want::List, depth), self.want(Want::Number, depth)]),
            10 => {
                Sketch::of("concat(~, ~)", vec![self.want(Want::List, depth), self.want(Want::List, depth)])
            }
            11 => {
                let name = *self.rng.pick(&["split", "splitAfter"]);
                let limit = *self.rng.pick(&["", "", ", 1", ", 2", ", 0"]);
                let parts = vec![self.want(Want::Text, depth), self.want(Want::Text, depth)];
                Sketch::of(&format!("{name}(~, ~{limit})"), parts)
            }
            12 => {
                let name =
                    *self.rng.pick(&["sort(keys(~))", "values(~)", "toPairs(~)", "fromJSON(toJSON(~))"]);
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
