//! What expressions compute with.

use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

/// A value; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, as in JSON.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; always finite.
    Float(f64),
    /// Text.
    Text(Rc<str>),
    /// Values in their order.
    List(Rc<[Value]>),
    /// An object of JSON, such as an argument of a call.
    Map(Rc<Map<String, Json>>),
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Told by the trace only.
    Any,
    /// Nothing.
    Null,
    /// True or false.
    Bool,
    /// Whole or not.
    Number,
    /// Text.
    Text,
    /// A list.
    List,
    /// An object of JSON.
    Map,
}

impl Value {
    /// Text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// A number, if it is one that can be told.
    pub(crate) fn number(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Float(number))
    }

    /// What kind of value it is.
    pub fn kind(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) | Self::Float(_) => Type::Number,
            Self::Text(_) => Type::Text,
            Self::List(_) => Type::List,
            Self::Map(_) => Type::Map,
        }
    }

    /// Number of values in a piece of JSON, itself included.
    pub(crate) fn count(json: &Json) -> u64 {
        match json {
            Json::Array(items) => 1 + items.iter().map(Self::count).sum::<u64>(),
            Json::Object(map) => 1 + map.values().map(Self::count).sum::<u64>(),
            Json::String(text) => 1 + text.len() as u64 / 64,
            _ => 1,
        }
    }

    /// The value as JSON, for reports.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Text(text) => (**text).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(map) => Json::Object((**map).clone()),
        }
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                // What does not fit is near enough as it is; JSON has no infinite numbers.
                None => Self::Float(number.as_f64().unwrap_or(f64::MAX)),
            },
            Json::String(text) => Self::text(text),
            Json::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Json::Object(map) => Self::Map(Rc::new(map.clone())),
        }
    }
}

impl Type {
    /// Whether a value of this type may be one of the other.
    pub(crate) fn fits(self, wanted: Self) -> bool {
        self == Self::Any || wanted == Self::Any || self == wanted
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "an object",
        })
    }
}
