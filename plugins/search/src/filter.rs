//! Which results are wanted.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use llmc_core::{Root, ToolError, ToolResult};

use crate::store::{Brief, Reader, StoreError};

/// Conditions that a result must meet.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Any of these: classes of files, or kinds of symbols.
    pub(crate) kinds: Vec<Wanted>,
    pub(crate) languages: Vec<String>,
    path: Option<(Option<String>, Gitignore)>,
}

/// What a result is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Neither a test nor a document.
    Code,
    Tests,
    Docs,
    /// A definition of that kind.
    Symbol(&'static str),
}

impl Filter {
    /// `path` is a directory, a file or a glob, with or without the name of a root.
    ///
    /// # Errors
    /// If it is no glob.
    pub(crate) fn new(
        kinds: Vec<Wanted>,
        languages: Vec<String>,
        path: Option<&str>,
        roots: &[Root],
    ) -> ToolResult<Self> {
        let path = path.map(|path| path_filter(path, roots)).transpose()?.flatten();
        Ok(Self { kinds, languages, path })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.languages.is_empty() && self.path.is_none()
    }

    /// Whether a file of that path is wanted.
    pub(crate) fn takes_path(&self, root: &str, path: &str) -> bool {
        self.path.as_ref().is_none_or(|(wanted, rules)| {
            let in_root = wanted.as_ref().is_none_or(|wanted| wanted == root);
            in_root && rules.matched_path_or_any_parents(Path::new(path), false).is_ignore()
        })
    }

    /// Whether a file of that language and class is wanted, as far as that can be said of a file.
    pub(crate) fn takes_file(&self, root: &str, path: &str, language: &str, is_test: bool) -> bool {
        let language_fits =
            self.languages.is_empty() || self.languages.iter().any(|wanted| wanted == language);
        let kind = |wanted: &Wanted| match wanted {
            Wanted::Code => !is_test && !is_document(language),
            Wanted::Tests => is_test,
            Wanted::Docs => is_document(language),
            Wanted::Symbol(_) => true,
        };
        language_fits && (self.kinds.is_empty() || self.kinds.iter().any(kind)) && self.takes_path(root, path)
    }

    /// Whether a chunk of a wanted file is wanted.
    pub(crate) fn takes_chunk(&self, brief: &Brief, reader: &Reader) -> Result<bool, StoreError> {
        if self.kinds.is_empty() || self.takes_class(brief) {
            return Ok(true);
        }
        let kinds = reader.kinds_between(brief.file, brief.first_line, brief.last_line)?;
        Ok(kinds.iter().any(|kind| {
            self.kinds.iter().any(|wanted| matches!(wanted, Wanted::Symbol(name) if name == kind))
        }))
    }

    fn takes_class(&self, brief: &Brief) -> bool {
        self.kinds.iter().any(|wanted| match wanted {
            Wanted::Code => !brief.is_test && !brief.is_document,
            Wanted::Tests => brief.is_test,
            Wanted::Docs => brief.is_document,
            Wanted::Symbol(_) => false,
        })
    }
}

/// Whether a language is one for people.
pub(crate) fn is_document(language: &str) -> bool {
    matches!(language, "markdown" | "text")
}

fn path_filter(path: &str, roots: &[Root]) -> ToolResult<Option<(Option<String>, Gitignore)>> {
    let (root, rest) = crate::files::split(path, roots)?;
    let named = path.starts_with(&format!("{}:", root.name)) || path.starts_with('/');
    let root = named.then(|| root.name.clone());
    if rest.is_empty() {
        return Ok(root.map(|root| (Some(root), everything())));
    }
    let mut builder = GitignoreBuilder::new("");
    // A path with a directory in it counts from the root, a mere name fits at any depth: as in an ignore file.
    builder
        .add_line(None, rest)
        .map_err(|error| ToolError::invalid(format!("`path` is neither a path nor a glob: {error}")))?;
    let rules = builder.build().map_err(|error| ToolError::invalid(format!("`path`: {error}")))?;
    Ok(Some((root, rules)))
}

fn everything() -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    // It is a glob.
    let _ = builder.add_line(None, "**");
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
