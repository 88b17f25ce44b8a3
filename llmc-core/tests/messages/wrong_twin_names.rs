//! Refused: twin names.

use llmc_core::prelude::*;

/// Counts the words of a text.
#[arguments]
pub struct CountWords {
    /// The text.
    text: String,
}

#[tool(READ_ONLY)]
fn count_words(args: CountWords, _: &Context) -> ToolResult<String> {
    Ok(args.text)
}

export_plugin!("words": CountWords, CountWords);

fn main() {}
