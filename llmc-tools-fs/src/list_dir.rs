//! `list_dir`.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use llmc_core::prelude::*;
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, StatxFlags, statx};
use rustix::io::Errno;

use crate::kind::Kind;
use crate::limits::{DEFAULT_LIST_ENTRIES, MAX_DIR_ENTRIES, MAX_LIST_ENTRIES};
use crate::path::{Place, in_line};
use crate::root;

/// Takes several hundred entries at a time from the kernel.
const BUFFER_BYTES: usize = 32 * 1024;

/// Lists a directory, sorted by name; the top of a root also tells all roots.
#[arguments(undocumented)]
pub struct ListDir {
    #[serde(default = "top")]
    path: String,
    /// Entries to skip.
    #[serde(default)]
    offset: u32,
    /// Most entries. Default: 200.
    #[schemars(range(min = 1, max = MAX_LIST_ENTRIES))]
    limit: Option<u32>,
    /// Show dot files.
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    with_sizes: bool,
}

/// What is in a directory.
#[output(custom_text)]
pub struct Listing {
    /// The directory, in a form that can be asked for again.
    path: String,
    /// Entries, sorted by the bytes of their names.
    entries: Vec<Entry>,
    /// Number of entries, hidden ones only if asked for.
    total: usize,
    /// `offset` to read on with, if there are more entries after these.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<usize>,
    /// Number of hidden entries that are not shown.
    hidden_entries: usize,
    /// The directory is so large that only a part of it was looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    /// All roots, at the top of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roots: Vec<RootEntry>,
    #[serde(skip)]
    offset: u32,
}

/// An entry of a directory.
#[output]
struct Entry {
    /// Its name.
    name: String,
    /// What it is; named in no schema, as all kinds together would take more room than the rest.
    #[schemars(with = "String")]
    kind: Kind,
    /// Size of a file, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// The name is not UTF-8: this form of it cannot be asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lossy: bool,
}

/// A root.
#[output]
struct RootEntry {
    /// Its name, as in `work:path`.
    name: String,
    /// Whether it may be written to.
    writable: bool,
}

impl Tool for ListDir {
    const NAME: &'static str = "list_dir";
    const TITLE: &'static str = "List directory";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Listing;

    fn call(self, ctx: &Context) -> ToolResult<Listing> {
        let roots = ctx.roots()?;
        let place = Place::parse(&self.path, roots)?;
        let dir = root::open(&place, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| error.explain("list", &place))?;
        let mut found = scan(&dir, self.hidden, ctx)
            .explain(format_args!("cannot list `{}`", in_line(&place.display())))?;
        found.names.sort_unstable();
        let total = found.names.len();
        let limit = self.limit.unwrap_or(DEFAULT_LIST_ENTRIES).clamp(1, MAX_LIST_ENTRIES) as usize;
        let page = found.names.into_iter().skip(self.offset as usize).take(limit);
        let entries: Vec<_> = page.map(|(name, kind)| self.entry(&dir, &name, kind)).collect();
        let end = self.offset as usize + entries.len();
        let root_entry =
            |root: &Root| RootEntry { name: root.name.clone(), writable: root.access.is_writable() };
        Ok(Listing {
            path: place.display(),
            entries,
            total,
            next_offset: (end < total).then_some(end),
            hidden_entries: found.hidden,
            incomplete: found.incomplete,
            roots: if place.is_top() { roots.iter().map(root_entry).collect() } else { Vec::new() },
            offset: self.offset,
        })
    }
}

impl ListDir {
    fn entry(&self, dir: &OwnedFd, name: &[u8], mut kind: Kind) -> Entry {
        let mut size_bytes = None;
        // Some file systems do not tell the kind. What the entry points to is never looked at.
        if kind == Kind::Unknown || self.with_sizes && kind == Kind::File {
            let wanted = StatxFlags::TYPE | StatxFlags::SIZE;
            if let Ok(facts) = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
                kind = Kind::of(FileType::from_raw_mode(facts.stx_mode.into()));
                size_bytes = (self.with_sizes && kind == Kind::File).then_some(facts.stx_size);
            }
        }
        let lossy = std::str::from_utf8(name).is_err();
        Entry { name: String::from_utf8_lossy(name).into_owned(), kind, size_bytes, lossy }
    }
}

/// Names and kinds of what is in a directory, hidden entries left out.
pub(crate) fn shown_names(dir: &OwnedFd, ctx: &Context) -> ToolResult<Vec<(Box<[u8]>, Kind)>> {
    scan(dir, false, ctx).map(|found| found.names)
}

#[derive(Default)]
struct Found {
    names: Vec<(Box<[u8]>, Kind)>,
    hidden: usize,
    incomplete: bool,
}

fn scan(dir: &OwnedFd, hidden: bool, ctx: &Context) -> ToolResult<Found> {
    let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_BYTES];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut found = Found::default();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(std::io::Error::from(error).into()),
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if found.names.len() + found.hidden >= MAX_DIR_ENTRIES {
            found.incomplete = true;
            break;
        }
        if name.starts_with(b".") && !hidden {
            found.hidden += 1;
            continue;
        }
        found.names.push((name.into(), Kind::of(entry.file_type())));
        if found.names.len() % 10_000 == 0 {
            ctx.check()?;
        }
    }
    Ok(found)
}

impl StructuredOutput for Listing {
    fn text(&self) -> String {
        let mut text = String::new();
        for Entry { name, kind, size_bytes, .. } in &self.entries {
            text.push_str(&in_line(name));
            match kind {
                Kind::File => {}
                Kind::Dir => text.push('/'),
                Kind::Symlink => text.push('@'),
                kind => text.push_str(&format!(" ({kind})")),
            }
            if let Some(size) = size_bytes {
                text.push_str(&format!("\t{size}"));
            }
            text.push('\n');
        }
        if self.entries.is_empty() {
            text.push_str(if self.offset == 0 { "(empty)\n" } else { "(no more entries)\n" });
        }
        for note in self.notes() {
            text.push_str(&format!("[{note}]\n"));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl Listing {
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(next) = self.next_offset {
            let Self { offset, total, .. } = self;
            notes.push(format!("entries {} to {next} of {total}; read on with offset {next}", offset + 1));
        }
        if self.hidden_entries > 0 {
            notes.push(format!("{} hidden entries not shown", self.hidden_entries));
        }
        if self.incomplete {
            notes.push(format!("only the first {MAX_DIR_ENTRIES} entries of the directory were looked at"));
        }
        if self.roots.len() > 1 {
            let roots = self.roots.iter().map(|root| {
                let access = if root.writable { "" } else { " (read-only)" };
                format!("{}:{access}", root.name)
            });
            notes.push(format!("roots: {}", roots.collect::<Vec<_>>().join(", ")));
        }
        notes
    }
}

fn top() -> String {
    ".".to_owned()
}

#[cfg(test)]
#[path = "list_dir_tests.rs"]
mod tests;
