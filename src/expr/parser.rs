//! Tokens to a tree: a precedence climber with a hard limit on how deep it recurses.

mod call;
mod operand;

use super::{
    error::Error,
    lexer::{Kind, Lexer, Token},
    limits,
    tree::{Binary, Node, NodeId, Span, Tree, Unary},
};

type Parsed = Result<NodeId, Error>;

/// Reads a whole condition.
///
/// # Errors
/// The first thing that is not a condition, or a limit.
pub(crate) fn parse(text: &str) -> Result<Tree, Error> {
    if text.len() > limits::TEXT_BYTES {
        return Err(Error::limit(format!(
            "condition has {} bytes, the limit is {}",
            text.len(),
            limits::TEXT_BYTES
        )));
    }
    let mut lexer = Lexer::new(text);
    let current = lexer.next()?;
    let mut parser =
        Parser { lexer, current, stashed: None, tree: Tree::default(), predicates: 0, nesting: 0 };
    let root = parser.sequence()?;
    if parser.current.kind != Kind::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    parser.tree.root = Some(root);
    Ok(parser.tree)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    current: Token<'a>,
    /// The token behind a `not` that turned out to belong to an outer expression.
    stashed: Option<Token<'a>>,
    tree: Tree,
    /// How many predicates are open: `#` and `.field` begin an operand only inside one.
    predicates: usize,
    nesting: usize,
}

/// How strongly a binary operator binds, from the token that names it.
fn binary(token: &Token<'_>) -> Option<(Binary, u16)> {
    if token.kind != Kind::Operator {
        return None;
    }
    Some(match token.value.as_ref() {
        "or" | "||" => (Binary::Or, 10),
        "and" | "&&" => (Binary::And, 15),
        "==" => (Binary::Equal, 20),
        "!=" => (Binary::NotEqual, 20),
        "<" => (Binary::Less, 20),
        ">" => (Binary::More, 20),
        "<=" => (Binary::LessOrEqual, 20),
        ">=" => (Binary::MoreOrEqual, 20),
        "in" => (Binary::In, 20),
        "matches" => (Binary::Matches, 20),
        "contains" => (Binary::Contains, 20),
        "startsWith" => (Binary::StartsWith, 20),
        "endsWith" => (Binary::EndsWith, 20),
        ".." => (Binary::Range, 25),
        "+" => (Binary::Add, 30),
        "-" => (Binary::Subtract, 30),
        "*" => (Binary::Multiply, 60),
        "/" => (Binary::Divide, 60),
        "%" => (Binary::Modulo, 60),
        "**" | "^" => (Binary::Power, 100),
        "??" => (Binary::Coalesce, 500),
        _ => return None,
    })
}

fn unary(token: &Token<'_>) -> Option<(Unary, u16)> {
    if token.kind != Kind::Operator {
        return None;
    }
    match token.value.as_ref() {
        "not" | "!" => Some((Unary::Not, 50)),
        "-" => Some((Unary::Minus, 90)),
        "+" => Some((Unary::Plus, 90)),
        _ => None,
    }
}

