//! Refused: const name.

use llmc_core::prelude::*;

/// Counts the words of a text.
#[arguments]
pub struct CountWords {
    /// The text.
    text: String,
}

impl Tool for CountWords {
    const NAME: &'static str = "count-words";
    type Output = String;
    fn call(self, _: &Context) -> ToolResult<String> {
        Ok(self.text)
    }
}

export_plugin!("words": CountWords);

fn main() {}
