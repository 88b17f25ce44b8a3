//! `append_file`.

use llmc_core::prelude::*;
use rustix::fs::{fstat, ftruncate};
use rustix::io::{Errno, pread, write};

use crate::edit;
use crate::limits::MAX_HASH_BYTES;
use crate::path::Place;
use crate::target::{Last, Target};
use crate::text::Encoding;
use crate::write::digest::{Digest, Expected};
use crate::write::lock::{Change, Locked};
use crate::write::{Job, Trouble, Written, atomic, note};
use crate::write_file::check_size;

/// Longest byte order mark.
const MAX_MARK_BYTES: usize = 3;

/// Adds text to the end of a file, exactly as given; a missing file is created.
#[arguments(undocumented)]
pub struct AppendFile {
    path: String,
    /// At most 10 MiB.
    content: String,
    expected_sha256: Option<String>,
}

impl Tool for AppendFile {
    const NAME: &'static str = "append_file";
    const TITLE: &'static str = "Append to file";
    const ANNOTATIONS: Annotations = Annotations::ADDITIVE;
    type Output = Written;

    fn call(self, ctx: &Context) -> ToolResult<Written> {
        check_size(self.content.as_bytes())?;
        let expected = Expected::parse(self.expected_sha256.as_deref())?;
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let job = Job::new(Self::NAME, "append to", &place, ctx);
        job.settle(|| self.attempt(&job, &place, expected.as_ref()))
    }
}

impl AppendFile {
    fn attempt(
        &self,
        job: &Job<'_>,
        place: &Place<'_>,
        expected: Option<&Expected>,
    ) -> Result<Written, Trouble> {
        let target = Target::for_change(job.verb, place, Last::Follow)?;
        let Some(file) = Locked::take(job, &target, Change::Append)? else {
            if let Some(expected) = expected {
                return Err(job.failed(&target, expected.missing()).into());
            }
            return self.create(job, &target);
        };
        Ok(self.append(job, &target, &file, expected)?)
    }

    fn create(&self, job: &Job<'_>, target: &Target<'_>) -> Result<Written, Trouble> {
        let content = self.content.as_bytes();
        let notes = atomic::create(job, target, content)?;
        Ok(Written {
            path: target.display(),
            size_bytes: content.len() as u64,
            sha256: Some(Digest::of(content).hex()),
            created: true,
            note: note(notes),
            done: "",
        })
    }

    fn append(
        &self,
        job: &Job<'_>,
        target: &Target<'_>,
        file: &Locked,
        expected: Option<&Expected>,
    ) -> ToolResult<Written> {
        let failed = |error: ToolError| job.failed(target, error);
        let errno = |errno: Errno| job.errno(target, errno);
        let facts = file.facts();
        if facts.stx_nlink > 1 {
            return Err(failed(several_names(facts.stx_nlink)));
        }
        let mut digest = None;
        if expected.is_some() || facts.stx_size <= MAX_HASH_BYTES {
            digest = Some(Digest::of_file(file.file(), job.ctx).map_err(failed)?);
        }
        if let (Some(expected), Some(digest)) = (expected, &digest) {
            expected.check(&digest.clone().hex()).map_err(failed)?;
        }
        let encoding = encoding_of(file).map_err(errno)?;
        let mut notes: Vec<String> = file.note().into_iter().collect();
        notes.extend(self.glued(file, encoding).map_err(errno)?);
        let content = encoded(encoding, &self.content);
        add(file, &content).map_err(|error| failed(error.into()))?;
        if atomic::sync(file.file()).is_err() {
            notes.push("the change is made, but could not be forced to the disk".to_owned());
        }
        if let Some(digest) = &mut digest {
            digest.add(&content);
        }
        Ok(Written {
            path: target.display(),
            size_bytes: facts.stx_size + content.len() as u64,
            sha256: digest.map(Digest::hex),
            created: false,
            note: note(notes),
            done: "appended to",
        })
    }

    /// A word of warning when what is added goes on in the last line.
    fn glued(&self, file: &Locked, encoding: Encoding) -> Result<Option<String>, Errno> {
        let mut last = [0; 2];
        let unit = usize::try_from(encoding.unit_bytes()).unwrap_or(1);
        let size = file.facts().stx_size;
        if size <= encoding.mark_bytes() || self.content.is_empty() || self.content.starts_with(['\n', '\r'])
        {
            return Ok(None);
        }
        let count = pread(file.file(), &mut last[..unit], size - unit as u64)?;
        let ends_line = encoding.line_ends(&last[..count]).next().is_some();
        Ok((!ends_line).then(|| "the file did not end with a line feed: its last line goes on".to_owned()))
    }
}

fn several_names(count: u32) -> ToolError {
    ToolError::failed(format!(
        "the file has {count} names (hard links), and all of them would change; `edit_file` and `write_file` give this \
         name a file of its own"
    ))
}

fn encoding_of(file: &Locked) -> Result<Encoding, Errno> {
    let mut head = [0; MAX_MARK_BYTES];
    let count = pread(file.file(), &mut head, 0)?;
    Ok(Encoding::detect(&head[..count]))
}

/// Text in the encoding of a file that has its byte order mark already.
fn encoded(encoding: Encoding, text: &str) -> Vec<u8> {
    let mut bytes = edit::encode(encoding, text);
    bytes.drain(..usize::try_from(encoding.mark_bytes()).unwrap_or_default());
    bytes
}

/// Why contents could not be added.
#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error("{}; nothing was changed", readable(*.0))]
    Undone(Errno),
    #[error("{}; {written} of {wanted} bytes were added and could not be taken back", readable(*.errno))]
    Partly { errno: Errno, written: usize, wanted: usize },
}

impl From<AddError> for ToolError {
    fn from(error: AddError) -> Self {
        Self::failed(error.to_string())
    }
}

fn readable(errno: Errno) -> String {
    ToolError::from(std::io::Error::from(errno)).message().to_owned()
}

/// Adds contents to the end of a file, usually by a single call of the system; what was added in part is taken back.
fn add(file: &Locked, content: &[u8]) -> Result<(), AddError> {
    let mut written = 0;
    while written < content.len() {
        match write(file.file(), &content[written..]) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => {
                let undone = take_back(file, written);
                let wanted = content.len();
                return Err(if undone {
                    AddError::Undone(errno)
                } else {
                    AddError::Partly { errno, written, wanted }
                });
            }
        }
    }
    Ok(())
}

/// Cuts a file back to its length under the lock, unless somebody who does not know locks has added to it as well.
fn take_back(file: &Locked, written: usize) -> bool {
    let size = file.facts().stx_size;
    let is_ours = fstat(file.file())
        .is_ok_and(|now| u64::try_from(now.st_size).is_ok_and(|now| now == size + written as u64));
    written == 0 || is_ours && ftruncate(file.file(), size).is_ok()
}

#[cfg(test)]
#[path = "append_file_tests.rs"]
mod tests;
