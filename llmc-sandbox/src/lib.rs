//! Jails for llmc: policy as data, and a report of what the kernel enforced.
//!
//! There are two kinds. A **host jail** ([`host::enter`]) is entered by the process itself, once and for good,
//! before it loads a plugin. A **one-shot jail** ([`jail::Launcher`]) is a new process tree with its own root, which
//! runs one program and dies. Both stand on three walls: namespaces with an own root, Landlock, and an allow-list
//! of system calls ([`seccomp`]); around them are limits, an empty set of capabilities, and closed descriptors.
//!
//! Every step is checked and, where the kernel can be asked, read back. A step that fails is a [`JailError`] which
//! names the layer; nothing of the payload has run by then.
//!
//! What the jails do not stop: a bug in the kernel, which all jails share; side channels of the processor; and
//! whatever a program does within the rights that it was given.
//!
//! Where the kernel gives no namespaces, hosts, and one-shot jails of a single process if the launcher was made for that,
//! stand behind Landlock and seccomp alone, and say so.
//!
//! Left out on purpose: networking of any kind inside a jail, cgroups of version 1, and anything weaker than that.

mod cgroup;
pub mod descriptors;
pub mod elf;
mod error;
pub mod host;
pub mod jail;
mod landlock;
mod limits;
mod linux_caps;
mod mounts;
pub mod probe;
pub mod process;
pub mod profile;
mod report;
mod sealed;
pub mod seccomp;
pub mod survey;
mod sys;

pub use error::{JailError, Layer};
pub use report::{EnforcedLayer, Isolation, Report};
pub use sealed::seal;
