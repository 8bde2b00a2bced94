//! Static typing against the type of the result, before anything is evaluated: an error behind a short circuit
//! is an error.

mod call;
mod operator;
mod predicate;

use super::{
    builtin::{Builtin, Given},
    error::{self, Error},
    moment::{Method, Owner},
    tree::{Node, NodeId, Span, Tree},
    types::{Keyed, Type},
};

pub(super) type Typed = Result<Type, Error>;

/// Types every node of a tree. The tree changes where the reference changes it: whole-number literals given to
/// `isNaN` become floats.
///
/// # Errors
/// The first thing that does not fit, in reading order.
pub(crate) fn check(tree: &mut Tree, text: &str, result: &Type) -> Result<Vec<Type>, Error> {
    let types = vec![Type::Unknown; tree.len()];
    let root = tree.root;
    let mut checker = Checker { tree, text, types, result, scopes: vec![], variables: vec![] };
    if let Some(root) = root {
        checker.visit(root)?;
    }
    Ok(checker.types)
}

/// A predicate that is open: what `#` is an element of, and which pointers it has.
pub(super) struct Scope {
    collection: Type,
    index: bool,
    accumulator: bool,
}

pub(super) struct Checker<'a> {
    tree: &'a mut Tree,
    text: &'a str,
    types: Vec<Type>,
    result: &'a Type,
    scopes: Vec<Scope>,
    variables: Vec<(Box<str>, Type)>,
}

