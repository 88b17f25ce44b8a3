//! `add_note`: a tool that asks the person what it was not told.

use std::io::Write as _;

use llmc_core::prelude::*;

use crate::folder::Folder;

/// Adds a note.
#[arguments]
pub struct AddNote {
    /// What to write down.
    text: String,
    /// Its title. Default: the person is asked.
    title: Option<String>,
}

#[tool(ADDITIVE)]
fn add_note(args: AddNote, ctx: &Context) -> ToolResult<String> {
    let folder = Folder::of(ctx)?;
    // Asked before anything is changed: the call may be made again with the answer.
    let title = match args.title {
        Some(title) => title,
        None => ask(ctx)?,
    };
    let name = folder.file_name(&title)?;
    let mut file = folder.create(&name)?;
    writeln!(file, "{}", args.text).explain(format!("failed to write `{name}`"))?;
    Ok(format!("wrote `notes:{name}`"))
}

fn ask(ctx: &Context) -> ToolResult<String> {
    let fields = json!({"title": {"type": "string", "description": "Title of the note"}});
    match ctx.elicit("What shall the note be called?", fields, &["title"])? {
        Elicited::Accepted(form) => Ok(form["title"].as_str().unwrap_or_default().to_owned()),
        Elicited::Declined | Elicited::Cancelled => {
            Err(ToolError::failed("nobody said what to call the note; call again with `title`"))
        }
    }
}
