//! The types of calls.

use super::{
    super::{
        builtin::{Builtin, Given},
        error::{self, Error},
        tree::{Binary, Node, NodeId},
        types::{Carrier, Keyed, Type},
    },
    Checker, Typed,
};

/// The parameters of one way to call a function, and what it gives.
type Overload = (&'static [Type], Type);

const LIST: Type = Type::LIST;
const TEXTS: Type = Type::List(Carrier::Texts, None);
const FLOATS: Type = Type::List(Carrier::Floats, None);
const INTS: Type = Type::List(Carrier::Ints, None);

/// The ways to call a function whose parameters have fixed types.
fn overloads(function: Builtin) -> &'static [Overload] {
    use Type::{Any, Bool, Duration, Int, Location, Text};
    match function {
        Builtin::Type | Builtin::String | Builtin::ToJson => &[(&[Any], Text)],
        Builtin::Trim => &[(&[Text], Text), (&[Text, Text], Text)],
        Builtin::TrimPrefix | Builtin::TrimSuffix => &[(&[Text, Text], Text), (&[Text], Text)],
        Builtin::Upper | Builtin::Lower | Builtin::ToBase64 | Builtin::FromBase64 => &[(&[Text], Text)],
        Builtin::Split | Builtin::SplitAfter => &[(&[Text, Text], TEXTS), (&[Text, Text, Int], TEXTS)],
        Builtin::Replace => &[(&[Text, Text, Text, Int], Text), (&[Text, Text, Text], Text)],
        Builtin::Repeat => &[(&[Text, Int], Text)],
        Builtin::Join => &[
            (&[TEXTS, Text], Text),
            (&[LIST, Text], Text),
            (&[LIST], Text),
            (&[TEXTS, Text], Text),
            (&[TEXTS], Text),
        ],
        Builtin::IndexOf | Builtin::LastIndexOf => &[(&[Text, Text], Int)],
        Builtin::HasPrefix | Builtin::HasSuffix => &[(&[Text, Text], Bool)],
        Builtin::FromJson => &[(&[Text], Any)],
        Builtin::Duration => &[(&[Text], Duration)],
        Builtin::Timezone => &[(&[Text], Location)],
        Builtin::Sort => &[
            (&[LIST, Text], LIST),
            (&[INTS, Text], LIST),
            (&[FLOATS, Text], LIST),
            (&[TEXTS, Text], LIST),
            (&[LIST], LIST),
            (&[FLOATS], LIST),
            (&[TEXTS], LIST),
            (&[INTS], LIST),
        ],
        Builtin::BitNot => &[(&[Int], Int)],
        Builtin::BitAnd
        | Builtin::BitOr
        | Builtin::BitXor
        | Builtin::BitNand
        | Builtin::BitShl
        | Builtin::BitShr
        | Builtin::BitUshr => &[(&[Int, Int], Int)],
        _ => &[],
    }
}

fn given(function: Given) -> Overload {
    match function {
        Given::IsNan | Given::IsInf => (&[Type::Float], Type::Bool),
        Given::IsNil => (&[Type::Any], Type::Bool),
        Given::AsInt => (&[Type::Any], Type::Int64),
        Given::AsFloat => (&[Type::Any], Type::Float),
        Given::Default => (&[Type::Any, Type::Any], Type::Any),
    }
}

