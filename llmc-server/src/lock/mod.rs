//! The lock: what each plugin was when the operator agreed to it, in a file beside the configuration.
//!
//! A plugin that is no longer that (another library, other tools, other grants) is *drifted*: it is not started, and
//! its tools are not offered, until the operator accepts what it has become.
//!
//! - [`file`]: the file.
//! - [`pin`]: what is pinned of a plugin, taken from the configuration, the library and its manifest.
//! - [`drift`]: what differs, as a diff.
//! - [`guard`]: stops drifted plugins at start-up.
//! - [`scan`]: looks for hidden or instruction-like text in what a model would read; done before anything is pinned.

mod drift;
mod file;
mod guard;
mod pin;
mod scan;
mod text;

pub(crate) use drift::{Drift, grant_lines};
pub(crate) use file::{Lock, LockError, lock_path};
pub(crate) use guard::Guard;
pub(crate) use pin::{Pin, grants, tools};
pub(crate) use scan::{Finding, scan};
pub(crate) use text::{line, now, shown, who};