impl Checker<'_> {
    fn span(&self, id: NodeId) -> Span {
        self.tree.span(id)
    }

    /// The operator as it was written: `and` and `&&` are one, and messages say which.
    fn written(&self, id: NodeId) -> &str {
        let span = self.span(id);
        self.text.get(usize::from(span.from)..usize::from(span.to)).unwrap_or_default()
    }

    fn fail(&self, id: NodeId, message: impl Into<String>) -> Error {
        Error::mismatch(message, self.span(id))
    }

    pub(super) fn visit(&mut self, id: NodeId) -> Typed {
        let kind = self.typed(id)?;
        self.types[id.index()] = kind.clone();
        Ok(kind)
    }

    fn typed(&mut self, id: NodeId) -> Typed {
        match self.tree.node(id) {
            Node::Nil => Ok(Type::Nil),
            Node::Bool(_) => Ok(Type::Bool),
            Node::Int(_) => Ok(Type::Int),
            Node::Float(_) => Ok(Type::Float),
            Node::Str(_) => Ok(Type::Text),
            Node::Name(_) => self.name(id),
            Node::Unary(operator, operand) => self.unary(id, *operator, *operand),
            Node::Binary(operator, left, right) => self.binary(id, *operator, *left, *right),
            Node::Chain(..) => self.chain(id),
            Node::Optional(inner) => self.visit(*inner),
            Node::Member { .. } => self.member(id),
            Node::Slice { base, from, to } => self.slice(id, *base, *from, *to),
            Node::Call(..) => self.call(id),
            Node::Builtin(..) => self.builtin(id),
            Node::Predicate(body) => self.visit(*body),
            Node::Pointer(pointer) => self.pointer(id, *pointer),
            Node::UnknownPointer(name) => Err(self.unknown_pointer(id, &name.clone())),
            Node::Let(..) => self.declaration(id),
            Node::Sequence(_) => self.sequence(id),
            Node::Conditional(condition, yes, no) => self.conditional(*condition, *yes, *no),
            Node::Array(_) => self.array(id),
            Node::Map(_) => self.map(id),
        }
    }

    fn name(&self, id: NodeId) -> Typed {
        let Node::Name(name) = self.tree.node(id) else {
            return Ok(Type::Unknown);
        };
        if let Some((_, kind)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return Ok(kind.clone());
        }
        match name.as_ref() {
            "result" => Ok(self.result.clone()),
            "$env" => Ok(Type::Unknown),
            other => Given::named(other)
                .map(Type::Given)
                .or_else(|| Builtin::named(other).map(Type::Function))
                .ok_or_else(|| self.unknown_name(id, other)),
        }
    }

    fn unknown_name(&self, id: NodeId, name: &str) -> Error {
        let variables = self.variables.iter().map(|(known, _)| known.as_ref());
        let given = Given::ALL.iter().map(|given| given.name());
        let builtin = Builtin::ALL.iter().map(|builtin| builtin.name());
        let known = ["result", "nil", "true", "false", "not", "and", "or"];
        let nearest = variables.chain(known).chain(given).chain(builtin).find(|known| near(name, known));
        let error = self.fail(id, format!("unknown name {name}"));
        match nearest.or_else(|| elsewhere(name)) {
            Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
            None if !self.scopes.is_empty() => error.hint(format!("a field of the element is `.{name}`")),
            None => error.hint("the measured value is `result`; a field of it is `result.name`"),
        }
    }

    /// `$env.result` and what else a member of the environment may be.
    fn environment(&self, id: NodeId, property: NodeId, optional: bool) -> Typed {
        let Node::Str(name) = self.tree.node(property) else {
            return Ok(Type::Unknown);
        };
        match name.as_ref() {
            "result" => Ok(self.result.clone()),
            other => match Given::named(other) {
                Some(given) => Ok(Type::Given(given)),
                None if optional => Ok(Type::Unknown),
                None => Err(self.unknown_name(id, other)),
            },
        }
    }

    fn member(&mut self, id: NodeId) -> Typed {
        let Node::Member { base, property, optional, method } = *self.tree.node(id) else {
            return Ok(Type::Unknown);
        };
        if matches!(self.tree.node(base), Node::Name(name) if name.as_ref() == "$env") {
            return self.environment(id, property, optional);
        }
        let of = self.visit(base)?;
        let by = self.visit(property)?;
        if of.is_unknown() {
            return Ok(Type::Unknown);
        }
        let name = match self.tree.node(property) {
            Node::Str(name) => Some(name.clone()),
            _ => None,
        };
        if let (Type::Nil, Some(name)) = (&of, &name) {
            return Err(self.fail(id, format!("type nil has no field {name}")).hint(error::NOTHING));
        }
        if let (Some(owner), Some(name)) = (Owner::of_type(&of), &name)
            && let Some(method) = Method::named(owner, name)
        {
            return Ok(Type::Method(method));
        }
        if of.is_map() {
            if !by.assignable_to(&of.key()) && !by.is_unknown() {
                let message = format!("cannot use {} to get an element from {}", by.name(), of.name());
                return Err(self.fail(property, message).hint("an object has fields: `result.name`"));
            }
            return Ok(of.element());
        }
        if of.is_list() {
            if !by.is_integer() && !by.is_unknown() {
                let message =
                    format!("array elements can only be selected using an integer (got {})", by.name());
                return Err(self.list_hint(self.fail(property, message), base, name.as_deref()));
            }
            return Ok(of.element());
        }
        Err(self.no_member(id, &of, &by, name.as_deref(), method))
    }

    fn list_hint(&self, error: Error, base: NodeId, field: Option<&str>) -> Error {
        let of_result = matches!(self.tree.node(base), Node::Name(name) if name.as_ref() == "result");
        match field {
            Some("length" | "len" | "size" | "count") if of_result => {
                error.hint("`result` is a list here: its length is `len(result)`")
            }
            Some(field) if of_result => {
                error.hint(format!("`result` is a list here: did you mean `result[0].{field}`?"))
            }
            _ => error.hint("a list has elements: `[0]`"),
        }
    }

    fn no_member(&self, id: NodeId, of: &Type, by: &Type, name: Option<&str>, method: bool) -> Error {
        let message = match name {
            Some(name) if method => format!("type {} has no method {name}", of.name()),
            Some(name) => format!("type {} has no field {name}", of.name()),
            None => format!("type {}[{}] is undefined", of.name(), by.name()),
        };
        let error = self.fail(id, message);
        match of {
            Type::Nil => error.hint(error::NOTHING),
            kind if kind.is_number() => error.hint("this is one number: compare it without an index"),
            _ => error,
        }
    }

    fn slice(&mut self, id: NodeId, base: NodeId, from: Option<NodeId>, to: Option<NodeId>) -> Typed {
        let of = self.visit(base)?;
        if of.is_unknown() {
            // The reference does not look at the bounds here; the evaluation still does.
            return Ok(Type::Unknown);
        }
        if !of.is_list() && of != Type::Text {
            return Err(self.fail(id, format!("cannot slice {}", of.name())));
        }
        for bound in [from, to].into_iter().flatten() {
            let kind = self.visit(bound)?;
            if !kind.is_integer() && !kind.is_unknown() {
                return Err(self.fail(bound, format!("non-integer slice index {}", kind.name())));
            }
        }
        Ok(of)
    }

    fn declaration(&mut self, id: NodeId) -> Typed {
        let Node::Let(name, value, body) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        let taken = if name.as_ref() == "result" || Given::named(&name).is_some() {
            Some(format!("cannot redeclare {name}"))
        } else if Builtin::named(&name).is_some() {
            Some(format!("cannot redeclare builtin {name}"))
        } else if self.variables.iter().any(|(known, _)| *known == name) {
            Some(format!("cannot redeclare variable {name}"))
        } else {
            None
        };
        if let Some(message) = taken {
            return Err(self.fail(id, message).hint("choose another name"));
        }
        let kind = self.visit(value)?;
        self.variables.push((name, kind));
        let body = self.visit(body);
        self.variables.pop();
        body
    }

    fn sequence(&mut self, id: NodeId) -> Typed {
        let Node::Sequence(nodes) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        let mut last = Type::Unknown;
        for node in nodes {
            last = self.visit(node)?;
        }
        Ok(last)
    }

    fn conditional(&mut self, condition: NodeId, yes: Option<NodeId>, no: NodeId) -> Typed {
        let test = self.visit(condition)?;
        if test != Type::Bool && !test.is_unknown() {
            let message = format!("non-bool expression (type {}) used as condition", test.name());
            return Err(self.fail(condition, message));
        }
        let a = match yes {
            Some(yes) => self.visit(yes)?,
            None => test,
        };
        let b = self.visit(no)?;
        Ok(match (&a, &b) {
            (Type::Nil, _) => b,
            (_, Type::Nil) => a,
            _ if a.assignable_to(&b) => {
                if a.is_list() && b.is_list() {
                    let (x, y) = (a.element(), b.element());
                    if !x.assignable_to(&y) || !y.assignable_to(&x) {
                        return Ok(Type::LIST);
                    }
                }
                a
            }
            _ => Type::Unknown,
        })
    }

    fn array(&mut self, id: NodeId) -> Typed {
        let Node::Array(nodes) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        let mut last: Option<Type> = None;
        let mut alike = true;
        for node in nodes {
            let kind = self.visit(node)?;
            alike &= last.as_ref().is_none_or(|last| last.kind() == kind.kind());
            last = Some(kind);
        }
        Ok(if alike { Type::list_of(last.unwrap_or(Type::Unknown)) } else { Type::LIST })
    }

    fn map(&mut self, id: NodeId) -> Typed {
        let Node::Map(pairs) = self.tree.node(id).clone() else {
            return Ok(Type::Unknown);
        };
        for (key, value) in pairs {
            self.visit(key)?;
            self.visit(value)?;
        }
        Ok(Type::Map(Keyed::Text))
    }
}

