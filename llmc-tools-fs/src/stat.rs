//! `stat`.

use llmc_core::prelude::*;
use llmc_core::serde_json::Map;
use rustix::fs::{FileType, OFlags, Statx, StatxFlags, readlinkat};

use crate::kind::Kind;
use crate::path::Place;
use crate::root::{self, OpenError};
use crate::time::rfc3339;

/// Tells kind, size, mode and times of a path; of a link, those of itself and of what it leads to.
#[arguments(undocumented)]
pub struct Stat {
    path: String,
}

/// What is known of a file.
#[output]
pub struct Described {
    /// The file, in a form that can be asked for again.
    path: String,
    #[serde(flatten)]
    facts: Facts,
    /// Where a symbolic link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
}

/// What is known of a file itself. Times are RFC 3339 in UTC. The schema, which every conversation pays for, leaves out
/// what few ask for.
#[output]
struct Facts {
    /// What it is.
    #[schemars(with = "String")]
    kind: Kind,
    /// Its size.
    size_bytes: u64,
    /// Permissions in octal, such as `0644`.
    mode: String,
    /// Number of its owner.
    #[schemars(skip)]
    uid: u32,
    /// Number of its group.
    #[schemars(skip)]
    gid: u32,
    /// Number of its names (hard links).
    #[schemars(skip)]
    links: u32,
    /// When its contents changed.
    modified: String,
    /// When it was read last, as far as the file system keeps that.
    #[schemars(skip)]
    accessed: String,
    /// When its contents or properties changed.
    #[schemars(skip)]
    changed: String,
    /// When it was made, if the file system keeps that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    created: Option<String>,
}

/// Where a symbolic link leads.
#[output]
struct Link {
    /// inside, outside (of the root: nothing more is told), missing, loop or denied.
    leads: &'static str,
    /// What the link says.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What it leads to: the facts of a file. Their schema is not repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    target: Option<Facts>,
}

impl Tool for Stat {
    const NAME: &'static str = "stat";
    const TITLE: &'static str = "File status";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Described;

    fn call(self, ctx: &Context) -> ToolResult<Described> {
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let open = |flags| root::open(&place, OFlags::PATH | flags);
        let itself = open(OFlags::NOFOLLOW).map_err(|error| error.explain("look at", &place))?;
        let facts = Facts::new(&root::facts(&itself)?);
        let link = if facts.kind == Kind::Symlink {
            let text = readlinkat(&itself, "", Vec::new()).map(|text| text.to_string_lossy().into_owned());
            Some(match open(OFlags::empty()) {
                Ok(target) => Link {
                    leads: "inside",
                    text: text.ok(),
                    target: Some(Facts::new(&root::facts(&target)?)),
                },
                Err(error) => Link::astray(error, text.ok()),
            })
        } else {
            None
        };
        Ok(Described { path: place.display(), facts, link })
    }
}

impl Link {
    fn astray(error: OpenError, text: Option<String>) -> Self {
        let leads = match error {
            OpenError::Outside(_) => "outside",
            OpenError::Loop => "loop",
            OpenError::NotFound | OpenError::NotDirectory => "missing",
            _ => "denied",
        };
        // The links of `/proc` get their text from the kernel, which would tell what lies outside.
        let text = text.filter(|_| error != OpenError::Loop);
        Self { leads, text, target: None }
    }
}

impl Facts {
    fn new(facts: &Statx) -> Self {
        let knows_birth = facts.stx_mask & StatxFlags::BTIME.bits() != 0;
        Self {
            kind: Kind::of(FileType::from_raw_mode(facts.stx_mode.into())),
            size_bytes: facts.stx_size,
            mode: format!("{:04o}", facts.stx_mode & 0o7777),
            uid: facts.stx_uid,
            gid: facts.stx_gid,
            links: facts.stx_nlink,
            modified: rfc3339(facts.stx_mtime),
            accessed: rfc3339(facts.stx_atime),
            changed: rfc3339(facts.stx_ctime),
            created: knows_birth.then(|| rfc3339(facts.stx_btime)),
        }
    }
}

#[cfg(test)]
#[path = "stat_tests.rs"]
mod tests;
