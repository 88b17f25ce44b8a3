//! Refused: tool name.

use llmc_core::prelude::*;

/// Counts the words of a text.
#[arguments]
pub struct CountWords {
    /// The text.
    text: String,
}

#[tool(READ_ONLY)]
fn countWords(args: CountWords, _: &Context) -> ToolResult<String> {
    Ok(args.text)
}

fn main() {}