fn can_be_negated(operator: Binary) -> bool {
    matches!(
        operator,
        Binary::In | Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith
    )
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<Token<'a>, Error> {
        let next = match self.stashed.take() {
            Some(token) => token,
            None => self.lexer.next()?,
        };
        Ok(std::mem::replace(&mut self.current, next))
    }

    fn at(&self, kind: Kind, value: &str) -> bool {
        self.current.is(kind, value)
    }

    fn operator(&self, value: &str) -> bool {
        self.at(Kind::Operator, value)
    }

    fn bracket(&self, value: &str) -> bool {
        self.at(Kind::Bracket, value)
    }

    fn unexpected(&self, expected: &str) -> Error {
        unexpected(&self.current, expected)
    }

    fn expect(&mut self, kind: Kind, value: &str) -> Result<(), Error> {
        if !self.at(kind, value) {
            return Err(self.unexpected(&format!("`{value}`")));
        }
        self.advance().map(drop)
    }

    fn add(&mut self, node: Node, span: Span) -> Parsed {
        self.tree.add(node, span)
    }

    /// Runs `parse` one level further down.
    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.nesting >= limits::NESTING {
            return Err(Error::too_deep(self.current.span));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn sequence(&mut self) -> Parsed {
        let span = self.current.span;
        let first = self.expression(0)?;
        let mut nodes = vec![first];
        while self.operator(";") {
            self.advance()?;
            if self.current.kind == Kind::End {
                break;
            }
            nodes.push(self.expression(0)?);
        }
        if nodes.len() == 1 { Ok(first) } else { self.add(Node::Sequence(nodes), span) }
    }

    fn expression(&mut self, precedence: u16) -> Parsed {
        self.nested(|parser| {
            if precedence == 0 && parser.operator("let") {
                return parser.declaration();
            }
            if precedence == 0 && parser.operator("if") {
                return parser.conditional_if();
            }
            let left = parser.primary()?;
            let left = parser.operations(left, precedence)?;
            if precedence == 0 { parser.conditional(left) } else { Ok(left) }
        })
    }

    /// The operators that follow an operand and bind at least as strongly as `precedence`.
    fn operations(&mut self, mut left: NodeId, precedence: u16) -> Parsed {
        let mut coalesced = false;
        loop {
            if self.operator("|") {
                if precedence > 0 {
                    return Ok(left);
                }
                self.advance()?;
                left = self.pipe(left)?;
                coalesced = false;
                continue;
            }
            let not = if self.operator("not") { Some(self.advance()?) } else { None };
            let operator = binary(&self.current);
            if let Some(not) = not.as_ref() {
                match operator {
                    Some((operator, strength)) if can_be_negated(operator) => {
                        if strength < precedence {
                            let behind = std::mem::replace(&mut self.current, not.clone());
                            self.stashed = Some(behind);
                            return Ok(left);
                        }
                    }
                    Some(_) | None => return Err(self.unexpected("`in`, `matches`, `contains` or the like")),
                }
            }
            let Some((operator, strength)) = operator.filter(|(_, strength)| *strength >= precedence) else {
                return Ok(left);
            };
            let token = self.advance()?;
            if operator == Binary::Modulo && self.current.kind == Kind::End {
                return Err(self.unexpected("a value").hint("a percentage is a fraction here: 5% is 0.05"));
            }
            if coalesced && operator != Binary::Coalesce {
                return Err(mixed(&token));
            }
            coalesced = operator == Binary::Coalesce;
            left = if operator.orders() {
                self.comparison(left, operator, &token, strength)?
            } else {
                let right_first = operator == Binary::Power;
                let right = self.expression(if right_first { strength } else { strength + 1 })?;
                self.add(Node::Binary(operator, left, right), token.span)?
            };
            if let Some(not) = not {
                left = self.add(Node::Unary(Unary::Not, left), not.span)?;
            }
        }
    }

    /// `1 < x < 3`: every ordering must hold.
    fn comparison(&mut self, left: NodeId, first: Binary, token: &Token<'_>, strength: u16) -> Parsed {
        let mut right = self.expression(strength + 1)?;
        let mut steps = vec![(first, left)];
        while let Some((operator, _)) = binary(&self.current).filter(|(operator, _)| operator.orders()) {
            self.advance()?;
            steps.push((operator, right));
            right = self.expression(strength + 1)?;
        }
        if steps.len() == 1 {
            return self.add(Node::Binary(first, left, right), token.span);
        }
        self.add(Node::Chain(steps, right), token.span)
    }

    fn declaration(&mut self) -> Parsed {
        self.advance()?;
        let name = self.identifier()?;
        self.expect(Kind::Operator, "=")?;
        let value = self.expression(0)?;
        self.expect(Kind::Operator, ";")?;
        let body = self.sequence()?;
        self.add(Node::Let(name.value.as_ref().into(), value, body), name.span)
    }

    fn identifier(&mut self) -> Result<Token<'a>, Error> {
        if self.current.kind != Kind::Identifier {
            return Err(self.unexpected("a name"));
        }
        self.advance()
    }

    fn conditional_if(&mut self) -> Parsed {
        let span = self.advance()?.span;
        let condition = self.expression(0)?;
        let yes = self.block()?;
        self.expect(Kind::Operator, "else")?;
        let no = if self.operator("if") { self.nested(Self::conditional_if)? } else { self.block()? };
        self.add(Node::Conditional(condition, Some(yes), no), span)
    }

    fn block(&mut self) -> Parsed {
        self.expect(Kind::Bracket, "{")?;
        let body = self.sequence()?;
        self.expect(Kind::Bracket, "}")?;
        Ok(body)
    }

    /// `c ? a : b` and `c ?: b`.
    fn conditional(&mut self, mut node: NodeId) -> Parsed {
        while self.operator("?") {
            let span = self.advance()?.span;
            let yes = if self.operator(":") { None } else { Some(self.expression(0)?) };
            self.expect(Kind::Operator, ":")?;
            let no = self.expression(0)?;
            node = self.add(Node::Conditional(node, yes, no), span)?;
        }
        Ok(node)
    }
}

fn unexpected(token: &Token<'_>, expected: &str) -> Error {
    let error = Error::syntax(format!("unexpected token {}", token.shown()), token.span)
        .wanted(expected, token.spoken());
    match token.value.as_ref() {
        "" if token.span.from == 0 => error.hint("the condition is empty"),
        "=" => error.hint("equality is `==`"),
        "&" => error.hint("both must hold is `&&`"),
        "#" => error.hint("a comment begins with //; # is the element, inside a predicate only"),
        "AND" | "And" => error.hint("write `and` or `&&`"),
        "OR" | "Or" => error.hint("write `or` or `||`"),
        _ => error,
    }
}

fn mixed(token: &Token<'_>) -> Error {
    let message = format!(
        "Operator ({}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses.",
        token.value
    );
    Error::syntax(message, token.span).hint("for example `(result ?? 0) < 1`")
}
