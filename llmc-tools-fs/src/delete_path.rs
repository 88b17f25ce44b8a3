//! `delete_path`.
//!
//! Protected paths and deletion. What is protected is obeyed by other programs in the directory that it lies in and
//! below: `.git` in the repository, `.vscode` in the project. To delete it from there would change what they obey, so
//! `delete_path` refuses a protected path, and a directory that holds one by its name, such as `.cargo`. A directory
//! above is another matter: with it goes all that obeyed the protected path, nothing is left to be misled, and
//! nothing was written that could mislead. To refuse would not protect anything either, but make it impossible to
//! delete a cloned repository, or a `node_modules` in which some package brings a `.vscode`. So the whole directory
//! is deleted, and the result names what was protected in it.

use std::path::Path;

use llmc_core::prelude::*;
use rustix::fs::{AtFlags, Dir, unlinkat};
use rustix::io::Errno;

use crate::kind::Kind;
use crate::limits::{MAX_DELETE_TRIES, MAX_DIR_ENTRIES};
use crate::path::{Place, in_line};
use crate::protected::{self, Finder};
use crate::removal::{self, Stopped};
use crate::target::{Last, Target};
use crate::tree_work::{Tree, check_holds_no_root, failed, next_entry};

/// Entries between two reports of progress and looks at the deadline.
const PACE: u64 = 256;

/// Deletes a file, a link (never its target) or a directory.
#[arguments(undocumented)]
pub struct DeletePath {
    path: String,
    /// With all that is in a directory.
    #[serde(default)]
    recursive: bool,
}

/// What was deleted.
#[output(custom_text)]
pub struct Deleted {
    /// What was asked for, without links and `..` on the way.
    path: String,
    /// Number of files, directories and links that are gone.
    entries: u64,
    /// Which entries of the list of protected paths fitted something in the directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    protected: Vec<String>,
}

impl Tool for DeletePath {
    const NAME: &'static str = "delete_path";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Deleted;

    fn call(self, ctx: &Context) -> ToolResult<Deleted> {
        let roots = ctx.roots()?;
        let place = Place::parse(&self.path, roots)?;
        let target = Target::for_change("delete", &place, Last::Keep)?;
        let path = target.display();
        let deleted = check(&target, roots).and_then(|kind| match kind {
            Kind::Dir => self.delete_dir(&target, ctx),
            _ => {
                unlinkat(&target.parent, &target.name, AtFlags::empty()).map_err(failed)?;
                Ok((1, Vec::new()))
            }
        });
        let (entries, protected) =
            deleted.map_err(|error| error.context(format_args!("cannot delete `{}`", in_line(&path))))?;
        Ok(Deleted { path, entries, protected })
    }
}

/// Tells what is there, if it may be deleted.
fn check(target: &Target<'_>, roots: &[Root]) -> ToolResult<Kind> {
    if let Some(entry) = protected::find_holder(&target.path, &target.place.root.protected) {
        return Err(protected::refusal(entry));
    }
    check_holds_no_root(target, roots)?;
    target.kind().map_err(failed)?.ok_or_else(|| failed(Errno::NOENT))
}

impl DeletePath {
    fn delete_dir(&self, target: &Target<'_>, ctx: &Context) -> ToolResult<(u64, Vec<String>)> {
        let remove = || unlinkat(&target.parent, &target.name, AtFlags::REMOVEDIR);
        match remove() {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return done.map(|()| (1, Vec::new())).map_err(failed),
        }
        let tree = Tree::to_change(&target.parent, &target.name).map_err(failed)?;
        if !self.recursive {
            let count = count(&tree).map_err(failed)?;
            return Err(ToolError::failed(format!(
                "it is a directory with {count} entries; `recursive` deletes them too"
            )));
        }
        let mut log =
            Log { target, finder: Finder::new(&target.place.root.protected), removed: 0, met: Vec::new() };
        for _ in 0..MAX_DELETE_TRIES {
            let before = log.removed;
            removal::empty(&tree, &mut |path, removed| log.note(path, before + removed, ctx))
                .map_err(|stopped| log.explain(stopped))?;
            match remove() {
                Ok(()) => return Ok((log.removed + 1, log.met)),
                Err(Errno::NOTEMPTY | Errno::EXIST) => ctx.check()?,
                Err(errno) => return Err(log.explain(Stopped { at: "".into(), error: failed(errno) })),
            }
        }
        let error = ToolError::failed("others keep filling it; try again");
        Err(log.explain(Stopped { at: "".into(), error }))
    }
}

/// Number of entries in a directory, as far as they are counted.
fn count(tree: &Tree) -> Result<usize, Errno> {
    let mut dir = Dir::new(tree.dir(Path::new(""))?)?;
    let mut count = 0;
    while count < MAX_DIR_ENTRIES && next_entry(&mut dir)?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// What was deleted so far.
struct Log<'a> {
    target: &'a Target<'a>,
    finder: Finder<'a>,
    removed: u64,
    met: Vec<String>,
}

impl Log<'_> {
    fn note(&mut self, path: &Path, removed: u64, ctx: &Context) -> ToolResult<()> {
        self.removed = removed;
        if let Some(entry) = self.finder.find(&self.target.path.join(path))
            && !self.met.iter().any(|met| met == entry)
        {
            self.met.push(entry.to_owned());
        }
        if removed.is_multiple_of(PACE) {
            ctx.progress(removed as f64, None, "deleting");
            ctx.check()?;
        }
        Ok(())
    }

    /// Tells how far it came.
    fn explain(&self, stopped: Stopped) -> ToolError {
        let at = self.target.place.name_of(&self.target.path.join(stopped.at));
        let removed = self.removed;
        stopped.error.context(format_args!(
            "{removed} entries in it were deleted before it stopped at `{}`",
            in_line(&at)
        ))
    }
}

impl StructuredOutput for Deleted {
    fn text(&self) -> String {
        let mut text = format!("deleted `{}`", in_line(&self.path));
        if self.entries > 1 {
            text.push_str(&format!(", {} entries", self.entries));
        }
        if !self.protected.is_empty() {
            text.push_str(&format!("\n[with what is protected: {}]", self.protected.join(", ")));
        }
        text
    }
}

#[cfg(test)]
#[path = "delete_path_tests.rs"]
mod tests;
