//! The work on a `hello` call that no design with validation and a process boundary is spared: the arguments and
//! the result cross that boundary as JSON, and both are checked against their schema.
//!
//! Done here in one thread of one process, with the libraries that the server and its plugins use.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use jsonschema::{Draft, PatternOptions, Validator};
use llmc_core::Envelope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Repetitions that are timed together.
const BATCH: u32 = 200;

/// The steps of one call, each ready to be repeated.
pub(crate) struct Steps {
    input: Validator,
    output: Validator,
    arguments: Value,
}

/// Microseconds per call.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct StepTimes {
    /// The server checks the arguments and writes them.
    pub(crate) request: f64,
    /// The plugin reads the arguments and writes the result.
    pub(crate) plugin: f64,
    /// The server reads the result and checks it.
    pub(crate) result: f64,
}

impl StepTimes {
    pub(crate) fn sum(&self) -> f64 {
        self.request + self.plugin + self.result
    }
}

#[derive(Deserialize)]
struct Hello {
    name: String,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

impl Steps {
    /// Takes the schemas from the list of tools.
    pub(crate) fn new(tools: &[Value]) -> Result<Self> {
        let hello = tools.iter().find(|tool| tool["name"] == "hello").context("there is no tool `hello`")?;
        let (input, output) = (compiled(&hello["inputSchema"])?, compiled(&hello["outputSchema"])?);
        Ok(Self { input, output, arguments: json!({"name": "Ada"}) })
    }

    /// Best of a few batches: nothing but noise makes it slower.
    pub(crate) fn measure(&self) -> Result<StepTimes> {
        let arguments = self.request()?;
        let result = plugin(&arguments)?;
        Ok(StepTimes {
            request: best(|| self.request())?,
            plugin: best(|| plugin(&arguments))?,
            result: best(|| self.result(&result))?,
        })
    }

    fn request(&self) -> Result<Vec<u8>> {
        ensure!(self.input.is_valid(&self.arguments), "the arguments do not fit");
        Ok(serde_json::to_vec(&self.arguments)?)
    }

    fn result(&self, bytes: &[u8]) -> Result<Envelope> {
        let envelope: Envelope = serde_json::from_slice(bytes)?;
        let fits = envelope.structured.as_ref().is_some_and(|value| self.output.is_valid(value));
        ensure!(fits, "the result does not fit");
        Ok(envelope)
    }
}

fn plugin(arguments: &[u8]) -> Result<Vec<u8>> {
    let Hello { name } = serde_json::from_slice(arguments)?;
    let text = format!("Hello, {name}!");
    Ok(serde_json::to_vec(&Envelope::structured(&Text { text: &text }, text.clone())?)?)
}

/// As the server compiles them.
fn compiled(schema: &Value) -> Result<Validator> {
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    let validator = options.with_pattern_options(PatternOptions::regex()).build(schema);
    validator.map_err(|error| anyhow::Error::msg(error.to_string()))
}

fn best<T>(step: impl Fn() -> Result<T>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        for _ in 0..BATCH {
            black_box(step()?);
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_fit_together() {
        let schema = |field: &str| {
            let properties = json!({field: {"type": "string"}});
            json!({"type": "object", "properties": properties, "required": [field], "additionalProperties": false})
        };
        let tool = json!({"name": "hello", "inputSchema": schema("name"), "outputSchema": schema("text")});
        let steps = Steps::new(&[tool]).unwrap();
        let envelope = steps.result(&plugin(&steps.request().unwrap()).unwrap()).unwrap();
        assert_eq!(envelope.all_text(), "Hello, Ada!");
        assert!(steps.measure().unwrap().sum() > 0.0);
    }
}
