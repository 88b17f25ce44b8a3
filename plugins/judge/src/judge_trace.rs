//! `judge_trace`.

use llmc_core::prelude::*;

use crate::judgment;
use crate::limits::{MAX_SCENARIO_BYTES, MAX_TRACE_BYTES};
use crate::place;
use crate::report::{Report, table};
use crate::scenario;
use crate::trace;

/// Judges a recorded session of tool calls by a scenario: tools that must or must not be used, and properties.
#[arguments]
pub struct JudgeTrace {
    /// The scenario, YAML.
    scenario: Option<String>,
    /// Or its file.
    scenario_path: Option<String>,
    /// The trace, a JSON object a line.
    trace: Option<String>,
    /// Or its file.
    trace_path: Option<String>,
}

#[tool(READ_ONLY)]
fn judge_trace(args: JudgeTrace, ctx: &Context) -> ToolResult<Report> {
    let scenario = text("scenario", args.scenario, args.scenario_path, MAX_SCENARIO_BYTES, ctx)?;
    let scenario = scenario::parse(&scenario)
        .map_err(|error| ToolError::invalid(error.to_string()).context("scenario"))?;
    let trace = text("trace", args.trace, args.trace_path, MAX_TRACE_BYTES, ctx)?;
    let trace =
        trace::parse(&trace).map_err(|error| ToolError::invalid(error.to_string()).context("trace"))?;
    judgment::judge(&scenario, &trace, || ctx.check())
}

/// The text itself, or that of the file.
fn text(
    name: &str,
    text: Option<String>,
    path: Option<String>,
    max_bytes: usize,
    ctx: &Context,
) -> ToolResult<String> {
    match (text, path) {
        (Some(text), None) => Ok(text),
        (None, Some(path)) => place::read(ctx, &path, max_bytes),
        _ => Err(ToolError::invalid(format!("give either `{name}` or `{name}_path`"))),
    }
}

impl StructuredOutput for Report {
    fn text(&self) -> String {
        table(std::slice::from_ref(self))
    }
}
