//! `find_notes`: a tool that calls another tool.

use llmc_core::prelude::*;

/// Finds notes that contain a text.
#[arguments]
pub struct FindNotes {
    /// The text, whatever its letter case.
    text: String,
}

#[tool(READ_ONLY)]
fn find_notes(args: FindNotes, ctx: &Context) -> ToolResult<String> {
    let wanted = json!({
        "pattern": args.text, "literal": true, "ignore_case": true, "path": "notes:", "output": "files",
    });
    let found = ctx.call_tool("search_files", &wanted)?;
    if found.is_error {
        return Err(ToolError::failed(format!("failed to search the notes: {}", found.all_text())));
    }
    Ok(found.all_text())
}
