//! `note://TITLE`: a note as data with an address.

use llmc_core::envelope::EmbeddedResource;
use llmc_core::prelude::*;

use crate::folder::Folder;

/// A note, by its title.
pub struct Note;

impl Resource for Note {
    const NAME: &'static str = "note";
    const URI: &'static str = "note://{title}";
    const DESCRIPTION: &'static str = "A note, by its title.";
    /// Who may not call this tool may not read notes by address either.
    const RIGHTS_OF: &'static str = "count_words";

    fn read(uri: &ResourceUri, ctx: &Context) -> ToolResult<Vec<EmbeddedResource>> {
        let folder = Folder::of(ctx)?;
        let name = folder.file_name(uri.variable("title"))?;
        Ok(vec![EmbeddedResource::text(&uri.uri, "text/markdown", folder.read(&name)?)])
    }
}