impl Checker<'_> {
    pub(super) fn call(&mut self, id: NodeId) -> Typed {
        let Node::Call(callee, arguments) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        if let Node::Name(name) = self.tree.node(callee)
            && name.as_ref() == "$env"
        {
            return Err(self.fail(id, "map[string]interface {} is not callable"));
        }
        let kind = self.visit(callee)?;
        match kind {
            Type::Given(function) => {
                let kinds = self.visit_all(&arguments)?;
                self.arguments(id, function.name(), &given(function), &arguments, &kinds)
            }
            Type::Unknown | Type::Any => {
                self.visit_all(&arguments)?;
                Ok(Type::Unknown)
            }
            Type::Nil => {
                let name = self.written(callee).to_owned();
                Err(self.fail(id, format!("{name} is nil; cannot call nil as function")))
            }
            Type::Method(method) => {
                let kinds = self.visit_all(&arguments)?;
                self.arguments(id, method.name(), &method.signature(), &arguments, &kinds)
            }
            other => Err(self.fail(id, format!("{} is not callable", other.name()))),
        }
    }

    fn visit_all(&mut self, arguments: &[NodeId]) -> Result<Vec<Type>, Error> {
        arguments.iter().map(|argument| self.visit(*argument)).collect()
    }

    pub(super) fn builtin(&mut self, id: NodeId) -> Typed {
        let Node::Builtin(function, arguments, _) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        if function.predicate_arguments().is_some() {
            return self.with_predicate(function, &arguments);
        }
        let kinds = self.visit_all(&arguments)?;
        let ways = overloads(function);
        if ways.is_empty() {
            return self.validated(id, function, &arguments, kinds);
        }
        let mut outcome = Ok(Type::Unknown);
        for way in ways {
            outcome = self.arguments(id, function.name(), way, &arguments, &kinds);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn arguments(
        &mut self,
        id: NodeId,
        name: &str,
        (parameters, gives): &Overload,
        arguments: &[NodeId],
        kinds: &[Type],
    ) -> Typed {
        if kinds.len() != parameters.len() {
            let amount = if kinds.len() > parameters.len() { "too many" } else { "not enough" };
            return Err(self
                .fail(id, format!("{amount} arguments to call {name}"))
                .wanted(format!("{} arguments", parameters.len()), kinds.len().to_string()));
        }
        for ((argument, kind), parameter) in arguments.iter().zip(kinds).zip(*parameters) {
            if *parameter == Type::Float && kind.is_integer() {
                self.float_literals(*argument);
            } else if *parameter == Type::Int && kind.is_integer() {
                // Any width will do.
            } else if *kind == Type::Nil && *parameter != Type::Any {
                let message =
                    format!("cannot use nil as argument (type {}) to call {name}", parameter.name());
                return Err(self.fail(*argument, message).hint(error::NOTHING));
            } else if *kind != Type::Nil && !kind.assignable_to(parameter) && !kind.is_unknown() {
                // The blank at the end is what people find in their measurements.
                let message = format!(
                    "cannot use {} as argument (type {}) to call {name} ",
                    kind.name(),
                    parameter.name()
                );
                let error = self.fail(*argument, message).wanted(parameter.spoken(), kind.spoken());
                let list = matches!(kind, Type::List(Carrier::Floats, _)) && *parameter == Type::Float;
                return Err(if list {
                    error.hint("`result` is a list here: did you mean `result[0]`?")
                } else {
                    error
                });
            }
        }
        Ok(gives.clone())
    }

    /// Whole-number literals become floats where a float is wanted; other integers fail at evaluation.
    fn float_literals(&mut self, id: NodeId) {
        match self.tree.node(id).clone() {
            Node::Int(value) => {
                self.tree.replace(id, Node::Float(super::super::number::widened(value)));
                self.types[id.index()] = Type::Float;
            }
            Node::Unary(_, operand) => self.float_literals(operand),
            Node::Binary(Binary::Add | Binary::Subtract | Binary::Multiply, left, right) => {
                self.float_literals(left);
                self.float_literals(right);
            }
            _ => {}
        }
    }

    /// Functions that look at the types themselves.
    fn validated(&mut self, id: NodeId, function: Builtin, arguments: &[NodeId], kinds: Vec<Type>) -> Typed {
        if function == Builtin::Get {
            return self.get(id, arguments, &kinds);
        }
        let kinds: Vec<Type> = kinds.into_iter().map(Type::plain).collect();
        outcome(function, &kinds).map_err(|message| {
            let error = self.fail(id, message);
            match (function, kinds.first()) {
                (Builtin::Len, Some(Type::Nil)) => error.hint(error::NOTHING),
                (Builtin::Len, Some(kind)) if kind.is_number() => {
                    error.hint("this is one number, not a list: compare it without `len`")
                }
                _ => error,
            }
        })
    }

    fn get(&mut self, id: NodeId, arguments: &[NodeId], kinds: &[Type]) -> Typed {
        let ([of, by], [base, _]) = (kinds, arguments) else {
            let message = format!("invalid number of arguments (expected 2, got {})", kinds.len());
            return Err(self.fail(id, message));
        };
        if matches!(self.tree.node(*base), Node::Name(name) if name.as_ref() == "$env") || of.is_unknown() {
            return Ok(Type::Unknown);
        }
        if of.is_list() {
            if !by.is_integer() && !by.is_unknown() {
                return Err(self.fail(id, format!("non-integer slice index {}", by.name())));
            }
            return Ok(of.element());
        }
        if of.is_map() {
            if !by.assignable_to(&of.key()) && !by.is_unknown() {
                let message = format!("cannot use {} to get an element from {}", by.name(), of.name());
                return Err(self.fail(id, message));
            }
            return Ok(of.element());
        }
        Err(self.fail(id, format!("type {} does not support indexing", of.name())))
    }
}

/// A type as messages about built-in functions show it: nil has none.
fn shown(kind: &Type) -> &'static str {
    if *kind == Type::Nil { "%!s(<nil>)" } else { kind.name() }
}

