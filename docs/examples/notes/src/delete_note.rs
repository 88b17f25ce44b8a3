//! `delete_note`: a tool that says of itself that it destroys something.

use llmc_core::prelude::*;

use crate::folder::Folder;

/// Deletes a note.
#[arguments]
pub struct DeleteNote {
    /// Its title.
    title: String,
}

#[tool(DESTRUCTIVE)]
fn delete_note(args: DeleteNote, ctx: &Context) -> ToolResult<String> {
    let folder = Folder::of(ctx)?;
    let name = folder.file_name(&args.title)?;
    folder.remove(&name)?;
    Ok(format!("deleted `notes:{name}`"))
}
