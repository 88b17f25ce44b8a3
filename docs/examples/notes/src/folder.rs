//! The granted directory: files by plain names, and nothing below or beside it.

use std::fs::File;
use std::io::Read as _;

use llmc_core::prelude::*;
use rustix::fs::{Dir, Mode, OFlags, openat};

use crate::Settings;

/// Where the notes are: the root `notes`.
pub(crate) struct Folder<'a> {
    root: &'a Root,
    ending: String,
}

impl<'a> Folder<'a> {
    pub(crate) fn of(ctx: &'a Context) -> ToolResult<Self> {
        Ok(Self { root: ctx.root("notes")?, ending: format!(".{}", ctx.config::<Settings>()?.ending) })
    }

    /// The names of all notes, sorted.
    pub(crate) fn names(&self) -> ToolResult<Vec<String>> {
        let mut names = Vec::new();
        for entry in
            Dir::read_from(self.root.dir).map_err(std::io::Error::from).explain("failed to list the notes")?
        {
            let entry = entry.map_err(std::io::Error::from).explain("failed to list the notes")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.extend(Some(name).filter(|name| name.ends_with(&self.ending)));
        }
        names.sort();
        Ok(names)
    }

    /// The name of the file of a note.
    pub(crate) fn file_name(&self, title: &str) -> ToolResult<String> {
        let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        if title.is_empty() || !title.chars().all(is_plain) {
            return Err(ToolError::invalid(format!(
                "`{title}` is no title; use letters, digits, spaces, `-` and `_`"
            )));
        }
        Ok(format!("{title}{}", self.ending))
    }

    pub(crate) fn read(&self, name: &str) -> ToolResult<String> {
        let mut text = String::new();
        let mut file = self.open(name, OFlags::RDONLY)?;
        file.read_to_string(&mut text).explain(format!("failed to read `{name}`"))?;
        Ok(text)
    }

    /// A file that was not there before.
    pub(crate) fn create(&self, name: &str) -> ToolResult<File> {
        self.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }

    pub(crate) fn remove(&self, name: &str) -> ToolResult<()> {
        let removed = rustix::fs::unlinkat(self.root.dir, name, rustix::fs::AtFlags::empty());
        removed.map_err(std::io::Error::from).explain(format!("failed to delete `{name}`"))
    }

    /// Relative to the open directory; a link in its place is not followed.
    fn open(&self, name: &str, flags: OFlags) -> ToolResult<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.root.dir, name, flags, Mode::from_raw_mode(0o644));
        Ok(File::from(file.map_err(std::io::Error::from).explain(format!("failed to open `{name}`"))?))
    }
}
