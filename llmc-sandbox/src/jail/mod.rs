//! One-shot jails: a program in a process tree of its own, with its own root, that dies when the program ends.
//!
//! ```text
//! launcher            one thread, few rights; clones mounts, writes identity maps, keeps the pidfd
//!  └─ process 1       seven new namespaces; builds the root, drops everything, then reaps, counts, keeps limits
//!      └─ payload     Landlock, seccomp, execve; or, instead of that, a function of the launcher's own image
//! ```
//!
//! The order of the steps, each of which is checked: descriptors closed; identity maps written; user changed;
//! undumpable, dies with the launcher, own session; mounts private; root built, entered, old tree detached, root
//! read-only, flags read back; host name; capabilities, bounding set and securebits gone and read back;
//! `no_new_privs`; payload forked; its descriptors, limits, Landlock with a probe, seccomp with a probe; `execve`.
//!
//! An interpreter that is slow to start can be started once, as a **zygote**, and forked into jails ahead of time: the
//! same steps, with the program already there ([`Zygote`], [`Nest`]).
//!
//! Where the kernel refuses namespaces nothing is started, unless the launcher was made for the lesser tier: one process
//! behind Landlock and seccomp alone.

mod alone;
mod control;
mod crowd;
mod folder;
mod growth;
mod guard;
mod handover;
mod identity;
mod init;
mod launcher;
mod monitor;
mod nest;
mod parked;
mod passing;
mod payload;
mod reached;
mod running;
mod signals;
mod spec;
mod terminal;
mod tree;
mod waiting;
mod zygote;

pub use crate::sys::ExitStatus;
pub use control::{Accounting, Ending, Limit};
pub use folder::sweep;
pub use handover::{Handover, Parked, Stillborn};
pub(crate) use identity::owner_namespace;
pub(crate) use init::HOST_NAME;
pub use launcher::Launcher;
pub use nest::{Forked, Nest};
pub use reached::Reached;
pub use running::Jail;
pub use signals::TreeSignal;
pub(crate) use spec::{CANARY, SCRATCH};
pub use spec::{
    CPU_USED_UP, Function, GrantedRoot, Inside, JailLimits, JailSpec, MEMORY_USED_UP, Payload, Ready,
    SmallFile, TIME_USED_UP,
};
pub use terminal::Terminal;
pub use waiting::{Finished, Waiting};
pub use zygote::Zygote;
