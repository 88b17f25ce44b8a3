//! `write_file`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmc_core::prelude::*;

use crate::kind::Kind;
use crate::limits::{MAX_HASH_BYTES, MAX_WRITE_BYTES};
use crate::path::Place;
use crate::root::OpenError;
use crate::target::{Last, Target, resolve};
use crate::write::digest::{Digest, Expected};
use crate::write::lock::{Blocker, Change, Locked};
use crate::write::parents::Parents;
use crate::write::{Job, Trouble, Written, atomic, note};

/// Writes a whole file at once, making missing directories. An existing one is only replaced with `overwrite` or
/// `expected_sha256`.
#[arguments(undocumented)]
pub struct WriteFile {
    path: String,
    /// At most 10 MiB.
    content: String,
    #[serde(default)]
    overwrite: bool,
    /// Replace only a file with this hash.
    expected_sha256: Option<String>,
    #[serde(default)]
    encoding: Encoding,
}

/// How contents are given; its names say enough for the schema.
#[arguments]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "")]
enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    Base64,
}

impl Tool for WriteFile {
    const NAME: &'static str = "write_file";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE.idempotent(true);
    type Output = Written;

    fn call(self, ctx: &Context) -> ToolResult<Written> {
        let Self { path, content, overwrite, expected_sha256, encoding } = self;
        let content = bytes_of(content, encoding)?;
        let expected = Expected::parse(expected_sha256.as_deref())?;
        let place = Place::parse(&path, ctx.roots()?)?;
        let write = Write {
            job: Job::new(Self::NAME, "write", &place, ctx),
            place: &place,
            sha256: Digest::of(&content).hex(),
            content,
            overwrite,
            expected,
        };
        write.job.settle(|| write.attempt())
    }
}

fn bytes_of(content: String, encoding: Encoding) -> ToolResult<Vec<u8>> {
    let bytes = match encoding {
        Encoding::Utf8 => content.into_bytes(),
        Encoding::Base64 => STANDARD
            .decode(content)
            .map_err(|error| ToolError::invalid(format!("`content` is not base64: {error}")))?,
    };
    check_size(&bytes)?;
    Ok(bytes)
}

/// Refuses contents that are too large for one call.
pub(crate) fn check_size(content: &[u8]) -> ToolResult<()> {
    if content.len() <= MAX_WRITE_BYTES {
        return Ok(());
    }
    let size = content.len();
    Err(ToolError::invalid(format!(
        "`content` has {size} bytes, more than {MAX_WRITE_BYTES}; write a part and add the rest by `append_file`"
    )))
}

struct Write<'c> {
    job: Job<'c>,
    place: &'c Place<'c>,
    content: Vec<u8>,
    /// Of the content.
    sha256: String,
    overwrite: bool,
    expected: Option<Expected>,
}

impl Write<'_> {
    fn attempt(&self) -> Result<Written, Trouble> {
        let (target, parents) = self.target()?;
        if !self.overwrite && self.expected.is_none() && target.kind().is_ok_and(|kind| kind.is_some()) {
            return Err(self.refuse_to_overwrite(&target));
        }
        let (notes, created) = match Locked::take(&self.job, &target, Change::Replace)? {
            None => {
                if let Some(expected) = &self.expected {
                    return Err(self.job.failed(&target, expected.missing()).into());
                }
                let notes = atomic::create(&self.job, &target, &self.content)?;
                (parents.and_then(Parents::keep).into_iter().chain(notes).collect(), true)
            }
            // It came to be just now; the next look sees it.
            Some(_) if !self.overwrite && self.expected.is_none() => {
                return Err(Trouble::Again(Blocker::Restless));
            }
            Some(old) => {
                self.check_expected(&target, &old)?;
                (atomic::replace(&self.job, &target, &old, &self.content)?, false)
            }
        };
        Ok(Written {
            path: target.display(),
            size_bytes: self.content.len() as u64,
            sha256: Some(self.sha256.clone()),
            created,
            note: note(notes),
            done: "replaced",
        })
    }

    /// Finds what is to be written, and makes the directories above it if need be.
    fn target(&self) -> Result<(Target<'_>, Option<Parents<'_>>), Trouble> {
        let find = || Target::if_reachable(self.job.verb, self.place, Last::Follow);
        let missing = || OpenError::NotFound.explain(self.job.verb, self.place).into();
        if let Some(target) = find()? {
            return Ok((target, None));
        }
        if self.expected.is_some() {
            return Err(missing());
        }
        let parents = Parents::make(&self.job, self.place)?;
        match find()? {
            Some(target) => Ok((target, Some(parents))),
            None if self.is_link() => Err(missing()),
            // Another call made the directories first and has just taken them back.
            None => Err(Trouble::Again(Blocker::Restless)),
        }
    }

    /// Whether the path is that of a link. Directories that are missing where it leads are not made.
    fn is_link(&self) -> bool {
        let itself = resolve(self.place, Last::Keep);
        itself.is_ok_and(|itself| itself.kind() == Ok(Some(Kind::Symlink)))
    }

    fn check_expected(&self, target: &Target<'_>, old: &Locked) -> ToolResult<()> {
        let Some(expected) = &self.expected else { return Ok(()) };
        let actual = Digest::of_file(old.file(), self.job.ctx)?.hex();
        expected.check(&actual).map_err(|error| self.job.failed(target, error))
    }

    /// Tells what is there, so that the model can decide.
    fn refuse_to_overwrite(&self, target: &Target<'_>) -> Trouble {
        // Looked at under the lock, as all files of this process are whose hash is told: not one that is half written.
        let hash = |old: Locked| -> ToolResult<String> {
            let size = old.facts().stx_size;
            if size > MAX_HASH_BYTES {
                return Ok(format!("{size} bytes"));
            }
            Ok(format!("{size} bytes, sha256 {}", Digest::of_file(old.file(), self.job.ctx)?.hex()))
        };
        let present = match Locked::take(&self.job, target, Change::Replace) {
            Ok(Some(old)) => hash(old),
            Ok(None) => return Trouble::Again(Blocker::Restless),
            Err(trouble) => return trouble,
        };
        let present = match present {
            Ok(present) => present,
            Err(error) => return error.into(),
        };
        let text = format!(
            "there is such a file ({present}); to change it use `edit_file`, to replace it set `overwrite`, or \
             `expected_sha256` if it must not have changed since you read it"
        );
        self.job.failed(target, ToolError::failed(text)).into()
    }
}

#[cfg(test)]
#[path = "write_file_tests.rs"]
mod tests;
