//! `edit_file`.

use llmc_core::prelude::*;

use crate::edit::{self, Diff, Edit, Edited};
use crate::limits::MAX_WRITE_BYTES;
use crate::path::{Place, in_line};
use crate::root::OpenError;
use crate::target::{Last, Target};
use crate::write::digest::{Digest, Expected};
use crate::write::lock::{Blocker, Change, Locked};
use crate::write::{Job, Trouble, atomic, note};

/// Replaces exact pieces of a text file, in order, all or none, and shows the diff. Line ends and encoding are kept.
#[arguments(undocumented)]
pub struct EditFile {
    path: String,
    /// 1 to 100.
    edits: Vec<Edit>,
    /// Only show the diff.
    #[serde(default)]
    dry_run: bool,
    expected_sha256: Option<String>,
    /// Match whole lines by their words, and indent `new` like them.
    #[serde(default)]
    ignore_whitespace: bool,
}

/// What was changed.
#[output(custom_text)]
pub struct Changed {
    /// The file, without links and `..`.
    path: String,
    /// The SHA-256 of the file as it is now, after a dry run as before.
    sha256: String,
    /// Number of places that were replaced.
    replacements: usize,
    /// The change as a unified diff.
    diff: String,
    /// Whether nothing was written.
    dry_run: bool,
    /// What else should be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Tool for EditFile {
    const NAME: &'static str = "edit_file";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Changed;

    fn call(self, ctx: &Context) -> ToolResult<Changed> {
        let expected = Expected::parse(self.expected_sha256.as_deref())?;
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let job = Job::new(Self::NAME, "edit", &place, ctx);
        job.settle(|| self.attempt(&job, &place, expected.as_ref()))
    }
}

impl EditFile {
    fn attempt(
        &self,
        job: &Job<'_>,
        place: &Place<'_>,
        expected: Option<&Expected>,
    ) -> Result<Changed, Trouble> {
        let target = Target::for_change(job.verb, place, Last::Follow)?;
        let file = Locked::take(job, &target, Change::Replace)?;
        let file = file.ok_or_else(|| OpenError::NotFound.explain(job.verb, place))?;
        let old = read(&file, job).map_err(|error| job.failed(&target, error))?;
        let before = Digest::of(&old).hex();
        if let Some(expected) = expected {
            expected.check(&before).map_err(|error| job.failed(&target, error))?;
        }
        let edited = edit::apply(old, &self.edits, self.ignore_whitespace, || job.ctx.check())
            .map_err(|error| job.failed(&target, error))?;
        if !file.is_untouched(&target) {
            return Err(Trouble::Again(Blocker::Restless));
        }
        let Edited { before: old_text, after: new_text, bytes, replacements } = edited;
        let Diff { text: diff, note: diff_note } = Diff::new(&name(&target), &old_text, &new_text);
        let mut notes: Vec<String> = diff_note.into_iter().collect();
        let mut sha256 = before;
        if self.dry_run {
            notes.push("dry run: nothing was written".to_owned());
        } else if old_text == new_text {
            notes.push("the edits undo each other: nothing was written".to_owned());
        } else {
            notes.extend(atomic::replace(job, &target, &file, &bytes)?);
            sha256 = Digest::of(&bytes).hex();
        }
        let path = target.display();
        Ok(Changed { path, sha256, replacements, diff, dry_run: self.dry_run, note: note(notes) })
    }
}

/// The path below the root, as in a patch.
fn name(target: &Target<'_>) -> String {
    target.path.to_string_lossy().into_owned()
}

fn read(file: &Locked, job: &Job<'_>) -> ToolResult<Vec<u8>> {
    let too_large = |size: u64| {
        ToolError::failed(format!(
            "the file is too large: it has {size} bytes, and at most {MAX_WRITE_BYTES} can be edited"
        ))
    };
    let size = file.facts().stx_size;
    if size > MAX_WRITE_BYTES as u64 {
        return Err(too_large(size));
    }
    let bytes = file.read(MAX_WRITE_BYTES, job.ctx)?;
    if bytes.len() > MAX_WRITE_BYTES { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

impl StructuredOutput for Changed {
    fn text(&self) -> String {
        let Self { path, sha256, replacements, diff, .. } = self;
        let places = if *replacements == 1 { "1 place".to_owned() } else { format!("{replacements} places") };
        let mut text = format!("{diff}[{places} in `{}`, sha256 {sha256}", in_line(path));
        if let Some(note) = &self.note {
            text.push_str("; ");
            text.push_str(note);
        }
        text + "]"
    }
}

#[cfg(test)]
#[path = "edit_file_tests.rs"]
mod tests;