fn one(kinds: &[Type]) -> Result<&Type, String> {
    match kinds {
        [kind] => Ok(kind),
        _ => Err(format!("invalid number of arguments (expected 1, got {})", kinds.len())),
    }
}

fn outcome(function: Builtin, kinds: &[Type]) -> Result<Type, String> {
    match function {
        Builtin::Max | Builtin::Min | Builtin::Mean | Builtin::Median => aggregate(function, kinds),
        Builtin::Now => now(kinds),
        Builtin::Date => date(kinds),
        Builtin::Take => take(kinds),
        Builtin::Concat => concat(kinds),
        _ => single(function, one(kinds)?),
    }
}

/// Functions of one argument.
fn single(function: Builtin, kind: &Type) -> Result<Type, String> {
    let open = *kind == Type::Any;
    let listlike = open || kind.is_list();
    let invalid = || Err(format!("invalid argument for {} (type {})", function.name(), shown(kind)));
    let verb = |verb: &str| Err(format!("{verb} {}", shown(kind)));
    match function {
        Builtin::Len if listlike || kind.is_map() || *kind == Type::Text => Ok(Type::Int),
        Builtin::Abs if open || kind.is_numeric_kind() => Ok(kind.clone()),
        Builtin::Ceil | Builtin::Floor | Builtin::Round if open || kind.is_numeric_kind() => Ok(Type::Float),
        Builtin::Int if open || kind.is_numeric_kind() || *kind == Type::Text => Ok(Type::Int),
        Builtin::Float if open || kind.is_numeric_kind() || *kind == Type::Text => Ok(Type::Float),
        Builtin::First | Builtin::Last if open => Ok(Type::Any),
        Builtin::First | Builtin::Last if kind.is_list() => Ok(kind.element()),
        Builtin::Keys | Builtin::Values | Builtin::ToPairs if open || kind.is_map() => Ok(Type::LIST),
        Builtin::FromPairs if listlike => Ok(Type::Map(Keyed::Any)),
        Builtin::Reverse | Builtin::Uniq | Builtin::Flatten if listlike => Ok(Type::LIST),
        Builtin::First => verb("cannot get first element from"),
        Builtin::Last => verb("cannot get last element from"),
        Builtin::Keys => verb("cannot get keys from"),
        Builtin::Values => verb("cannot get values from"),
        Builtin::ToPairs => Err(format!("cannot transform {} to pairs", shown(kind))),
        Builtin::FromPairs => Err(format!("cannot transform {} from pairs", shown(kind))),
        Builtin::Reverse => verb("cannot reverse"),
        Builtin::Uniq => verb("cannot uniq"),
        Builtin::Flatten => verb("cannot flatten"),
        _ => invalid(),
    }
}

fn aggregate(function: Builtin, kinds: &[Type]) -> Result<Type, String> {
    let Some(first) = kinds.first() else {
        return Err(format!("not enough arguments to call {}", function.name()));
    };
    for kind in kinds {
        if *kind == Type::Any || kind.is_list() {
            return Ok(Type::Any);
        }
        if !kind.is_numeric_kind() {
            return Err(format!("invalid argument for {} (type {})", function.name(), shown(kind)));
        }
    }
    Ok(first.clone())
}

fn now(kinds: &[Type]) -> Result<Type, String> {
    match kinds {
        [] | [Type::Location] => Ok(Type::Time),
        _ => Err(format!("invalid number of arguments (expected 0, got {})", kinds.len())),
    }
}

fn date(kinds: &[Type]) -> Result<Type, String> {
    let rest = match kinds {
        [] => return Err("invalid number of arguments (expected at least 1, got 0)".to_owned()),
        [Type::Location, rest @ ..] => rest,
        all => all,
    };
    if rest.len() > 3 {
        return Err(format!("invalid number of arguments (expected at most 3, got {})", rest.len()));
    }
    Ok(Type::Time)
}

fn take(kinds: &[Type]) -> Result<Type, String> {
    let [list, count] = kinds else {
        return Err(format!("invalid number of arguments (expected 2, got {})", kinds.len()));
    };
    if *list != Type::Any && !list.is_list() {
        return Err(format!("cannot take from {}", shown(list)));
    }
    if *count != Type::Any && (!count.is_numeric_kind() || *count == Type::Float) {
        return Err(format!("cannot take {} elements", shown(count)));
    }
    Ok(list.clone())
}

fn concat(kinds: &[Type]) -> Result<Type, String> {
    if kinds.is_empty() {
        return Err("invalid number of arguments (expected at least 1, got 0)".to_owned());
    }
    match kinds.iter().find(|kind| **kind != Type::Any && !kind.is_list()) {
        Some(kind) => Err(format!("cannot concat {}", shown(kind))),
        None => Ok(Type::LIST),
    }
}
