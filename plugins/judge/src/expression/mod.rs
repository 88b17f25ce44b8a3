//! The language of properties: literals, lists, comparisons, arithmetic, `and`/`or`/`not`, conditions, and the typed
//! functions of [`functions::FUNCTIONS`].
//!
//! It is small on purpose. There are no loops, no definitions, no attributes, no powers, shifts or repetitions, so
//! what an expression costs is bounded by its length and by the trace; [`Budget`] bounds both together. An expression
//! is checked as a whole before any of it is computed: names, numbers of arguments, and types as far as they show.

mod check;
mod error;
mod evaluate;
pub mod functions;
mod parse;
mod token;
mod tree;
mod value;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use self::error::{ExpressionError, Kind};
pub use self::evaluate::Budget;
pub use self::tree::Expression;
pub use self::value::{Type, Value};

use crate::facts::Facts;

/// A name that an expression may use, with its value.
pub type Variable<'a> = (&'a str, Value);

impl Expression {
    /// Reads an expression and checks it; `names` are the variables that it may use, with their types.
    ///
    /// # Errors
    /// If it is too large, cannot be read, or cannot mean anything; the error tells where.
    pub fn parse(source: &str, names: &[(&str, Type)]) -> Result<Self, ExpressionError> {
        let tokens = token::read(source)?;
        let root = parse::parse(&tokens)?;
        let kind = check::check(&root, names)?;
        Ok(Self { root, kind })
    }

    /// The type of what it gives, as far as that can be told without a trace.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Computes it.
    ///
    /// # Errors
    /// If the trace does not tell what is asked, the types do not fit, or the budget is used up.
    pub fn evaluate(
        &self,
        facts: &Facts<'_>,
        variables: &[Variable<'_>],
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        evaluate::Run { facts, variables, budget }.value(&self.root)
    }

    /// What made it false: the sides of a comparison, such as `0.25 >= 0.5`, or the place of another part.
    pub fn why_false(
        &self,
        facts: &Facts<'_>,
        variables: &[Variable<'_>],
        budget: &mut Budget,
    ) -> Option<String> {
        evaluate::Run { facts, variables, budget }.why_false(&self.root)
    }

    /// The function that is called at the top, if the expression is a call.
    pub fn called(&self) -> Option<&'static str> {
        match &self.root.part {
            tree::Part::Call(function, _) => Some(function.name),
            _ => None,
        }
    }
}
