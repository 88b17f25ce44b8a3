//! Directories that are made because a file is written into them.

use std::path::{Path, PathBuf};

use llmc_core::{ToolError, ToolResult};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::lock::Blocker;
use super::{Job, Trouble};
use crate::path::{Place, in_line};
use crate::protected;
use crate::root::OpenError;
use crate::target::{Last, Reach, Target, resolve};

/// The directories above a file that were missing. They go again, unless the file comes to be.
#[derive(Debug)]
pub(crate) struct Parents<'a> {
    place: &'a Place<'a>,
    /// The innermost, and how many there are.
    path: PathBuf,
    count: usize,
}

impl<'a> Parents<'a> {
    /// Makes what is missing above a file.
    pub(crate) fn make(job: &Job<'_>, place: &'a Place<'a>) -> Result<Self, Trouble> {
        let Some((above, name)) = place.path.parent().zip(place.path.file_name()) else {
            return Err(OpenError::NotFound.explain(job.verb, place).into());
        };
        let reach = reach(job, place, above)?;
        let path = reach.path.clone();
        let failed = |error: ToolError| {
            error.context(format_args!("cannot {} `{}`", job.verb, in_line(&place.display())))
        };
        if let Some(entry) = protected::find(&path.join(name), &place.root.protected) {
            return Err(failed(protected::refusal(entry)).into());
        }
        match reach.make() {
            Ok((_, count)) => Ok(Self { place, path, count }),
            // One of them was removed meanwhile.
            Err(Errno::NOENT) => Err(Trouble::Again(Blocker::Restless)),
            Err(errno) => Err(failed(std::io::Error::from(errno).into()).into()),
        }
    }

    /// Lets the directories stay, and tells which they are.
    pub(crate) fn keep(mut self) -> Option<String> {
        let count = std::mem::take(&mut self.count);
        let outermost = self.path.ancestors().take(count).last()?;
        let name = self.place.name_of(outermost);
        let more = if count > 1 { format!(" and {} below it", count - 1) } else { String::new() };
        Some(format!("made the directory `{}`{more}", in_line(&name)))
    }
}

fn reach(job: &Job<'_>, place: &Place<'_>, above: &Path) -> ToolResult<Reach> {
    Reach::for_change(job.verb, &Place { root: place.root, path: above.to_owned() }, place)
}

impl Drop for Parents<'_> {
    /// Removes what is empty still, from the innermost outwards.
    fn drop(&mut self) {
        for path in self.path.ancestors().take(self.count) {
            let place = Place { root: self.place.root, path: path.to_owned() };
            let Ok(Target { parent, name, .. }) = resolve(&place, Last::Keep) else { return };
            if unlinkat(parent, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }
}
