//! `create_dir`.

use llmc_core::prelude::*;

use crate::path::{Place, in_line};
use crate::target::Reach;
use crate::tree_work::failed;

/// Creates a directory and the directories above it that are missing. One that exists already is left as it is.
#[arguments(undocumented)]
pub struct CreateDir {
    path: String,
}

/// What became of it.
#[output(custom_text)]
pub struct Created {
    /// The directory, without links and `..`.
    path: String,
    /// Whether it was missing.
    created: bool,
}

impl Tool for CreateDir {
    const NAME: &'static str = "create_dir";
    const TITLE: &'static str = "Create directory";
    const ANNOTATIONS: Annotations = Annotations::ADDITIVE.idempotent(true);
    type Output = Created;

    fn call(self, ctx: &Context) -> ToolResult<Created> {
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let wanted = Reach::for_change("create", &place, &place)?;
        let path = place.name_of(&wanted.path);
        let (_, made) = wanted
            .make()
            .map_err(|errno| failed(errno).context(format_args!("cannot create `{}`", in_line(&path))))?;
        Ok(Created { path, created: made > 0 })
    }
}

impl StructuredOutput for Created {
    fn text(&self) -> String {
        let path = in_line(&self.path);
        if self.created { format!("created `{path}`") } else { format!("`{path}` is there already") }
    }
}

#[cfg(test)]
#[path = "create_dir_tests.rs"]
mod tests;
