//! Which values decided a verdict.

use jiff::Timestamp;

use super::{
    super::{
        budget::Budget,
        builtin::Builtin,
        escape::quoted,
        lower::{Code, CodeId, Program},
        number,
        tree::Pointer,
        value::Value,
    },
    Machine, Scope, text,
};
use crate::domain::value::MetricValue;

/// A part of a condition and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The part as written.
    pub part: String,
    /// Its value, texts in quotes.
    pub value: String,
}

/// The parts that decided, in reading order. Empty where no single part did.
pub(crate) fn because(
    program: &Program,
    condition: &str,
    result: &MetricValue,
    now: Option<Timestamp>,
) -> Vec<Reason> {
    let machine = Machine { program, result, now, budget: Budget::default(), variables: vec![] };
    let mut search = Search { machine, condition, reasons: vec![] };
    search.decided(program.root(), None);
    search.reasons
}

/// At most this many characters of a value are shown.
const SHOWN_CHARS: usize = 200;

struct Search<'v> {
    machine: Machine<'v>,
    condition: &'v str,
    reasons: Vec<Reason>,
}

impl<'v> Search<'v> {
    fn decided(&mut self, id: CodeId, scope: Option<&Scope<'v>>) {
        let program = self.machine.program;
        match program.code(id) {
            Code::And(left, right) => self.short(*left, *right, false, scope),
            Code::Or(left, right) => self.short(*left, *right, true, scope),
            Code::Not(inner) => self.decided(*inner, scope),
            Code::Let(_, _, body) => {
                // The variable's place is filled by evaluating the declaration.
                let _ = self.machine.eval(id, scope);
                self.decided(*body, scope);
            }
            Code::Conditional(condition, yes, no) => match (self.holds(*condition, scope), yes) {
                (Some(true), Some(yes)) => self.decided(*yes, scope),
                (Some(true), None) => self.decided(*condition, scope),
                (Some(false), _) => self.decided(*no, scope),
                (None, _) => {}
            },
            Code::Binary(_, left, right) | Code::Equal(_, left, right) => {
                self.show(*left, scope);
                self.show(*right, scope);
            }
            Code::Chain(steps, last) => {
                for (_, operand) in steps {
                    self.show(*operand, scope);
                }
                self.show(*last, scope);
            }
            Code::InInts(operand, _) | Code::InTexts(operand, _) | Code::Matches(operand, _) => {
                self.show(*operand, scope);
            }
            Code::CallGiven(_, arguments) => {
                arguments.iter().for_each(|argument| self.show(*argument, scope))
            }
            Code::Builtin(Builtin::All | Builtin::Any | Builtin::None, arguments, _) => {
                self.element(id, arguments, scope);
            }
            Code::Builtin(_, arguments, _) => {
                if let Some(first) = arguments.first() {
                    self.show(*first, scope);
                }
            }
            _ => self.show(id, scope),
        }
    }

    fn holds(&mut self, id: CodeId, scope: Option<&Scope<'v>>) -> Option<bool> {
        match self.machine.eval(id, scope) {
            Ok(Value::Bool(value)) => Some(value),
            Ok(_) | Err(_) => None,
        }
    }

    fn short(&mut self, left: CodeId, right: CodeId, decides: bool, scope: Option<&Scope<'v>>) {
        match self.holds(left, scope) {
            Some(value) if value == decides => self.decided(left, scope),
            Some(_) => {
                // Where the right side did not decide either, both were needed.
                if self.holds(right, scope) != Some(decides) {
                    self.decided(left, scope);
                }
                self.decided(right, scope);
            }
            None => {}
        }
    }

    /// The element at which `all`, `any` or `none` stopped.
    fn element(&mut self, id: CodeId, arguments: &[CodeId], scope: Option<&Scope<'v>>) {
        let program = self.machine.program;
        let (Some(&list_id), Some(&predicate)) = (arguments.first(), arguments.get(1)) else {
            return;
        };
        let stops_at = !matches!(program.code(id), Code::Builtin(Builtin::All, ..));
        let Ok(Value::List(list)) = self.machine.eval(list_id, scope) else {
            return;
        };
        for (index, element) in list.iter().enumerate() {
            let shown = element.clone();
            let inner = Scope { element, index: number::length(index), accumulator: Value::Nil };
            if self.holds(predicate, Some(&inner)) == Some(stops_at) {
                let part = format!("{}[{index}]", self.source(list_id));
                self.reasons.push(Reason { part, value: shown_value(&shown) });
                return;
            }
        }
        let part = self.source(list_id);
        self.reasons.push(Reason { part, value: shown_value(&Value::List(list)) });
    }

    /// Notes a part that is not written out already.
    fn show(&mut self, id: CodeId, scope: Option<&Scope<'v>>) {
        let literal = matches!(
            self.machine.program.code(id),
            Code::Nil | Code::Bool(_) | Code::Int(_) | Code::Float(_) | Code::Text(_) | Code::Consts(_)
        );
        if literal {
            return;
        }
        if let Ok(value) = self.machine.eval(id, scope) {
            let reason = Reason { part: self.source(id), value: shown_value(&value) };
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
    }

    /// The part of the condition's text that a node was made from.
    fn source(&self, id: CodeId) -> String {
        let program = self.machine.program;
        if matches!(program.code(id), Code::Pointer(Pointer::Element)) {
            return "#".to_owned();
        }
        let (mut from, mut to) = (usize::MAX, 0);
        let mut below = vec![id];
        while let Some(id) = below.pop() {
            let span = program.span(id);
            from = from.min(usize::from(span.from));
            to = to.max(usize::from(span.to));
            program.code(id).each_child(|child| below.push(child));
        }
        // Closing brackets belong to no node: take as many as are open.
        let Some(rest) = self.condition.get(from..) else {
            return self.condition.to_owned();
        };
        let mut open = 0_i32;
        for (at, c) in rest.char_indices() {
            if from + at >= to && open <= 0 {
                return rest[..at].trim().to_owned();
            }
            open += i32::from(matches!(c, '(' | '[' | '{')) - i32::from(matches!(c, ')' | ']' | '}'));
        }
        rest.trim().to_owned()
    }
}

fn shown_value(value: &Value<'_>) -> String {
    let whole = match value {
        Value::Text(text) => quoted(text),
        Value::Nil => "nil".to_owned(),
        Value::Float(value) => format!("{value}"),
        Value::List(list) if list.len() == 0 => "an empty list".to_owned(),
        other => text::shown(other),
    };
    if whole.chars().count() <= SHOWN_CHARS {
        return whole;
    }
    let cut: String = whole.chars().take(SHOWN_CHARS).collect();
    format!("{cut}...")
}
