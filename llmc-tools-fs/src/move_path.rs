//! `move_path`.
//!
//! A rename, and nothing else: it happens at once or not at all. Between file systems there is none; to copy and then
//! delete could end half way with the file in both places or, worse, in parts, so that is left to two calls.
//!
//! A directory takes what is protected in it along, such as the `.git` of a repository: that is obeyed in this
//! directory before and after, and its contents stay the same.

use llmc_core::prelude::*;
use rustix::fs::renameat;
use rustix::io::Errno;

use std::os::fd::AsFd as _;

use crate::kind::Kind;
use crate::path::{Place, in_line};
use crate::protected;
use crate::target::{Last, Target};
use crate::tree_work::{check_holds_no_root, check_name, failed, identity, rename_new};

/// Moves or renames a file, directory or link (not its target).
#[arguments(undocumented)]
pub struct MovePath {
    from: String,
    /// The new path itself, not a directory to move into.
    to: String,
    /// Let a file replace a file.
    #[serde(default)]
    overwrite: bool,
}

/// Where it is now.
#[output(custom_text)]
pub struct Moved {
    /// The new path, without links and `..` on the way.
    path: String,
    /// Whether a file was there before, which is gone.
    replaced: bool,
    #[serde(skip)]
    from: String,
}

impl Tool for MovePath {
    const NAME: &'static str = "move_path";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Moved;

    fn call(self, ctx: &Context) -> ToolResult<Moved> {
        let roots = ctx.roots()?;
        let (old, new) = (Place::parse(&self.from, roots)?, Place::parse(&self.to, roots)?);
        let from = Target::for_change("move", &old, Last::Keep)?;
        let to = Target::for_change("move to", &new, Last::Keep)?;
        let names = (from.display(), to.display());
        let replaced = self.rename(&from, &to, roots).map_err(|error| {
            error.context(format_args!("cannot move `{}` to `{}`", in_line(&names.0), in_line(&names.1)))
        })?;
        Ok(Moved { path: names.1, replaced, from: names.0 })
    }
}

impl MovePath {
    /// Tells whether something was replaced.
    fn rename(&self, from: &Target<'_>, to: &Target<'_>, roots: &[Root]) -> ToolResult<bool> {
        for end in [from, to] {
            if let Some(entry) = protected::find_holder(&end.path, &end.place.root.protected) {
                return Err(protected::refusal(entry));
            }
        }
        check_holds_no_root(from, roots)?;
        check_name(to)?;
        let kind = from.kind().map_err(failed)?.ok_or_else(|| failed(Errno::NOENT))?;
        let is_inside = from.place.root.name == to.place.root.name && to.path.starts_with(&from.path);
        if kind == Kind::Dir && is_inside && to.path != from.path {
            return Err(ToolError::invalid("a directory cannot be moved into itself"));
        }
        let replaced = to.kind().map_err(failed)?;
        if let Some(there) = replaced {
            self.check_replaced(from, kind, to, there)?;
        }
        let (old, new) = ((from.parent.as_fd(), &*from.name), (to.parent.as_fd(), &*to.name));
        let renamed = match replaced {
            None => rename_new(old, new, kind == Kind::Dir),
            Some(_) => renameat(old.0, old.1, new.0, new.1),
        };
        renamed.map(|()| replaced.is_some()).map_err(refused)
    }

    fn check_replaced(&self, from: &Target<'_>, kind: Kind, to: &Target<'_>, there: Kind) -> ToolResult<()> {
        if there == Kind::Dir {
            let inner = format!("{}/{}", to.display(), from.name.display());
            return Err(ToolError::failed(format!(
                "a directory is there; to move into it, give the whole new path, `{}`",
                in_line(&inner)
            )));
        }
        if !self.overwrite {
            return Err(ToolError::failed(format!(
                "a {there} is there already; `overwrite` replaces a file"
            )));
        }
        if (kind, there) != (Kind::File, Kind::File) {
            return Err(ToolError::failed(format!(
                "only a file replaces a file, and not a {kind} a {there}; `delete_path` makes room"
            )));
        }
        // The kernel would do nothing and call it a success.
        if identity(&from.parent, &from.name) == identity(&to.parent, &to.name) {
            return Err(ToolError::failed("both are names of one file; `delete_path` removes one of them"));
        }
        Ok(())
    }
}

fn refused(errno: Errno) -> ToolError {
    match errno {
        Errno::XDEV => ToolError::failed(
            "they are in different roots or on different file systems; use `copy_path`, look at the copy, then `delete_path`",
        ),
        Errno::EXIST => ToolError::failed("something was put there meanwhile"),
        Errno::INVAL => ToolError::failed(
            "the file system refuses it: it cannot rename like this, or it would be moved into itself",
        ),
        errno => failed(errno),
    }
}

impl StructuredOutput for Moved {
    fn text(&self) -> String {
        let replaced = if self.replaced { ", replacing the file that was there" } else { "" };
        format!("moved `{}` to `{}`{replaced}", in_line(&self.from), in_line(&self.path))
    }
}

#[cfg(test)]
#[path = "move_path_tests.rs"]
mod tests;
