//! Changing the contents of files: what `write_file`, `append_file` and `edit_file` share.
//!
//! - [`lock`]: one writer of a file at a time, among the threads of this process and among processes.
//! - [`atomic`]: the new contents take the place of the old ones in one step, or nothing happens.
//! - [`attributes`]: extended attributes and access control lists go along.
//! - [`temporary`]: where the new contents are until then, and how what a killed process left is found and removed.
//! - [`digest`]: `expected_sha256`, compared while the lock is held.
//! - [`parents`]: missing directories, made on the way.
//!
//! Every attempt begins with the path and sees the file under its lock. When something moved meanwhile it is given up
//! without a trace and made again, see [`Job::settle`].
//!
//! Not kept when a file is replaced: set-id bits, and the other names of a file with several (hard links).

pub(crate) mod atomic;
mod attributes;
pub(crate) mod digest;
pub(crate) mod lock;
pub(crate) mod parents;
mod temporary;

pub(crate) use self::temporary::is_temporary;

use std::time::{Duration, Instant};

use llmc_core::prelude::*;
use rustix::io::Errno;

use self::lock::Blocker;
use crate::limits::MAX_WAIT_MS;
use crate::path::{Place, in_line};
use crate::target::Target;

/// Time that is kept for the answer when the deadline of a call is near.
const RESERVE: Duration = Duration::from_millis(50);
/// Pause between two attempts, at first and later.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(5)];
/// How long the first pauses are taken.
const FIRST_PAUSES: Duration = Duration::from_millis(20);

/// A call that changes a file.
pub(crate) struct Job<'c> {
    /// Name of the tool.
    pub(crate) tool: &'static str,
    /// What it does, for messages: "cannot `verb` the file".
    pub(crate) verb: &'static str,
    /// The file, as it was asked for.
    what: String,
    pub(crate) ctx: &'c Context,
    began: Instant,
}

/// Why an attempt did not come to an end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Somebody else is at work: try again in a moment.
    Again(Blocker),
    /// It cannot be done.
    Failed(ToolError),
}

impl From<ToolError> for Trouble {
    fn from(error: ToolError) -> Self {
        Self::Failed(error)
    }
}

impl<'c> Job<'c> {
    pub(crate) fn new(tool: &'static str, verb: &'static str, place: &Place<'_>, ctx: &'c Context) -> Self {
        Self { tool, verb, what: in_line(&place.display()).into_owned(), ctx, began: Instant::now() }
    }

    /// Attempts something until nobody is in the way, but not for long.
    pub(crate) fn settle<T>(&self, mut attempt: impl FnMut() -> Result<T, Trouble>) -> ToolResult<T> {
        let deadline = self.ctx.deadline().checked_sub(RESERVE).unwrap_or(self.began);
        let until = deadline.min(self.began + Duration::from_millis(MAX_WAIT_MS));
        loop {
            self.ctx.check()?;
            let blocker = match attempt() {
                Ok(done) => return Ok(done),
                Err(Trouble::Failed(error)) => return Err(error),
                Err(Trouble::Again(blocker)) => blocker,
            };
            let waited = self.began.elapsed();
            if Instant::now() >= until {
                return Err(self.busy(&blocker, waited));
            }
            std::thread::sleep(PAUSES[usize::from(waited > FIRST_PAUSES)]);
        }
    }

    fn busy(&self, blocker: &Blocker, waited: Duration) -> ToolError {
        let Self { verb, what, .. } = self;
        let waited = waited.as_millis();
        let text = format!(
            "cannot {verb} `{what}`: {blocker}; nothing was changed in {waited} ms of waiting; try again"
        );
        ToolError::failed(text)
    }

    /// An error about a file.
    pub(crate) fn failed(&self, target: &Target<'_>, error: ToolError) -> ToolError {
        error.context(format_args!("cannot {} `{}`", self.verb, in_line(&target.display())))
    }

    /// An error of the system about a file.
    pub(crate) fn errno(&self, target: &Target<'_>, errno: Errno) -> ToolError {
        let error = match errno {
            Errno::ACCESS => ToolError::denied("permission denied by the modes of the file or its directory"),
            Errno::NOENT => ToolError::failed("its directory is gone"),
            Errno::FBIG => ToolError::failed("it would be larger than the operator lets files become"),
            errno => ToolError::from(std::io::Error::from(errno)),
        };
        self.failed(target, error)
    }
}

/// What became of a file; the result of `write_file` and `append_file`.
#[output(custom_text)]
pub struct Written {
    /// The file, without links and `..`.
    pub(crate) path: String,
    /// Its size now.
    pub(crate) size_bytes: u64,
    /// The SHA-256 of its contents, unless it is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Whether it is new.
    pub(crate) created: bool,
    /// What else should be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// What was done with a file that was there.
    #[serde(skip)]
    pub(crate) done: &'static str,
}

impl StructuredOutput for Written {
    fn text(&self) -> String {
        let done = if self.created { "created" } else { self.done };
        let mut text = format!("{done} `{}`: {} bytes", in_line(&self.path), self.size_bytes);
        if let Some(sha256) = &self.sha256 {
            text.push_str(&format!(", sha256 {sha256}"));
        }
        if let Some(note) = &self.note {
            text.push_str(&format!("\n[{note}]"));
        }
        text
    }
}

/// Notes as one, if there are any.
pub(crate) fn note(notes: Vec<String>) -> Option<String> {
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
