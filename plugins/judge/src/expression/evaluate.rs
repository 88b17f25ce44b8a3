//! Computing a checked tree, within a budget.

use std::cmp::Ordering;

use super::Variable;
use super::check;
use super::error::{ExpressionError, Kind};
use super::functions::{Asked, Failure};
use super::tree::{Node, Operator, Part};
use super::value::{Type, Value};
use crate::facts::Facts;
use crate::limits::{MAX_ITEMS, MAX_STEPS, MAX_TEXT_BYTES};

/// What the expressions of one judgment may still cost together.
#[derive(Clone, Debug)]
pub struct Budget {
    steps_left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_STEPS)
    }
}

impl Budget {
    /// A budget of so many steps.
    pub fn new(steps: u64) -> Self {
        Self { steps_left: steps }
    }

    /// The steps that are left.
    pub fn steps_left(&self) -> u64 {
        self.steps_left
    }

    /// Takes steps before they are gone.
    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), Failure> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => {
                self.steps_left = 0;
                Err(Failure::limit(
                    "the expressions take too many steps together; look at fewer or shorter lists",
                ))
            }
        }
    }

    /// Takes the steps for looking at a text.
    pub(crate) fn charge_text(&mut self, text: &str) -> Result<(), Failure> {
        self.charge(1 + text.len() as u64 / 64)
    }
}

/// One computation.
pub(super) struct Run<'a, 'b> {
    pub(super) facts: &'a Facts<'b>,
    pub(super) variables: &'a [Variable<'a>],
    pub(super) budget: &'a mut Budget,
}

type Computed = Result<Value, ExpressionError>;

impl Run<'_, '_> {
    pub(super) fn value(&mut self, node: &Node) -> Computed {
        let column = node.column;
        let at = |failure: Failure| failure.at(column);
        self.budget.charge(1).map_err(at)?;
        match &node.part {
            Part::Literal(value) => Ok(value.clone()),
            Part::List(items) => {
                items.iter().map(|item| self.value(item)).collect::<Result<_, _>>().map(Value::List)
            }
            Part::Variable(name) => {
                let known = self.variables.iter().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| {
                    ExpressionError::new(Kind::Unknown, column, format!("there is no name `{name}`"))
                })
            }
            Part::Call(function, arguments) => {
                let values = arguments.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
                let mut asked = Asked { facts: self.facts, budget: self.budget };
                function.call(&mut asked, &values).map_err(at)
            }
            Part::Index(pair) => {
                let (value, index) = (self.value(&pair[0])?, self.value(&pair[1])?);
                self.item(&value, &index).map_err(at)
            }
            Part::Not(inner) => Ok(Value::Bool(!self.truth(inner)?)),
            Part::Minus(inner) => match self.value(inner)? {
                Value::Int(number) => {
                    number.checked_neg().map(Value::Int).ok_or_else(|| at(Failure::arithmetic(TOO_LARGE)))
                }
                Value::Float(number) => Ok(Value::Float(-number)),
                other => Err(at(Failure::typed(format!("`-` takes a number, and this is {}", other.kind())))),
            },
            Part::Binary(Operator::And, pair) => {
                Ok(Value::Bool(self.truth(&pair[0])? && self.truth(&pair[1])?))
            }
            Part::Binary(Operator::Or, pair) => {
                Ok(Value::Bool(self.truth(&pair[0])? || self.truth(&pair[1])?))
            }
            Part::Binary(operator, pair) => {
                let (left, right) = (self.value(&pair[0])?, self.value(&pair[1])?);
                check::binary(*operator, left.kind(), right.kind(), column)?;
                self.binary(*operator, &left, &right).map_err(at)
            }
            Part::If(parts) => {
                let chosen = if self.truth(&parts[0])? { &parts[1] } else { &parts[2] };
                self.value(chosen)
            }
        }
    }

    fn truth(&mut self, node: &Node) -> Result<bool, ExpressionError> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => {
                let message = format!("true or false is needed here, and this is {}", other.kind());
                Err(ExpressionError::new(Kind::Type, node.column, message))
            }
        }
    }

    fn item(&mut self, value: &Value, index: &Value) -> Result<Value, Failure> {
        match (value, index) {
            (Value::List(items), Value::Int(index)) => {
                let from_end = items.len() as i64 + index.min(&0);
                let place = if *index < 0 { from_end } else { *index };
                let item = usize::try_from(place).ok().and_then(|place| items.get(place));
                item.cloned().ok_or_else(|| {
                    Failure::unjudgeable(format!("there is no item {index} in a list of {}", items.len()))
                })
            }
            (Value::Map(map), Value::Text(key)) => {
                let item = map.get(&**key);
                let item =
                    item.ok_or_else(|| Failure::unjudgeable(format!("the object has no `{}`", short(key))))?;
                self.budget.charge(Value::count(item))?;
                Ok(item.into())
            }
            _ => Err(Failure::typed(format!("{} has no items by {}", value.kind(), index.kind()))),
        }
    }

    fn binary(&mut self, operator: Operator, left: &Value, right: &Value) -> Result<Value, Failure> {
        let truth = match operator {
            Operator::Equal => self.equal(left, right)?,
            Operator::NotEqual => !self.equal(left, right)?,
            Operator::Less => self.order(left, right)? == Some(Ordering::Less),
            Operator::Greater => self.order(left, right)? == Some(Ordering::Greater),
            Operator::LessOrEqual => self.order(left, right)?.is_some_and(Ordering::is_le),
            Operator::GreaterOrEqual => self.order(left, right)?.is_some_and(Ordering::is_ge),
            Operator::In => self.holds(right, left)?,
            Operator::NotIn => !self.holds(right, left)?,
            _ => return self.arithmetic(operator, left, right),
        };
        Ok(Value::Bool(truth))
    }

    /// Whether two values are the same; whole numbers are compared with others by value.
    fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Failure> {
        equal(self.budget, left, right)
    }

    fn order(&mut self, left: &Value, right: &Value) -> Result<Option<Ordering>, Failure> {
        match (left, right) {
            (Value::Int(left), Value::Int(right)) => Ok(Some(left.cmp(right))),
            (Value::Text(left), Value::Text(right)) => {
                self.budget.charge_text(left)?;
                Ok(Some(left.cmp(right)))
            }
            _ => Ok(float(left).zip(float(right)).and_then(|(left, right)| left.partial_cmp(&right))),
        }
    }

    fn holds(&mut self, whole: &Value, part: &Value) -> Result<bool, Failure> {
        match (whole, part) {
            (Value::List(items), part) => {
                for item in items.iter() {
                    if comparable(item, part) && self.equal(item, part)? {
                        return Ok(true);
                    }
                    self.budget.charge(1)?;
                }
                Ok(false)
            }
            (Value::Text(text), Value::Text(part)) => {
                self.budget.charge_text(text)?;
                Ok(text.contains(&**part))
            }
            (Value::Map(map), Value::Text(key)) => Ok(map.contains_key(&**key)),
            _ => Err(Failure::typed(format!("{} cannot be in {}", part.kind(), whole.kind()))),
        }
    }

    fn arithmetic(&mut self, operator: Operator, left: &Value, right: &Value) -> Result<Value, Failure> {
        match (operator, left, right) {
            (Operator::Add, Value::Text(left), Value::Text(right)) => {
                let bytes = left.len() + right.len();
                if bytes > MAX_TEXT_BYTES {
                    return Err(Failure::limit(format!(
                        "the text would have more than {MAX_TEXT_BYTES} bytes"
                    )));
                }
                self.budget.charge(1 + bytes as u64 / 64)?;
                Ok(Value::Text(format!("{left}{right}").into()))
            }
            (Operator::Add, Value::List(left), Value::List(right)) => {
                let items = left.len() + right.len();
                if items > MAX_ITEMS {
                    return Err(Failure::limit(format!("the list would have more than {MAX_ITEMS} items")));
                }
                self.budget.charge(items as u64)?;
                Ok(Value::list(left.iter().chain(right.iter()).cloned()))
            }
            (Operator::Divide | Operator::Remainder, _, divisor) if float(divisor) == Some(0.0) => {
                Err(Failure::arithmetic("a number is divided by zero"))
            }
            (Operator::Divide, ..) => floats(operator, left, right),
            (_, Value::Int(left), Value::Int(right)) => {
                let result = match operator {
                    Operator::Add => left.checked_add(*right),
                    Operator::Subtract => left.checked_sub(*right),
                    Operator::Multiply => left.checked_mul(*right),
                    _ => left.checked_rem(*right),
                };
                result.map(Value::Int).ok_or_else(|| Failure::arithmetic(TOO_LARGE))
            }
            _ => floats(operator, left, right),
        }
    }

    /// The sides of the comparison that made the expression false, or the place of another part that did.
    pub(super) fn why_false(&mut self, node: &Node) -> Option<String> {
        match &node.part {
            Part::Binary(Operator::And, pair) => {
                let culprit = if self.truth(&pair[0]).ok()? { &pair[1] } else { &pair[0] };
                self.why_false(culprit)
            }
            Part::Binary(operator, pair) if operator.is_comparison() => {
                let shown = |value: Value| short(&value.to_json().to_string());
                let (left, right) = (self.value(&pair[0]).ok()?, self.value(&pair[1]).ok()?);
                Some(format!("{} {operator} {}", shown(left), shown(right)))
            }
            _ => Some(format!("the part at character {} is false", node.column)),
        }
    }
}

