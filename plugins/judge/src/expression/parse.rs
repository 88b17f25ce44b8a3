//! From words and signs to a tree, by precedence climbing.

use super::error::{ExpressionError, Kind};
use super::functions;
use super::token::{Placed, Token};
use super::tree::{COMPARISON, NEGATION, Node, Operator, Part};
use crate::limits::{MAX_NESTING, MAX_TREE_DEPTH};

/// Reads a whole expression.
pub(super) fn parse(tokens: &[Placed]) -> Result<Node, ExpressionError> {
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    if tokens.is_empty() {
        return Err(ExpressionError::new(Kind::Syntax, 1, "the expression is empty"));
    }
    let root = parser.condition()?;
    match parser.peek() {
        None => Ok(root),
        Some(_) => Err(parser.error("the expression should end here; an operator is missing")),
    }
}

struct Parser<'a> {
    tokens: &'a [Placed],
    at: usize,
    /// How many brackets, conditions and signs in front stand around what is read.
    nesting: usize,
}

type Parsed = Result<Node, ExpressionError>;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Where the next token stands, or where the last one stood.
    fn column(&self) -> usize {
        let last = self.tokens.last().map_or(1, |(_, column)| *column);
        self.tokens.get(self.at).map_or(last, |(_, column)| *column)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, wanted: &Token, sign: &str, what: &str) -> Result<(), ExpressionError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(format_args!("`{sign}` is missing {what}"))) }
    }

    fn error(&self, message: impl std::fmt::Display) -> ExpressionError {
        ExpressionError::new(Kind::Syntax, self.column(), message)
    }

    /// Reads something that may hold itself, unless too much of it is open already.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.nesting == MAX_NESTING {
            let message = format!("the expression is nested more than {MAX_NESTING} deep");
            return Err(ExpressionError::new(Kind::Limit, self.column(), message));
        }
        self.nesting += 1;
        let read = read(self);
        self.nesting -= 1;
        read
    }

    /// `a if b else c`, or anything less.
    fn condition(&mut self) -> Parsed {
        self.nested(|parser| {
            let then = parser.binary(0)?;
            let column = parser.column();
            if !parser.take(&Token::If) {
                return Ok(then);
            }
            let condition = parser.binary(0)?;
            if !parser.take(&Token::Else) {
                return Err(parser.error("`else` is missing behind `if`, as in `a if b else c`"));
            }
            let other = parser.condition()?;
            node(column, Part::If(Box::new([condition, then, other])))
        })
    }

    /// Operands joined by operators that bind at least as close as `least`.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary(least)?;
        while let Some((operator, width)) = self.operator() {
            let precedence = operator.precedence();
            if precedence < least {
                break;
            }
            let column = self.column();
            self.at += width;
            let right = self.binary(precedence + 1)?;
            if operator.is_comparison() && self.operator().is_some_and(|(next, _)| next.is_comparison()) {
                return Err(self.error("comparisons do not chain; join two of them with `and`"));
            }
            left = node(column, Part::Binary(operator, Box::new([left, right])))?;
        }
        Ok(left)
    }

    /// The operator that comes next, and how many tokens it takes.
    fn operator(&self) -> Option<(Operator, usize)> {
        match self.peek()? {
            Token::Operator(operator) => Some((*operator, 1)),
            Token::Not => {
                let next = self.tokens.get(self.at + 1).map(|(token, _)| token);
                (next == Some(&Token::Operator(Operator::In))).then_some((Operator::NotIn, 2))
            }
            _ => None,
        }
    }

    fn unary(&mut self, least: u8) -> Parsed {
        let column = self.column();
        if self.peek() == Some(&Token::Not) {
            if least > NEGATION {
                return Err(self.error("put `not` and what it negates in parentheses here"));
            }
            self.at += 1;
            let inner = self.nested(|parser| parser.binary(COMPARISON.min(NEGATION)))?;
            return node(column, Part::Not(Box::new(inner)));
        }
        if self.take(&Token::Operator(Operator::Subtract)) {
            let inner = self.nested(|parser| parser.unary(u8::MAX))?;
            return node(column, Part::Minus(Box::new(inner)));
        }
        self.postfix()
    }

    /// A value with `[index]` behind it.
    fn postfix(&mut self) -> Parsed {
        let mut value = self.primary()?;
        loop {
            let column = self.column();
            if self.take(&Token::OpenList) {
                let index = self.condition()?;
                self.expect(&Token::CloseList, "]", "behind the index")?;
                value = node(column, Part::Index(Box::new([value, index])))?;
            } else if self.peek() == Some(&Token::Dot) {
                return Err(self.error(
                    "values have no attributes; `result.success` is the only name with a dot, `x[\"key\"]` reads objects",
                ));
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let column = self.column();
        let Some(token) = self.peek() else {
            return Err(self.error("the expression ends where a value should follow"));
        };
        self.at += 1;
        match token {
            Token::Literal(value) => node(column, Part::Literal(value.clone())),
            Token::Name(name) if self.peek() == Some(&Token::Open) => self.call(name, column),
            Token::Name(name) if name == "result" && self.is_success() => self.success(column),
            Token::Name(name) => node(column, Part::Variable(name.clone())),
            Token::Open => {
                let inner = self.condition()?;
                self.expect(&Token::Close, ")", "behind the parenthesis")?;
                Ok(inner)
            }
            Token::OpenList => {
                let items = self.items(&Token::CloseList, "]")?;
                node(column, Part::List(items))
            }
            _ => {
                self.at -= 1;
                Err(self.error("a value should stand here"))
            }
        }
    }

    /// Whether `.success` follows.
    fn is_success(&self) -> bool {
        let next = |offset| self.tokens.get(self.at + offset).map(|(token, _)| token);
        next(0) == Some(&Token::Dot) && next(1) == Some(&Token::Name("success".to_owned()))
    }

    /// `result.success`, the one assertion of old scenarios, is the function of that name.
    fn success(&mut self, column: usize) -> Parsed {
        self.at += 2;
        let function = functions::find("success").map_err(|error| error.at(column))?;
        node(column, Part::Call(function, Vec::new()))
    }

    fn call(&mut self, name: &str, column: usize) -> Parsed {
        let function = functions::find(name).map_err(|error| error.at(column))?;
        self.at += 1;
        let arguments = self.items(&Token::Close, ")")?;
        node(column, Part::Call(function, arguments))
    }

    /// Values with commas between them, up to the closing sign.
    fn items(&mut self, close: &Token, sign: &str) -> Result<Vec<Node>, ExpressionError> {
        let mut items = Vec::new();
        while !self.take(close) {
            if !items.is_empty() {
                self.expect(&Token::Comma, ",", format!("or `{sign}`").as_str())?;
                if self.take(close) {
                    break;
                }
            }
            items.push(self.condition()?);
        }
        Ok(items)
    }
}

/// Makes a node, unless the tree becomes too deep.
fn node(column: usize, part: Part) -> Parsed {
    let deepest = |nodes: &[Node]| nodes.iter().map(|node| node.depth).max().unwrap_or(0);
    let below = match &part {
        Part::Literal(_) | Part::Variable(_) => 0,
        Part::List(items) | Part::Call(_, items) => deepest(items),
        Part::Index(pair) | Part::Binary(_, pair) => deepest(&pair[..]),
        Part::Not(inner) | Part::Minus(inner) => inner.depth,
        Part::If(parts) => deepest(&parts[..]),
    };
    if below == MAX_TREE_DEPTH {
        let message = format!("the expression is more than {MAX_TREE_DEPTH} parts deep; split it");
        return Err(ExpressionError::new(Kind::Limit, column, message));
    }
    Ok(Node { part, column, depth: below + 1 })
}
