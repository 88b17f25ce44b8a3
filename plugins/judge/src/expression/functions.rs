//! The functions of the language, in one list.
//!
//! A *call* in the names of parameters is a label, a query or a tool; see `Facts::call`.

use std::collections::BTreeSet;
use std::fmt;

use super::error::{ExpressionError, Kind};
use super::evaluate::{self, Budget, float};
use super::value::{Type, Value};
use crate::facts::Facts;
use crate::limits::MAX_TEXT_BYTES;
use crate::trace::Call;

/// A function of the language.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Names of its parameters, with commas between them.
    pub names: &'static str,
    /// Their types.
    pub params: &'static [Type],
    /// How many of the last ones may be left out.
    pub optional: usize,
    /// Whether the last one may be repeated.
    pub variadic: bool,
    /// What it gives.
    pub returns: Type,
    /// What it tells, in a few words.
    pub about: &'static str,
    run: fn(&mut Asked<'_, '_>, &[Value]) -> Result<Value, Failure>,
}

/// What a function may look at and use up.
pub(super) struct Asked<'a, 'b> {
    pub(super) facts: &'a Facts<'b>,
    pub(super) budget: &'a mut Budget,
}

/// Why a function gave nothing; the place is added where it was called.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    pub(super) fn limit(message: impl fmt::Display) -> Self {
        Self::new(Kind::Limit, message)
    }

    pub(super) fn typed(message: impl fmt::Display) -> Self {
        Self::new(Kind::Type, message)
    }

    pub(super) fn arithmetic(message: impl fmt::Display) -> Self {
        Self::new(Kind::Arithmetic, message)
    }

    /// The trace does not tell.
    pub(crate) fn unjudgeable(message: impl fmt::Display) -> Self {
        Self::new(Kind::Unjudgeable, message)
    }

    pub(super) fn at(self, column: usize) -> ExpressionError {
        ExpressionError::new(self.kind, column, self.message)
    }
}

/// Writes one line of the list.
macro_rules! function {
    ($name:literal, $names:literal, [$($param:ident),*] $(optional $optional:literal)? $(repeated $repeated:literal)?,
        $returns:ident, $about:literal, $run:expr) => {
        Function {
            name: $name,
            names: $names,
            params: &[$(Type::$param),*],
            optional: 0 $(+ $optional)?,
            variadic: false $(|| $repeated)?,
            returns: Type::$returns,
            about: $about,
            run: $run,
        }
    };
}

