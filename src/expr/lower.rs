//! A checked tree to a program: names resolved, patterns compiled, equality specialised.

use super::{
    builtin::{Builtin, Given},
    error::Error,
    moment::Method,
    pattern::Pattern,
    tree::{Binary, Node, NodeId, Pointer, Span, Tree, Tuning, Unary},
    types::Type,
    value::Const,
};

/// A node of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeId(u32);

impl CodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How `==` was specialised. The reference compares machine values where both sides are known to be integers or
/// texts, and fails when one of them turns out to be something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equality {
    Any,
    Ints,
    Texts,
}

#[derive(Clone, Debug)]
pub(crate) enum Code {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Consts(Box<[Const]>),
    Result,
    Environment,
    Given(Given),
    Variable(usize),
    Let(usize, CodeId, CodeId),
    Not(CodeId),
    Negate(CodeId),
    And(CodeId, CodeId),
    Or(CodeId, CodeId),
    Coalesce(CodeId, CodeId),
    Equal(Equality, CodeId, CodeId),
    Binary(Binary, CodeId, CodeId),
    /// The orderings of `1 < x < 3`, and the last operand.
    Chain(Box<[(Binary, CodeId)]>, CodeId),
    InInts(CodeId, Box<[i64]>),
    InTexts(CodeId, Box<[Box<str>]>),
    Matches(CodeId, Box<Pattern>),
    Optional(CodeId),
    Member {
        base: CodeId,
        property: CodeId,
        optional: bool,
    },
    Slice {
        base: CodeId,
        from: Option<CodeId>,
        to: Option<CodeId>,
    },
    CallGiven(Given, Box<[CodeId]>),
    /// A method of a time or duration, its type known.
    CallMethod(Method, CodeId, Box<[CodeId]>),
    /// A call of whatever a member turns out to be.
    CallMember {
        base: CodeId,
        property: CodeId,
        arguments: Box<[CodeId]>,
    },
    CallValue(CodeId, Box<[CodeId]>),
    Builtin(Builtin, Box<[CodeId]>, LoweredTuning),
    Pointer(Pointer),
    Sequence(Box<[CodeId]>),
    Conditional(CodeId, Option<CodeId>, CodeId),
    Array(Box<[CodeId]>),
    Map(Box<[(CodeId, CodeId)]>),
}

impl Code {
    /// Calls `visit` with each child.
    pub(crate) fn each_child(&self, mut visit: impl FnMut(CodeId)) {
        match self {
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::Consts(_) => {}
            Self::Result | Self::Environment | Self::Given(_) | Self::Variable(_) | Self::Pointer(_) => {}
            Self::Not(a) | Self::Negate(a) | Self::Optional(a) => visit(*a),
            Self::InInts(a, _) | Self::InTexts(a, _) | Self::Matches(a, _) => visit(*a),
            Self::And(a, b) | Self::Or(a, b) | Self::Coalesce(a, b) | Self::Let(_, a, b) => {
                [*a, *b].into_iter().for_each(visit);
            }
            Self::Equal(_, a, b) | Self::Binary(_, a, b) => [*a, *b].into_iter().for_each(visit),
            Self::Member { base, property, .. } => [*base, *property].into_iter().for_each(visit),
            Self::Chain(steps, last) => {
                steps.iter().for_each(|(_, a)| visit(*a));
                visit(*last);
            }
            Self::Slice { base, from, to } => {
                [Some(*base), *from, *to].into_iter().flatten().for_each(visit);
            }
            Self::CallMethod(_, of, arguments) | Self::CallValue(of, arguments) => {
                visit(*of);
                arguments.iter().copied().for_each(visit);
            }
            Self::CallMember { base, property, arguments } => {
                [*base, *property].into_iter().chain(arguments.iter().copied()).for_each(visit);
            }
            Self::CallGiven(_, all) | Self::Builtin(_, all, _) | Self::Sequence(all) | Self::Array(all) => {
                all.iter().copied().for_each(visit);
            }
            Self::Conditional(condition, yes, no) => {
                [Some(*condition), *yes, Some(*no)].into_iter().flatten().for_each(visit);
            }
            Self::Map(pairs) => pairs.iter().flat_map(|(key, value)| [*key, *value]).for_each(visit),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoweredTuning {
    pub(crate) throws: bool,
    pub(crate) map: Option<CodeId>,
    pub(crate) threshold: Option<i64>,
}

/// A condition ready to be evaluated against results of one type.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    codes: Vec<Code>,
    spans: Vec<Span>,
    root: CodeId,
    pub(crate) variables: usize,
}

impl Program {
    pub(crate) fn code(&self, id: CodeId) -> &Code {
        &self.codes[id.index()]
    }

    pub(crate) fn span(&self, id: CodeId) -> Span {
        self.spans[id.index()]
    }

    pub(crate) fn root(&self) -> CodeId {
        self.root
    }
}

/// Makes the program.
///
/// # Errors
/// A pattern that is none.
pub(crate) fn lower(tree: &Tree, types: &[Type]) -> Result<Program, Error> {
    let mut lowering = Lowering { tree, types, codes: vec![], spans: vec![], names: vec![], variables: 0 };
    let root = match tree.root {
        Some(root) => lowering.lower(root)?,
        None => lowering.push(Code::Nil, Span::default()),
    };
    Ok(Program { codes: lowering.codes, spans: lowering.spans, root, variables: lowering.variables })
}

struct Lowering<'a> {
    tree: &'a Tree,
    types: &'a [Type],
    codes: Vec<Code>,
    spans: Vec<Span>,
    names: Vec<(Box<str>, usize)>,
    variables: usize,
}

impl Lowering<'_> {
    fn push(&mut self, code: Code, span: Span) -> CodeId {
        let id = CodeId(u32::try_from(self.codes.len()).unwrap_or(u32::MAX));
        self.codes.push(code);
        self.spans.push(span);
        id
    }

