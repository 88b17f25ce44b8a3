//! What is as it should be: the honest neighbour of all the others.
use llmc_core::prelude::*;

/// Counts the words of a text.
#[arguments]
pub struct CountWords {
    /// The text.
    text: String,
    #[schemars(description = "Most words to count. Default: all.")]
    max_words: Option<u64>,
    /// How to count.
    #[serde(default)]
    by: By,
}

/// How to count.
#[arguments]
#[derive(Default)]
enum By {
    #[default]
    Spaces,
    Pattern {
        /// What stands between words.
        pattern: String,
    },
}

/// Adds numbers.
#[arguments(undocumented)]
pub struct AddNumbers {
    numbers: Vec<f64>,
}

#[tool(READ_ONLY)]
fn count_words(args: CountWords, _: &Context) -> ToolResult<String> {
    let _ = (args.max_words, args.by);
    Ok(args.text.split(' ').count().to_string())
}

#[tool(READ_ONLY)]
fn add_numbers(args: AddNumbers, _: &Context) -> ToolResult<String> {
    Ok(args.numbers.iter().sum::<f64>().to_string())
}

export_plugin!("words": CountWords, AddNumbers);

fn main() {}
