//! Asks the file tools, with the rights of this plugin.

use llmc_core::prelude::*;

/// What a tool answers, as data.
pub(crate) fn ask(ctx: &Context, tool: &str, arguments: &Value) -> ToolResult<Value> {
    let envelope = ctx.call_tool(tool, arguments)?;
    if envelope.is_error {
        return Err(ToolError::failed(envelope.all_text()));
    }
    envelope.structured.ok_or_else(|| ToolError::failed(format!("`{tool}` answers without data")))
}

/// A list in an answer.
pub(crate) fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

/// A text in an answer; empty if there is none.
pub(crate) fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}

/// A number in an answer; 0 if there is none.
pub(crate) fn number(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or_default()
}