    fn all(&mut self, ids: &[NodeId]) -> Result<Box<[CodeId]>, Error> {
        ids.iter().map(|id| self.lower(*id)).collect()
    }

    fn maybe(&mut self, id: Option<NodeId>) -> Result<Option<CodeId>, Error> {
        id.map(|id| self.lower(id)).transpose()
    }

    fn lower(&mut self, id: NodeId) -> Result<CodeId, Error> {
        let span = self.tree.span(id);
        let code = match self.tree.node(id) {
            Node::Nil | Node::UnknownPointer(_) => Code::Nil,
            Node::Bool(value) => Code::Bool(*value),
            Node::Int(value) => Code::Int(*value),
            Node::Float(value) => Code::Float(*value),
            Node::Str(text) => Code::Text(text.clone()),
            Node::Name(name) => self.name(name),
            Node::Unary(Unary::Plus, operand) | Node::Predicate(operand) => return self.lower(*operand),
            Node::Unary(Unary::Not, operand) => Code::Not(self.lower(*operand)?),
            Node::Unary(Unary::Minus, operand) => Code::Negate(self.lower(*operand)?),
            Node::Binary(operator, left, right) => self.binary(*operator, *left, *right, span)?,
            Node::Chain(steps, last) => {
                let steps: Result<_, Error> =
                    steps.iter().map(|(operator, left)| Ok((*operator, self.lower(*left)?))).collect();
                Code::Chain(steps?, self.lower(*last)?)
            }
            Node::Optional(inner) => Code::Optional(self.lower(*inner)?),
            Node::Member { base, property, optional, .. } => Code::Member {
                base: self.lower(*base)?,
                property: self.lower(*property)?,
                optional: *optional,
            },
            Node::Slice { base, from, to } => {
                Code::Slice { base: self.lower(*base)?, from: self.maybe(*from)?, to: self.maybe(*to)? }
            }
            Node::Call(callee, arguments) => self.call(*callee, arguments)?,
            Node::Builtin(function, arguments, tuning) => {
                Code::Builtin(*function, self.all(arguments)?, self.tuning(tuning)?)
            }
            Node::Pointer(pointer) => Code::Pointer(*pointer),
            Node::Let(name, value, body) => self.declaration(name, *value, *body)?,
            Node::Sequence(nodes) => Code::Sequence(self.all(nodes)?),
            Node::Conditional(condition, yes, no) => {
                Code::Conditional(self.lower(*condition)?, self.maybe(*yes)?, self.lower(*no)?)
            }
            Node::Array(nodes) => match self.constants(nodes) {
                Some(constants) => Code::Consts(constants),
                None => Code::Array(self.all(nodes)?),
            },
            Node::Map(pairs) => {
                let pairs: Result<_, Error> =
                    pairs.iter().map(|(key, value)| Ok((self.lower(*key)?, self.lower(*value)?))).collect();
                Code::Map(pairs?)
            }
        };
        Ok(self.push(code, span))
    }

    fn name(&self, name: &str) -> Code {
        if let Some((_, slot)) = self.names.iter().rev().find(|(known, _)| known.as_ref() == name) {
            return Code::Variable(*slot);
        }
        match name {
            "result" => Code::Result,
            "$env" => Code::Environment,
            // A built-in function is not in the environment, so as a value it is nil.
            other => Given::named(other).map_or(Code::Nil, Code::Given),
        }
    }