/// All functions.
pub const FUNCTIONS: &[Function] = &[
    function!(
        "result_count",
        "call",
        [Text],
        Number,
        "number of hits that the call reported",
        |asked, args| {
            let call = asked.call(&args[0])?;
            let count = call.summary.as_ref().and_then(|summary| summary.hit_count);
            count
                .and_then(|count| i64::try_from(count).ok())
                .map(Value::Int)
                .ok_or_else(|| untold(call, "hit_count"))
        }
    ),
    function!("results", "call", [Text], List, "ids of what the call found, in its order", |asked, args| {
        let call = asked.call(&args[0])?;
        let ids = call.summary.as_ref().and_then(|summary| summary.item_ids.as_ref());
        let ids = ids.ok_or_else(|| untold(call, "item_ids"))?;
        asked.budget.charge(ids.len() as u64)?;
        Ok(Value::list(ids.iter().map(|id| Value::text(id))))
    }),
    function!("truncated", "call", [Text], Bool, "whether the result was cut", |asked, args| {
        let call = asked.call(&args[0])?;
        let cut = call.summary.as_ref().and_then(|summary| summary.truncated);
        cut.map(Value::Bool).ok_or_else(|| untold(call, "truncated"))
    }),
    function!(
        "text",
        "call",
        [Text],
        Text,
        "text of the result, as much of it as the trace has",
        |asked, args| {
            let call = asked.call(&args[0])?;
            let text = call.summary.as_ref().and_then(|summary| summary.text.as_ref());
            text.map(|text| Value::text(text)).ok_or_else(|| untold(call, "text"))
        }
    ),
    function!("success", "call", [Text] optional 1, Bool, "whether the call succeeded; without one, whether all did",
    |asked, args| match args {
        [] => {
            asked.budget.charge(asked.facts.calls.len() as u64)?;
            let calls = asked.facts.some_calls()?;
            let all = calls.iter().map(success).collect::<Result<Vec<_>, _>>()?;
            Ok(Value::Bool(all.into_iter().all(|success| success)))
        }
        [call, ..] => success(asked.call(call)?).map(Value::Bool),
    }),
    function!(
        "outcome",
        "call",
        [Text],
        Text,
        "`ok`, `tool_error`, or why the call was refused, as in the audit",
        |asked, args| {
            let call = asked.call(&args[0])?;
            call.outcome.as_deref().map(Value::text).ok_or_else(|| untold(call, "outcome"))
        }
    ),
    function!("latency_ms", "call", [Text], Number, "how long the call took", |asked, args| {
        latency(asked.call(&args[0])?)
    }),
    function!(
        "arg",
        "call, name",
        [Text, Text],
        Any,
        "an argument of the call; null if it was not given",
        |asked, args| {
            let call = asked.call(&args[0])?;
            argument(asked.budget, call, &args[1])
        }
    ),
    function!("calls", "tool", [Text] optional 1, List, "steps of all calls of the tool, or of all tools", |asked, args| {
        let calls = asked.of_tool(args.first())?;
        Ok(Value::list(calls.iter().map(|call| Value::Int(i64::try_from(call.step).unwrap_or(i64::MAX)))))
    }),
    function!("latencies_ms", "tool", [Text] optional 1, List, "how long each of these calls took", |asked, args| {
        asked.of_tool(args.first())?.into_iter().map(latency).collect::<Result<_, _>>().map(Value::List)
    }),
    function!(
        "args",
        "tool, name",
        [Text, Text],
        List,
        "that argument of each call of the tool",
        |asked, args| {
            let calls = asked.of_tool(args.first())?;
            calls
                .into_iter()
                .map(|call| argument(asked.budget, call, &args[1]))
                .collect::<Result<_, _>>()
                .map(Value::List)
        }
    ),
    function!(
        "before",
        "tool, tool",
        [Text, Text],
        Bool,
        "whether the first call of the first tool came before all of the second",
        |asked, args| {
            let first = asked.of_tool(args.first())?.first().map(|call| call.place);
            let second = asked.of_tool(args.get(1))?.first().map(|call| call.place);
            match (first, second) {
                (_, None) => Err(Failure::unjudgeable(format!("{} was not called", shown(&args[1])))),
                (None, Some(_)) => Ok(Value::Bool(false)),
                (Some(first), Some(second)) => Ok(Value::Bool(first < second)),
            }
        }
    ),
    function!(
        "query",
        "name",
        [Text],
        Text,
        "text of a query of the scenario, as in `base` or `variants[0]`",
        |asked, args| {
            let name = text(&args[0]);
            asked.facts.query(name).map(Value::text).ok_or_else(|| {
                Failure::unjudgeable(format!("the scenario has no query `{}`", evaluate::short(name)))
            })
        }
    ),
    function!(
        "jaccard",
        "list, list",
        [List, List],
        Number,
        "how alike two lists are as sets: 0 nothing, 1 all in common",
        |asked, args| {
            let (left, right) = (asked.set(&args[0])?, asked.set(&args[1])?);
            if left.is_empty() && right.is_empty() {
                return Err(Failure::unjudgeable("both lists are empty, so there is nothing to compare"));
            }
            let common = left.intersection(&right).count();
            Ok(Value::Float(common as f64 / (left.len() + right.len() - common) as f64))
        }
    ),
    function!(
        "subset",
        "list, list",
        [List, List],
        Bool,
        "whether the second list has every item of the first",
        |asked, args| { Ok(Value::Bool(asked.set(&args[0])?.is_subset(&asked.set(&args[1])?))) }
    ),
    function!(
        "same",
        "list, list",
        [List, List],
        Bool,
        "whether two lists have the same items, in any order",
        |asked, args| { Ok(Value::Bool(asked.set(&args[0])? == asked.set(&args[1])?)) }
    ),
    function!("distinct", "list", [List], List, "the list without repetitions", |asked, args| {
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        for item in list(&args[0]) {
            if seen.insert(asked.key(item)?) {
                kept.push(item.clone());
            }
        }
        Ok(Value::list(kept))
    }),
    function!(
        "len",
        "value",
        [Any],
        Number,
        "number of items of a list, characters of a text, or keys of an object",
        |asked, args| {
            let count = match &args[0] {
                Value::List(items) => items.len(),
                Value::Map(map) => map.len(),
                Value::Text(text) => {
                    asked.budget.charge_text(text)?;
                    text.chars().count()
                }
                other => return Err(Failure::typed(format!("{} has no length", other.kind()))),
            };
            Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
        }
    ),
    function!("min", "list or numbers", [Any] repeated true, Number, "the least number", |asked, args| {
        asked.extreme(args, |number, best| number < best)
    }),
    function!("max", "list or numbers", [Any] repeated true, Number, "the greatest number", |asked, args| {
        asked.extreme(args, |number, best| number > best)
    }),
    function!("sum", "list", [List], Number, "the sum of a list of numbers", |asked, args| {
        let items = list(&args[0]);
        asked.budget.charge(items.len() as u64)?;
        if items.iter().all(|item| matches!(item, Value::Int(_))) {
            let whole = items.iter().try_fold(0_i64, |sum, item| match item {
                Value::Int(number) => sum.checked_add(*number),
                _ => None,
            });
            return whole.map(Value::Int).ok_or_else(|| Failure::arithmetic("the sum is too large a number"));
        }
        let numbers = items.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        Value::number(numbers.into_iter().sum())
            .ok_or_else(|| Failure::arithmetic("the sum is too large a number"))
    }),
    function!("abs", "number", [Number], Number, "the number without its sign", |_, args| match &args[0] {
        Value::Int(number) => {
            number
                .checked_abs()
                .map(Value::Int)
                .ok_or_else(|| Failure::arithmetic("the result is too large a number"))
        }
        other => Ok(Value::Float(number(other)?.abs())),
    }),
    function!("round", "number, digits", [Number, Number] optional 1, Number, "rounded, to so many digits behind the point", |_, args| {
        let digits = match args.get(1) {
            None => 0,
            Some(Value::Int(digits @ 0..=15)) => i32::try_from(*digits).unwrap_or(0),
            Some(_) => return Err(Failure::typed("`round` takes 0 to 15 digits")),
        };
        let scale = 10_f64.powi(digits);
        Value::number((number(&args[0])? * scale).round() / scale)
            .ok_or_else(|| Failure::arithmetic("the result is too large a number"))
    }),
    function!(
        "all",
        "list",
        [List],
        Bool,
        "whether every item is true; an empty list cannot be judged",
        |asked, args| { Ok(Value::Bool(asked.truths(&args[0])?.into_iter().all(|truth| truth))) }
    ),
    function!(
        "any",
        "list",
        [List],
        Bool,
        "whether some item is true; an empty list cannot be judged",
        |asked, args| { Ok(Value::Bool(asked.truths(&args[0])?.into_iter().any(|truth| truth))) }
    ),
    function!(
        "contains",
        "text, part",
        [Text, Text],
        Bool,
        "whether the text contains the part",
        |asked, args| {
            asked.budget.charge_text(text(&args[0]))?;
            Ok(Value::Bool(text(&args[0]).contains(text(&args[1]))))
        }
    ),
    function!(
        "starts_with",
        "text, part",
        [Text, Text],
        Bool,
        "whether the text begins with the part",
        |_, args| { Ok(Value::Bool(text(&args[0]).starts_with(text(&args[1])))) }
    ),
    function!(
        "ends_with",
        "text, part",
        [Text, Text],
        Bool,
        "whether the text ends with the part",
        |_, args| { Ok(Value::Bool(text(&args[0]).ends_with(text(&args[1])))) }
    ),
    function!("lower", "text", [Text], Text, "the text in small letters", |asked, args| {
        asked.budget.charge_text(text(&args[0]))?;
        let lower = text(&args[0]).to_lowercase();
        // Some letters take more bytes when they are small.
        if lower.len() > MAX_TEXT_BYTES {
            return Err(Failure::limit(format!("the text would have more than {MAX_TEXT_BYTES} bytes")));
        }
        Ok(Value::Text(lower.into()))
    }),
];

