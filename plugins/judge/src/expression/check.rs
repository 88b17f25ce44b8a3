//! What can be told of an expression before anything is computed: that its names exist and its types can fit.

use super::error::{ExpressionError, Kind};
use super::functions::{Function, nearest};
use super::tree::{Node, Operator, Part};
use super::value::Type;

type Checked = Result<Type, ExpressionError>;

/// The type of a tree; an error if some part of it can never be computed, even one that would be skipped.
pub(super) fn check(node: &Node, names: &[(&str, Type)]) -> Checked {
    let of = |node: &Node| check(node, names);
    match &node.part {
        Part::Literal(value) => Ok(value.kind()),
        Part::Variable(name) => variable(name, node.column, names),
        Part::List(items) => items.iter().try_for_each(|item| of(item).map(drop)).map(|()| Type::List),
        Part::Call(function, arguments) => call(function, arguments, node.column, names),
        Part::Index(pair) => index(of(&pair[0])?, of(&pair[1])?, node.column),
        Part::Not(inner) => wanted(of(inner)?, Type::Bool, "`not`", inner.column),
        Part::Minus(inner) => wanted(of(inner)?, Type::Number, "`-`", inner.column),
        Part::Binary(operator, pair) => binary(*operator, of(&pair[0])?, of(&pair[1])?, node.column),
        Part::If(parts) => {
            wanted(of(&parts[0])?, Type::Bool, "`if`", parts[0].column)?;
            let (then, other) = (of(&parts[1])?, of(&parts[2])?);
            Ok(if then == other { then } else { Type::Any })
        }
    }
}

fn variable(name: &str, column: usize, names: &[(&str, Type)]) -> Checked {
    if let Some((_, kind)) = names.iter().find(|(known, _)| *known == name) {
        return Ok(*kind);
    }
    let known = names.iter().map(|(known, _)| *known);
    let hint = match nearest(name) {
        Some(function) => format!("; the function `{function}` is called with parentheses"),
        None if names.is_empty() => "; texts stand in quotes".to_owned(),
        None => {
            format!("; there are {}", known.map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "))
        }
    };
    Err(ExpressionError::new(Kind::Unknown, column, format!("there is no name `{name}`{hint}")))
}

fn call(function: &Function, arguments: &[Node], column: usize, names: &[(&str, Type)]) -> Checked {
    let Function { name, params, optional, variadic, .. } = *function;
    let (least, most) = (params.len() - optional, params.len());
    let count = arguments.len();
    if count < least || (count > most && !variadic) {
        let takes = match (variadic, least == most) {
            (true, _) => format!("at least {least}"),
            (false, true) => most.to_string(),
            (false, false) => format!("{least} to {most}"),
        };
        let message = format!("`{name}` takes {takes} arguments, not {count}: `{}`", function.signature());
        return Err(ExpressionError::new(Kind::Type, column, message));
    }
    for (place, argument) in arguments.iter().enumerate() {
        let param = params.get(place).or(params.last()).copied().unwrap_or(Type::Any);
        wanted(check(argument, names)?, param, &format!("`{name}`"), argument.column)?;
    }
    Ok(function.returns)
}

/// The type, if it can be the wanted one.
fn wanted(found: Type, wanted: Type, by: &str, column: usize) -> Checked {
    if found.fits(wanted) {
        return Ok(wanted);
    }
    Err(ExpressionError::new(Kind::Type, column, format!("{by} takes {wanted} here, and this is {found}")))
}

fn index(value: Type, index: Type, column: usize) -> Checked {
    let fits = match value {
        Type::List => index.fits(Type::Number),
        Type::Map => index.fits(Type::Text),
        Type::Any => index.fits(Type::Number) || index.fits(Type::Text),
        _ => false,
    };
    if fits {
        return Ok(Type::Any);
    }
    let message = format!("lists have numbers as indices and objects texts; this is {value} with {index}");
    Err(ExpressionError::new(Kind::Type, column, message))
}

/// The type of an operation. Also what holds when it is computed, with the types of the values.
pub(super) fn binary(operator: Operator, left: Type, right: Type, column: usize) -> Checked {
    let both = |kind: Type| left.fits(kind) && right.fits(kind);
    let result = match operator {
        Operator::Or | Operator::And => both(Type::Bool).then_some(Type::Bool),
        Operator::Equal | Operator::NotEqual => {
            let comparable = left.fits(right) || left == Type::Null || right == Type::Null;
            comparable.then_some(Type::Bool)
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            (both(Type::Number) || both(Type::Text)).then_some(Type::Bool)
        }
        Operator::In | Operator::NotIn => {
            let holds = match right {
                Type::Text | Type::Map => left.fits(Type::Text),
                Type::List | Type::Any => true,
                _ => false,
            };
            holds.then_some(Type::Bool)
        }
        Operator::Add => [Type::Number, Type::Text, Type::List]
            .into_iter()
            .find(|kind| both(*kind))
            .map(|kind| if left == Type::Any && right == Type::Any { Type::Any } else { kind }),
        Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            both(Type::Number).then_some(Type::Number)
        }
    };
    result.ok_or_else(|| {
        let message = format!("`{operator}` does not go with {left} and {right}");
        ExpressionError::new(Kind::Type, column, message)
    })
}
