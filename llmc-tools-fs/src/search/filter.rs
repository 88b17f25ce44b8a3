//! Which files are searched.

use std::path::Path;

use ignore::Match;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use llmc_core::{ToolError, ToolResult};

use crate::kind::Kind;
use crate::limits::{MAX_GLOB_BYTES, MAX_GLOBS};
use crate::walk::{Seen, Wanted};

/// Globs and types of files. Directories are only left out by a glob with `!`.
pub(crate) struct Filter {
    globs: Override,
    types: Option<Types>,
}

impl Filter {
    /// Globs are those of `rg -g`: each includes, or with `!` excludes; the last one that matches decides.
    ///
    /// # Errors
    /// If a glob is none, or a type is not known.
    pub(crate) fn new(globs: &[String], types: &[String]) -> ToolResult<Self> {
        if globs.len() > MAX_GLOBS || types.len() > MAX_GLOBS {
            return Err(ToolError::invalid(format!("more than {MAX_GLOBS} globs or types")));
        }
        let mut builder = OverrideBuilder::new("");
        for glob in globs {
            if glob.len() > MAX_GLOB_BYTES {
                return Err(ToolError::invalid(format!("a glob is longer than {MAX_GLOB_BYTES} bytes")));
            }
            builder.add(glob).map_err(not_a_glob)?;
        }
        let globs = builder.build().map_err(not_a_glob)?;
        let types = if types.is_empty() { None } else { Some(select(types)?) };
        Ok(Self { globs, types })
    }
}

fn not_a_glob(error: ignore::Error) -> ToolError {
    ToolError::invalid(format!("invalid `glob`: {error}"))
}

fn select(names: &[String]) -> ToolResult<Types> {
    let mut builder = TypesBuilder::new();
    builder.add_defaults();
    for name in names {
        let definitions = builder.definitions();
        if !definitions.iter().any(|known| known.name() == name) {
            return Err(ToolError::invalid(format!("unknown type `{name}`{}", advice(name, &definitions))));
        }
        builder.select(name);
    }
    builder.build().map_err(|error| ToolError::invalid(format!("invalid `types`: {error}")))
}

/// Types are often asked for by the ending of their files.
fn advice(name: &str, definitions: &[ignore::types::FileTypeDef]) -> String {
    let glob = format!("*.{}", name.trim_start_matches('.'));
    match definitions.iter().find(|known| known.globs().contains(&glob)) {
        Some(known) => format!("; files `{glob}` have type `{}`", known.name()),
        None => format!("; use `glob`, as in `{glob}`"),
    }
}

impl Wanted for Filter {
    type Note = ();

    fn decides(&self, path: &Path, is_dir: bool) -> Match<()> {
        self.globs.matched(path, is_dir).map(|_| ())
    }

    fn fits(&self, entry: &Seen<'_>) -> bool {
        entry.kind == Kind::File
            && self.types.as_ref().is_none_or(|types| !types.matched(entry.path, false).is_ignore())
    }

    fn note(&self, _: &Seen<'_>) -> Option<()> {
        Some(())
    }
}