/// The function of that name.
pub(super) fn find(name: &str) -> Result<&'static Function, Failure> {
    if let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) {
        return Ok(function);
    }
    let names: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    let message = match nearest(name) {
        Some(near) => format!("there is no function `{}`; did you mean `{near}`?", evaluate::short(name)),
        None => format!("there is no function `{}`; there are {}", evaluate::short(name), names.join(", ")),
    };
    Err(Failure::new(Kind::Unknown, message))
}

/// A function whose name begins or ends alike, for hints.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let alike = |known: &str| {
        known == lower || (lower.len() > 3 && (known.starts_with(&*lower) || lower.starts_with(known)))
    };
    FUNCTIONS.iter().map(|function| function.name).find(|known| alike(known))
}

impl Function {
    /// `jaccard(list, list)`
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.names)
    }

    /// Calls it after a look at the types of its arguments, which the trace may have told only now.
    pub(super) fn call(&self, asked: &mut Asked<'_, '_>, args: &[Value]) -> Result<Value, Failure> {
        for (place, value) in args.iter().enumerate() {
            let wanted = self.params.get(place).or(self.params.last()).copied().unwrap_or(Type::Any);
            if !value.kind().fits(wanted) {
                return Err(evaluate::mismatch(self.name, wanted, value));
            }
        }
        (self.run)(asked, args)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.signature())
    }
}