/// True when `word` is a slip of the pen away from `known`.
/// What other languages call by this name.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "length" | "size" => "len(..)",
        "avg" | "average" => "mean(..)",
        "minimum" => "min(..)",
        "maximum" => "max(..)",
        "isempty" | "empty" => "len(..) == 0",
        "isnull" | "isnone" => "isNil(..)",
        "null" | "none" | "undefined" => "nil",
        "number" | "tonumber" | "tofloat" | "double" | "parsefloat" => "asFloat(..)",
        "toint" | "parseint" | "integer" => "asInt(..)",
        "tostring" | "str" => "string(..)",
        "contains" | "includes" => ".. contains ..",
        "exists" | "some" => "any(.., # > 1)",
        "every" | "foreach" => "all(.., # > 1)",
        "coalesce" | "orelse" => "(.. ?? ..)",
        "value" | "res" | "x" | "metric" => "result",
        _ => return None,
    })
}

fn near(word: &str, known: &str) -> bool {
    if word.eq_ignore_ascii_case(known) {
        return true;
    }
    let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), known.chars().collect());
    if a.len().abs_diff(b.len()) > 1 || b.len() < 4 {
        return false;
    }
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let swapped = a.len() == b.len()
        && head + 1 < a.len()
        && a[head] == b[head + 1]
        && a[head + 1] == b[head]
        && a[head + 2..] == b[head + 2..];
    swapped || head + tail + 1 >= a.len().max(b.len())
}