    fn declaration(&mut self, name: &str, value: NodeId, body: NodeId) -> Result<Code, Error> {
        let value = self.lower(value)?;
        let slot = self.variables;
        self.variables += 1;
        self.names.push((name.into(), slot));
        let body = self.lower(body);
        self.names.pop();
        Ok(Code::Let(slot, value, body?))
    }

    fn tuning(&mut self, tuning: &Tuning) -> Result<LoweredTuning, Error> {
        Ok(LoweredTuning { throws: tuning.throws, map: self.maybe(tuning.map)?, threshold: tuning.threshold })
    }

    fn call(&mut self, callee: NodeId, arguments: &[NodeId]) -> Result<Code, Error> {
        let arguments = self.all(arguments)?;
        let kind = &self.types[callee.index()];
        if let Type::Given(function) = kind {
            return Ok(Code::CallGiven(*function, arguments));
        }
        match (self.tree.node(callee), kind) {
            (Node::Member { base, .. }, Type::Method(method)) => {
                Ok(Code::CallMethod(*method, self.lower(*base)?, arguments))
            }
            (Node::Member { base, property, .. }, _) => {
                Ok(Code::CallMember { base: self.lower(*base)?, property: self.lower(*property)?, arguments })
            }
            _ => Ok(Code::CallValue(self.lower(callee)?, arguments)),
        }
    }

    fn binary(&mut self, operator: Binary, left: NodeId, right: NodeId, span: Span) -> Result<Code, Error> {
        if operator == Binary::Matches
            && let Node::Str(text) = self.tree.node(right)
        {
            let pattern = Pattern::compile(text).map_err(|message| Error::mismatch(message, span))?;
            return Ok(Code::Matches(self.lower(left)?, Box::new(pattern)));
        }
        if operator == Binary::In
            && let Some(code) = self.in_literals(left, right)?
        {
            return Ok(code);
        }
        let equality = self.equality(left, right);
        let l = self.lower(left)?;
        let r = self.lower(right)?;
        Ok(match operator {
            Binary::And => Code::And(l, r),
            Binary::Or => Code::Or(l, r),
            Binary::Coalesce => Code::Coalesce(l, r),
            Binary::Equal => Code::Equal(equality, l, r),
            Binary::NotEqual => {
                let equal = self.push(Code::Equal(equality, l, r), span);
                Code::Not(equal)
            }
            other => Code::Binary(other, l, r),
        })
    }

    fn equality(&self, left: NodeId, right: NodeId) -> Equality {
        match (&self.types[left.index()], &self.types[right.index()]) {
            (Type::Int, Type::Int) => Equality::Ints,
            (Type::Text, Type::Text) => Equality::Texts,
            _ => Equality::Any,
        }
    }

    /// `x in [1, 2]` with `x` known to be an integer, and `x in ['a', 'b']` with any `x`: a look into a set,
    /// which fails where `x` turns out to be of another type.
    fn in_literals(&mut self, left: NodeId, right: NodeId) -> Result<Option<Code>, Error> {
        let Node::Array(nodes) = self.tree.node(right) else {
            return Ok(None);
        };
        if nodes.is_empty() {
            return Ok(None);
        }
        let ints: Option<Box<[i64]>> = nodes
            .iter()
            .map(|node| if let Node::Int(value) = self.tree.node(*node) { Some(*value) } else { None })
            .collect();
        if let Some(ints) = ints {
            // Only where the reference does so: elsewhere elements compare across number types.
            let known = matches!(self.types[left.index()], Type::Int | Type::Month | Type::Weekday);
            return if known { Ok(Some(Code::InInts(self.lower(left)?, ints))) } else { Ok(None) };
        }
        let texts: Option<Box<[Box<str>]>> = nodes
            .iter()
            .map(|node| if let Node::Str(text) = self.tree.node(*node) { Some(text.clone()) } else { None })
            .collect();
        match texts {
            Some(texts) => Ok(Some(Code::InTexts(self.lower(left)?, texts))),
            None => Ok(None),
        }
    }

    fn constants(&self, nodes: &[NodeId]) -> Option<Box<[Const]>> {
        nodes
            .iter()
            .map(|node| match self.tree.node(*node) {
                Node::Bool(value) => Some(Const::Bool(*value)),
                Node::Int(value) => Some(Const::Int(*value)),
                Node::Float(value) => Some(Const::Float(*value)),
                Node::Str(text) => Some(Const::Text(text.clone())),
                _ => None,
            })
            .collect()
    }
}