impl<'b> Asked<'_, 'b> {
    fn call(&mut self, selector: &Value) -> Result<&'b Call, Failure> {
        self.budget.charge(1 + self.facts.calls.len() as u64)?;
        self.facts.call(text(selector))
    }

    fn of_tool(&mut self, pattern: Option<&Value>) -> Result<Vec<&'b Call>, Failure> {
        self.budget.charge(1 + self.facts.calls.len() as u64)?;
        Ok(self.facts.of_tool(pattern.map_or("*", text)).collect())
    }

    fn set(&mut self, value: &Value) -> Result<BTreeSet<String>, Failure> {
        list(value).iter().map(|item| self.key(item)).collect()
    }

    /// What makes items of lists the same: their JSON, with `1.0` for `1`.
    fn key(&mut self, item: &Value) -> Result<String, Failure> {
        let json = item.to_json();
        self.budget.charge(Value::count(&json))?;
        Ok(match item {
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
            _ => json.to_string(),
        })
    }

    fn truths(&mut self, value: &Value) -> Result<Vec<bool>, Failure> {
        let items = list(value);
        self.budget.charge(items.len() as u64)?;
        if items.is_empty() {
            return Err(Failure::unjudgeable("the list is empty, so there is nothing to judge"));
        }
        let truth = |item: &Value| match item {
            Value::Bool(truth) => Ok(*truth),
            other => {
                Err(Failure::typed(format!("the list should hold true or false, and has {}", other.kind())))
            }
        };
        items.iter().map(truth).collect()
    }

    fn extreme(&mut self, args: &[Value], better: fn(f64, f64) -> bool) -> Result<Value, Failure> {
        let items = match args {
            [Value::List(items)] => items,
            numbers => numbers,
        };
        self.budget.charge(items.len() as u64)?;
        let mut best: Option<(&Value, f64)> = None;
        for item in items {
            let number = number(item)?;
            if best.is_none_or(|(_, best)| better(number, best)) {
                best = Some((item, number));
            }
        }
        best.map(|(item, _)| item.clone()).ok_or_else(|| Failure::unjudgeable("the list is empty"))
    }
}

/// Arguments have the types of the parameters; what cannot be is empty.
fn text(value: &Value) -> &str {
    if let Value::Text(text) = value { text } else { "" }
}

fn list(value: &Value) -> &[Value] {
    if let Value::List(items) = value { items } else { &[] }
}

fn shown(value: &Value) -> String {
    format!("`{}`", evaluate::short(text(value)))
}

fn number(value: &Value) -> Result<f64, Failure> {
    float(value)
        .ok_or_else(|| Failure::typed(format!("a number is needed here, and this is {}", value.kind())))
}

fn untold(call: &Call, what: &str) -> Failure {
    Failure::unjudgeable(format!(
        "the trace tells no `{what}` of the call of `{}` at step {}",
        call.tool, call.step
    ))
}

fn success(call: &Call) -> Result<bool, Failure> {
    call.success.ok_or_else(|| untold(call, "success"))
}

fn latency(call: &Call) -> Result<Value, Failure> {
    call.latency_ms.and_then(Value::number).ok_or_else(|| untold(call, "latency_ms"))
}

fn argument(budget: &mut Budget, call: &Call, name: &Value) -> Result<Value, Failure> {
    let args = call.args.as_ref().ok_or_else(|| untold(call, "args"))?;
    let Some(value) = args.get(text(name)) else { return Ok(Value::Null) };
    budget.charge(Value::count(value))?;
    Ok(value.into())
}
