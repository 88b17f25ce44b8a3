//! Making the calls of a script.

use anyhow::{Context, Result, anyhow, bail};
use judge::limits::MAX_SCRIPT_CALLS;
use judge::scenario::{Scenario, Step, Variables, fill, fill_object};
use judge::trace::ResultSummary;
use serde_json::{Map, Value};

use crate::client::{Answer, Client};
use crate::summary::summarise;

/// A call that was made.
pub(crate) struct Made {
    pub(crate) tool: String,
    pub(crate) args: Map<String, Value>,
    pub(crate) label: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub(crate) begun_ms: u64,
    pub(crate) answer: Answer,
    pub(crate) summary: ResultSummary,
}

/// Makes all calls of a scenario, in order.
pub(crate) fn play(scenario: &Scenario, client: &mut Client) -> Result<Vec<Made>> {
    let mut variables = Variables::of(scenario);
    let mut made = Vec::new();
    for (place, step) in scenario.script.iter().enumerate() {
        let at = || format!("`script[{place}]`");
        for turn in turns(step, &variables).map_err(|error| anyhow!(error)).with_context(at)? {
            if made.len() == MAX_SCRIPT_CALLS {
                bail!("{}: the script makes more than {MAX_SCRIPT_CALLS} calls", at());
            }
            if let Some((name, value)) = turn {
                variables.set(&name, value);
            }
            made.push(call(step, &mut variables, client).with_context(at)?);
        }
    }
    Ok(made)
}

/// A variable to set before a call.
type Turn = Option<(String, Value)>;

/// One turn for each time that a step is made.
fn turns(step: &Step, variables: &Variables) -> Result<Vec<Turn>, String> {
    if let Some(times) = step.repeat {
        // One more than may be made is enough to be refused.
        let times = usize::try_from(times).unwrap_or(usize::MAX).min(MAX_SCRIPT_CALLS + 1);
        return Ok((0..times).map(|count| Some(("i".to_owned(), Value::from(count)))).collect());
    }
    let Some((name, list)) = step.for_each.iter().next() else { return Ok(vec![None]) };
    match fill(list, variables)? {
        Value::Array(values) if !values.is_empty() => {
            Ok(values.into_iter().map(|value| Some((name.clone(), value))).collect())
        }
        _ => Err(format!("`for_each`: `{name}` needs a list with something in it")),
    }
}

fn call(step: &Step, variables: &mut Variables, client: &mut Client) -> Result<Made> {
    let filled = |text: &str| match fill(&Value::from(text), variables) {
        Ok(Value::String(text)) => Ok(text),
        Ok(other) => Ok(other.to_string()),
        Err(error) => Err(anyhow!(error)),
    };
    let (tool, label) = (filled(&step.call)?, step.label.as_deref().map(filled).transpose()?);
    let args = fill_object(&step.with, variables).map_err(|error| anyhow!(error))?;
    let begun_ms = crate::run::now_ms();
    let answer = client.call(&tool, &args)?;
    // What failed has nothing where the results would be.
    let items = step.items.as_ref().filter(|_| answer.success);
    let summary = summarise(&answer.text, &answer.structured, items).map_err(|error| anyhow!(error))?;
    for (name, pointer) in &step.save {
        let value = answer.structured.pointer(pointer).with_context(|| {
            format!(
                "`save`: the result of `{tool}` has nothing at `{pointer}`; it says: {}",
                first_line(&answer.text)
            )
        })?;
        variables.set(name, value.clone());
    }
    Ok(Made { tool, args, label, begun_ms, answer, summary })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("nothing")
}
