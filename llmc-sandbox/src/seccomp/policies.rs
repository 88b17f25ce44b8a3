//! The policies that are shipped.

use rustix::io::Errno;

use super::Policy;
use super::calls::{
    ALLOCATION, ALONE_PROCESS, ATTRIBUTES, CLOCKS_AND_WAITS, COMMANDS, DESCRIPTORS, ENGINE as ENGINE_CALLS,
    FILES, HOST_ABSENT, HOST_PROCESS, JAIL_PROCESS, JAIL_PROPERTIES, JAIL_QUESTIONS, KEEP_ATTRIBUTES, MEMORY,
    NESTING, OPEN_BENEATH, PROCESSES, QUESTIONS, REFUSED, REFUSED_NAMESPACES, REFUSED_PROCESSES, SIGNAL_SELF,
    SIGNALS, SOCKETS, TERMINAL_COMMANDS, THREAD_START, THREADS, TIME, WRITING, WRITING_MORE, x86_64,
};

/// A plugin host whose roots are read-only.
///
/// Its default answer is `EPERM`, for which the standard library has fallbacks.
pub const HOST: Policy = Policy {
    name: "host",
    allowed: &[
        DESCRIPTORS,
        COMMANDS,
        SOCKETS,
        FILES,
        OPEN_BENEATH,
        MEMORY,
        THREADS,
        THREAD_START,
        TIME,
        SIGNALS,
        SIGNAL_SELF,
        QUESTIONS,
        HOST_PROCESS,
        x86_64::ALL,
    ],
    otherwise: Errno::PERM,
    exceptions: &[HOST_ABSENT],
    exceptions_errno: Errno::NOSYS,
    unsupported: &[],
};

/// A plugin host with a writable root.
pub const HOST_WRITING: Policy = Policy {
    name: "host with a writable root",
    allowed: &[
        DESCRIPTORS,
        COMMANDS,
        SOCKETS,
        FILES,
        OPEN_BENEATH,
        WRITING,
        ALLOCATION,
        KEEP_ATTRIBUTES,
        MEMORY,
        THREADS,
        THREAD_START,
        TIME,
        SIGNALS,
        SIGNAL_SELF,
        QUESTIONS,
        HOST_PROCESS,
        x86_64::ALL,
        x86_64::WRITING,
    ],
    ..HOST
};

/// An interpreter with threads and without child processes.
///
/// Its default answer is `ENOSYS`, for which programs have fallbacks. `execve` is allowed because the interpreter is
/// started through it; what it can start later is the same interpreter again, with the same walls around it.
pub const CODE: Policy = Policy {
    name: "code",
    allowed: &[
        DESCRIPTORS,
        COMMANDS,
        SOCKETS,
        FILES,
        ATTRIBUTES,
        WRITING,
        ALLOCATION,
        WRITING_MORE,
        MEMORY,
        THREADS,
        THREAD_START,
        TIME,
        SIGNALS,
        QUESTIONS,
        JAIL_QUESTIONS,
        JAIL_PROCESS,
        JAIL_PROPERTIES,
        CLOCKS_AND_WAITS,
        x86_64::ALL,
        x86_64::WRITING,
        x86_64::ALONE,
        x86_64::JAIL,
    ],
    otherwise: Errno::NOSYS,
    exceptions: &[REFUSED, REFUSED_PROCESSES, x86_64::REFUSED, x86_64::PROCESSES],
    exceptions_errno: Errno::PERM,
    unsupported: &[],
};

/// [`CODE`] for an interpreter that shares every namespace with the machine, behind Landlock.
///
/// It changes no file: Landlock says nothing about modes, owners and times. It signals itself only, and stays tied to
/// the life of its guardian.
pub const CODE_ALONE: Policy = Policy {
    name: "code without namespaces",
    allowed: &[
        DESCRIPTORS,
        COMMANDS,
        SOCKETS,
        FILES,
        MEMORY,
        THREADS,
        THREAD_START,
        TIME,
        SIGNALS,
        SIGNAL_SELF,
        QUESTIONS,
        JAIL_QUESTIONS,
        ALONE_PROCESS,
        CLOCKS_AND_WAITS,
        x86_64::ALL,
        x86_64::ALONE,
    ],
    otherwise: Errno::PERM,
    exceptions: &[HOST_ABSENT],
    exceptions_errno: Errno::NOSYS,
    unsupported: &[],
};

/// A command with child processes.
pub const WORKSPACE: Policy = Policy {
    name: "workspace",
    allowed: &[
        DESCRIPTORS,
        COMMANDS,
        SOCKETS,
        FILES,
        ATTRIBUTES,
        WRITING,
        WRITING_MORE,
        MEMORY,
        THREADS,
        PROCESSES,
        TIME,
        SIGNALS,
        QUESTIONS,
        JAIL_QUESTIONS,
        JAIL_PROCESS,
        JAIL_PROPERTIES,
        CLOCKS_AND_WAITS,
        x86_64::ALL,
        x86_64::WRITING,
        x86_64::ALONE,
        x86_64::JAIL,
        x86_64::PROCESSES,
    ],
    exceptions: &[REFUSED, REFUSED_NAMESPACES, x86_64::REFUSED],
    unsupported: &[ALLOCATION],
    ..CODE
};

/// [`WORKSPACE`] with a terminal of its own.
pub const WORKSPACE_TERMINAL: Policy = Policy {
    name: "workspace with a terminal",
    allowed: &[
        DESCRIPTORS,
        TERMINAL_COMMANDS,
        SOCKETS,
        FILES,
        ATTRIBUTES,
        WRITING,
        WRITING_MORE,
        MEMORY,
        THREADS,
        PROCESSES,
        TIME,
        SIGNALS,
        QUESTIONS,
        JAIL_QUESTIONS,
        JAIL_PROCESS,
        JAIL_PROPERTIES,
        CLOCKS_AND_WAITS,
        x86_64::ALL,
        x86_64::WRITING,
        x86_64::ALONE,
        x86_64::JAIL,
        x86_64::PROCESSES,
    ],
    ..WORKSPACE
};

/// An interpreter that forks jails. What it allows beyond [`CODE`] the filter of each child takes away again: of two
/// filters the stricter answer counts.
pub const ZYGOTE: Policy = Policy {
    name: "zygote",
    allowed: &[
        DESCRIPTORS,
        COMMANDS,
        SOCKETS,
        FILES,
        ATTRIBUTES,
        WRITING,
        ALLOCATION,
        WRITING_MORE,
        MEMORY,
        THREADS,
        THREAD_START,
        TIME,
        SIGNALS,
        QUESTIONS,
        JAIL_QUESTIONS,
        JAIL_PROCESS,
        CLOCKS_AND_WAITS,
        NESTING,
        x86_64::ALL,
        x86_64::WRITING,
        x86_64::ALONE,
        x86_64::JAIL,
    ],
    exceptions: &[],
    ..CODE
};

/// An interpreter that is a part of the launcher: it computes, writes to its streams, and talks to its job socket.
pub const ENGINE: Policy = Policy {
    name: "engine",
    allowed: &[ENGINE_CALLS, x86_64::ENGINE],
    otherwise: Errno::PERM,
    exceptions: &[],
    exceptions_errno: Errno::NOSYS,
    unsupported: &[],
};
