//! `count_words`: a granted directory, progress, and an answer in fields.

use llmc_core::prelude::*;

use crate::folder::Folder;

/// Counts the words of all notes.
#[arguments]
pub struct CountWords {
    /// Count only notes whose title contains this text. Default: all.
    #[serde(default)]
    title: String,
}

/// What was counted.
#[output]
pub struct Counted {
    /// Notes that were counted.
    notes: usize,
    /// Their words together.
    words: usize,
}

#[tool(READ_ONLY)]
fn count_words(args: CountWords, ctx: &Context) -> ToolResult<Counted> {
    let folder = Folder::of(ctx)?;
    let names: Vec<String> = folder.names()?.into_iter().filter(|name| name.contains(&args.title)).collect();
    let mut words = 0;
    for (done, name) in names.iter().enumerate() {
        ctx.check()?;
        ctx.progress(done as f64, Some(names.len() as f64), name);
        words += folder.read(name)?.split_whitespace().count();
    }
    Ok(Counted { notes: names.len(), words })
}
