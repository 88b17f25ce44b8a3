//! Expressions as trees.

use std::fmt;

use super::functions::Function;
use super::value::{Type, Value};

/// An expression that was read and checked.
#[derive(Debug)]
pub struct Expression {
    pub(super) root: Node,
    pub(super) kind: Type,
}

/// A part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) part: Part,
    /// Where it stands, in characters from 1.
    pub(super) column: usize,
    /// How deep the tree below it is, itself included.
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) enum Part {
    Literal(Value),
    List(Vec<Node>),
    Variable(String),
    Call(&'static Function, Vec<Node>),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Minus(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    /// Condition, then, else.
    If(Box<[Node; 3]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// Operators of a higher number bind closer.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual => 4,
            Self::Greater | Self::GreaterOrEqual | Self::In | Self::NotIn => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::Remainder => 6,
        }
    }

    pub(super) fn is_comparison(self) -> bool {
        self.precedence() == COMPARISON
    }
}

/// `not` binds closer than `and` and less than a comparison, as in Python.
pub(super) const NEGATION: u8 = 3;
pub(super) const COMPARISON: u8 = 4;

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        })
    }
}
