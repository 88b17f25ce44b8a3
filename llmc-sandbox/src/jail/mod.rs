//! One-shot jails: a program in a process tree of its own, with its own root, that dies when the program ends.
//!
//! ```text
//! launcher            one thread, few rights; clones mounts, writes identity maps, keeps the pidfd
//!  └─ process 1       seven new namespaces; builds the root, drops everything, then reaps, counts, keeps limits
//!      └─ payload     Landlock, seccomp, execve
//! ```
//!
//! The order of the steps, each of which is checked: descriptors closed; identity maps written; user changed;
//! undumpable, dies with the launcher, own session; mounts private; root built, entered, old tree detached, root
//! read-only, flags read back; host name; capabilities, bounding set and securebits gone and read back;
//! `no_new_privs`; payload forked; its descriptors, limits, Landlock with a probe, seccomp with a probe; `execve`.
//!
//! Where the kernel refuses namespaces nothing is started, unless the launcher was made for the lesser tier: one process
//! behind Landlock and seccomp alone.

mod alone;
mod control;
mod folder;
mod growth;
mod identity;
mod init;
mod launcher;
mod monitor;
mod payload;
mod reached;
mod running;
mod spec;
mod tree;

pub use crate::sys::ExitStatus;
pub use control::{Ending, Limit};
pub use folder::sweep;
pub(crate) use identity::owner_namespace;
pub(crate) use init::HOST_NAME;
pub use launcher::Launcher;
pub use reached::Reached;
pub use running::Jail;
pub(crate) use spec::{CANARY, SCRATCH};
pub use spec::{GrantedRoot, JailLimits, JailSpec, SmallFile};
