//! From text to words and signs.

use super::error::{ExpressionError, Kind};
use super::tree::Operator;
use super::value::Value;
use crate::limits::{MAX_EXPRESSION_BYTES, MAX_TOKENS};

/// A word or sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Literal(Value),
    Name(String),
    Operator(Operator),
    Not,
    If,
    Else,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Dot,
}

/// A word or sign and its place, in characters from 1.
pub(super) type Placed = (Token, usize);

/// Reads all of an expression.
pub(super) fn read(source: &str) -> Result<Vec<Placed>, ExpressionError> {
    if source.len() > MAX_EXPRESSION_BYTES {
        let message =
            format!("the expression has {} bytes; {MAX_EXPRESSION_BYTES} are the most", source.len());
        return Err(ExpressionError::new(Kind::Limit, 1, message));
    }
    let mut reader = Reader { letters: source.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = reader.next()? {
        if tokens.len() == MAX_TOKENS {
            let message = format!("the expression has more than {MAX_TOKENS} words and signs");
            return Err(ExpressionError::new(Kind::Limit, token.1, message));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// Signs of two letters come first: the longest one counts.
const SIGNS: &[(&str, Token)] = &[
    ("==", Token::Operator(Operator::Equal)),
    ("!=", Token::Operator(Operator::NotEqual)),
    ("<=", Token::Operator(Operator::LessOrEqual)),
    (">=", Token::Operator(Operator::GreaterOrEqual)),
    ("&&", Token::Operator(Operator::And)),
    ("||", Token::Operator(Operator::Or)),
    ("<", Token::Operator(Operator::Less)),
    (">", Token::Operator(Operator::Greater)),
    ("+", Token::Operator(Operator::Add)),
    ("-", Token::Operator(Operator::Subtract)),
    ("*", Token::Operator(Operator::Multiply)),
    ("/", Token::Operator(Operator::Divide)),
    ("%", Token::Operator(Operator::Remainder)),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    ("[", Token::OpenList),
    ("]", Token::CloseList),
    (",", Token::Comma),
    (".", Token::Dot),
];

/// What other languages have and this one leaves out, with what to do instead.
const LEFT_OUT: &[(&str, &str)] = &[
    ("**", "powers are left out, since their results have no bound"),
    ("<<", "shifts are left out, since their results have no bound"),
    (">>", "shifts are left out, since their results have no bound"),
    ("//", "whole division is left out; use `round(a / b)`"),
    (":=", "nothing can be assigned"),
    ("===", "use `==`"),
];

struct Reader {
    letters: Vec<char>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> Result<Option<Placed>, ExpressionError> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        let start = self.at;
        let Some(letter) = self.peek() else { return Ok(None) };
        let token = match letter {
            '0'..='9' => self.number()?,
            '\'' | '"' => self.text(letter)?,
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            _ => self.sign()?,
        };
        Ok(Some((token, start + 1)))
    }

    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.letters[start..self.at].iter().collect()
    }

    fn starts_with(&self, sign: &str) -> bool {
        let rest = &self.letters[self.at..];
        sign.chars().zip(rest).filter(|(wanted, letter)| wanted == *letter).count() == sign.len()
    }

    fn error(&self, at: usize, message: impl std::fmt::Display) -> ExpressionError {
        ExpressionError::new(Kind::Syntax, at + 1, message)
    }

    fn number(&mut self) -> Result<Token, ExpressionError> {
        let start = self.at;
        let mut text = self.take_while(|letter| letter.is_ascii_digit());
        let has_fraction =
            self.peek() == Some('.') && self.letters.get(self.at + 1).is_some_and(char::is_ascii_digit);
        if has_fraction {
            self.at += 1;
            text = format!("{text}.{}", self.take_while(|letter| letter.is_ascii_digit()));
        }
        let exponent = self.exponent();
        if self.peek().is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            return Err(self.error(start, "a number is digits, a fraction and an exponent, as in `1.5e-3`"));
        }
        let too_large = |_| self.error(start, "the number is too large");
        if !has_fraction && exponent.is_empty() {
            return text.parse().map(|whole| Token::Literal(Value::Int(whole))).map_err(|_| too_large(()));
        }
        let number = (text + &exponent).parse::<f64>().ok().and_then(Value::number);
        number.map(Token::Literal).ok_or_else(|| too_large(()))
    }

    /// `e-3`, if it stands here.
    fn exponent(&mut self) -> String {
        let signed = matches!(self.letters.get(self.at + 1), Some('+' | '-'));
        let digits = self.at + 1 + usize::from(signed);
        let is_one = matches!(self.peek(), Some('e' | 'E'))
            && self.letters.get(digits).is_some_and(char::is_ascii_digit);
        if !is_one {
            return String::new();
        }
        let head: String = self.letters[self.at..digits].iter().collect();
        self.at = digits;
        head + &self.take_while(|letter| letter.is_ascii_digit())
    }

    fn text(&mut self, quote: char) -> Result<Token, ExpressionError> {
        let start = self.at;
        let mut text = String::new();
        loop {
            self.at += 1;
            match self.peek() {
                None => return Err(self.error(start, format!("the text has no closing {quote}"))),
                Some('\\') => {
                    self.at += 1;
                    text.push(match self.peek() {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some(letter @ ('\\' | '\'' | '"')) => letter,
                        _ => return Err(self.error(self.at, r#"after `\` comes one of `n t \ ' "`"#)),
                    });
                }
                Some(letter) if letter == quote => break,
                Some(letter) => text.push(letter),
            }
        }
        self.at += 1;
        Ok(Token::Literal(Value::text(&text)))
    }

    fn word(&mut self) -> Token {
        let word = self.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        match &*word {
            "and" | "AND" => Token::Operator(Operator::And),
            "or" | "OR" => Token::Operator(Operator::Or),
            "not" | "NOT" => Token::Not,
            "in" => Token::Operator(Operator::In),
            "if" => Token::If,
            "else" => Token::Else,
            "true" | "True" => Token::Literal(Value::Bool(true)),
            "false" | "False" => Token::Literal(Value::Bool(false)),
            "null" | "None" => Token::Literal(Value::Null),
            _ => Token::Name(word),
        }
    }

    fn sign(&mut self) -> Result<Token, ExpressionError> {
        if let Some((sign, advice)) = LEFT_OUT.iter().find(|(sign, _)| self.starts_with(sign)) {
            return Err(self.error(self.at, format!("`{sign}` means nothing here: {advice}")));
        }
        if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| self.starts_with(sign)) {
            self.at += sign.len();
            return Ok(token.clone());
        }
        let letter = self.letters[self.at].escape_default();
        let advice = if self.starts_with("=") { "; `==` compares" } else { "" };
        Err(self.error(self.at, format!("`{letter}` means nothing here{advice}")))
    }
}
