//! Refused: undescribed tool.

use llmc_core::prelude::*;

#[arguments]
pub struct CountWords {
    /// The text.
    text: String,
}

#[tool(READ_ONLY)]
fn count_words(args: CountWords, _: &Context) -> ToolResult<String> {
    Ok(args.text)
}

fn main() {}
