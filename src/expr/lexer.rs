//! Text to tokens.

use super::{
    error::Error,
    escape::{self, quoted},
    tree::Span,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identifier,
    Number,
    Text,
    Operator,
    Bracket,
    End,
}

impl Kind {
    /// The name that people see in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Identifier => "Identifier",
            Self::Number => "Number",
            Self::Text => "String",
            Self::Operator => "Operator",
            Self::Bracket => "Bracket",
            Self::End => "EOF",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// As written; of a text what it stands for.
    pub(crate) value: std::borrow::Cow<'a, str>,
    pub(crate) span: Span,
}

impl Token<'_> {
    pub(crate) fn is(&self, kind: Kind, value: &str) -> bool {
        self.kind == kind && self.value == value
    }

    /// The token for a person: `=` in back quotes.
    pub(crate) fn spoken(&self) -> String {
        match self.kind {
            Kind::End => "the end".to_owned(),
            Kind::Text => quoted(&self.value),
            Kind::Identifier | Kind::Number | Kind::Operator | Kind::Bracket => format!("`{}`", self.value),
        }
    }

    /// `Operator("=")`: the token as messages show it.
    pub(crate) fn shown(&self) -> String {
        if self.value.is_empty() {
            return self.kind.name().to_owned();
        }
        format!("{}({})", self.kind.name(), quoted(&self.value))
    }
}

/// Words that are operators. They are still fine as field names.
const WORDS: &[&str] =
    &["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// The identifier that stood directly behind a `#`.
    pointer: bool,
}

pub(crate) fn is_word(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, pointer: false }
    }

    /// The next token; `End` for ever after the last.
    ///
    /// # Errors
    /// A character that begins no token, a text or comment that does not end, a malformed number.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, Error> {
        if std::mem::take(&mut self.pointer) {
            let from = self.at;
            self.skip_while(is_word);
            if self.at > from {
                return Ok(self.token(Kind::Identifier, from));
            }
        }
        self.skip_blank()?;
        let from = self.at;
        let Some(c) = self.bump() else {
            return Ok(self.token(Kind::End, from));
        };
        match c {
            '\'' | '"' => self.text_literal(c, from),
            '`' => self.raw_literal(from),
            'b' | 'B' if matches!(self.peek(), Some('\'' | '"')) => {
                Err(Error::syntax("bytes literals are not supported", self.span(from))
                    .hint("write the text without the b"))
            }
            '0'..='9' => self.number(from),
            '.' if matches!(self.peek(), Some('0'..='9')) => self.number(from),
            '#' => {
                self.accept("#");
                self.pointer = true;
                Ok(self.token(Kind::Operator, from))
            }
            '?' => Ok(self.operator(from, ".?")),
            '|' => Ok(self.operator(from, "|")),
            ':' => Ok(self.operator(from, ":")),
            '.' => Ok(self.operator(from, ".")),
            '&' | '!' | '=' | '*' | '<' | '>' => Ok(self.operator(from, "&=*")),
            ',' | ';' | '%' | '+' | '-' | '^' | '/' => Ok(self.operator(from, "")),
            '(' | '[' | '{' | ')' | ']' | '}' => Ok(self.token(Kind::Bracket, from)),
            c if is_word(c) => {
                self.skip_while(is_word);
                let word = &self.text[from..self.at];
                let kind = if WORDS.contains(&word) { Kind::Operator } else { Kind::Identifier };
                Ok(self.token(kind, from))
            }
            c => Err(Error::syntax(format!("unrecognized character: {}", shown(c)), self.span(from))),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, any_of: &str) -> bool {
        let found = self.peek().is_some_and(|c| any_of.contains(c));
        if found {
            self.bump();
        }
        found
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
    }

    fn span(&self, from: usize) -> Span {
        // The text has at most `limits::TEXT_BYTES`, so positions always fit.
        let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Span { from: place(from), to: place(self.at) }
    }

    fn token(&self, kind: Kind, from: usize) -> Token<'a> {
        Token { kind, value: self.text[from..self.at].into(), span: self.span(from) }
    }

    fn operator(&mut self, from: usize, second: &str) -> Token<'a> {
        self.accept(second);
        self.token(Kind::Operator, from)
    }

    fn skip_blank(&mut self) -> Result<(), Error> {
        loop {
            self.skip_while(char::is_whitespace);
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let from = self.at;
                let Some(end) = comment.find("*/") else {
                    self.at = self.text.len();
                    return Err(Error::syntax("unclosed comment", self.span(from)));
                };
                self.at += 2 + end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn number(&mut self, from: usize) -> Result<Token<'a>, Error> {
        self.at = from;
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.skip_while(|c| digits.contains(c));
        let whole = self.at;
        if self.accept(".") {
            if self.peek() == Some('.') {
                // `1..3` is a range, not `1.` and `.3`.
                self.at = whole;
                return Ok(self.token(Kind::Number, from));
            }
            self.skip_while(|c| digits.contains(c));
        }
        if self.accept("eE") {
            self.accept("+-");
            self.skip_while(|c| digits.contains(c));
        }
        if self.peek().is_some_and(is_word) {
            self.bump();
            let word = quoted(&self.text[from..self.at]);
            return Err(Error::syntax(format!("bad number syntax: {word}"), self.span(from)));
        }
        Ok(self.token(Kind::Number, from))
    }

    fn text_literal(&mut self, quote: char, from: usize) -> Result<Token<'a>, Error> {
        loop {
            match self.bump() {
                None | Some('\n') => {
                    return Err(Error::syntax("literal not terminated", self.span(from))
                        .hint("close the text with the quote that opened it"));
                }
                Some('\\') => {
                    let at = self.at - 1;
                    let length = escape::length(&self.text[self.at..], quote)
                        .ok_or_else(|| Error::syntax("invalid char escape", self.span(at)))?;
                    self.at += length;
                }
                Some(c) if c == quote => break,
                Some(_) => {}
            }
        }
        let inner = &self.text[from + 1..self.at - 1];
        let value = escape::unescape(inner).map_err(|message| Error::syntax(message, self.span(from)))?;
        Ok(Token { kind: Kind::Text, value, span: self.span(from) })
    }

    /// `` `raw` ``: nothing is an escape but the doubled backtick.
    fn raw_literal(&mut self, from: usize) -> Result<Token<'a>, Error> {
        loop {
            let Some(end) = self.text[self.at..].find('`') else {
                self.at = self.text.len();
                return Err(Error::syntax("literal not terminated", self.span(from)));
            };
            self.at += end + 1;
            if !self.accept("`") {
                break;
            }
        }
        let value = self.text[from + 1..self.at - 1].replace("``", "`").into();
        Ok(Token { kind: Kind::Text, value, span: self.span(from) })
    }
}

/// `U+0040 '@'`.
fn shown(c: char) -> String {
    let printable = !c.is_control() && (c == ' ' || !c.is_whitespace());
    let code = u32::from(c);
    if printable { format!("U+{code:04X} '{c}'") } else { format!("U+{code:04X}") }
}