const TOO_LARGE: &str = "the result is too large a number";

fn comparable(left: &Value, right: &Value) -> bool {
    left.kind() == right.kind()
}

/// Whether two values are the same. Values of different kinds never are.
pub(super) fn equal(budget: &mut Budget, left: &Value, right: &Value) -> Result<bool, Failure> {
    match (left, right) {
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => {
            Ok(float(left) == float(right))
        }
        (Value::Text(left), Value::Text(right)) => {
            budget.charge_text(left)?;
            Ok(left == right)
        }
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                budget.charge(1)?;
                if !equal(budget, left, right)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(left), Value::Map(right)) => {
            budget.charge(left.values().map(Value::count).sum())?;
            Ok(left == right)
        }
        _ => Ok(left == right),
    }
}

/// A number as one with a fraction.
pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        // Whole numbers above 2^53 lose digits, as in every language that compares the two.
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn floats(operator: Operator, left: &Value, right: &Value) -> Result<Value, Failure> {
    let (Some(left), Some(right)) = (float(left), float(right)) else {
        return Err(Failure::typed(format!(
            "`{operator}` takes numbers, not {} and {}",
            left.kind(),
            right.kind()
        )));
    };
    let result = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        _ => left % right,
    };
    Value::number(result).ok_or_else(|| Failure::arithmetic(TOO_LARGE))
}

/// A text that fits into a message.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 200;
    let end = text.floor_char_boundary(MOST);
    if end == text.len() { text.to_owned() } else { format!("{}…", &text[..end]) }
}

/// What a function got in the place of an argument, for the check when it is called.
pub(super) fn mismatch(name: &str, wanted: Type, found: &Value) -> Failure {
    Failure::typed(format!("`{name}` takes {wanted} here, and this is {}", found.kind()))
}
