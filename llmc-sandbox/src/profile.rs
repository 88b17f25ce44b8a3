//! Profiles of one-shot jails: what a kind of payload sees and may use, as data.

use crate::jail::JailLimits;
use crate::seccomp::{self, Policy};

/// A named set of rules.
#[derive(Debug)]
pub struct Profile {
    /// Name, as it stands in configuration and refusals.
    pub name: &'static str,
    /// System calls.
    pub filter: &'static Policy,
    /// Paths of the machine that are bound read-only at the same place, where they exist. A symbolic link is made
    /// anew as the same link.
    pub system: &'static [Entry],
    /// Files of `/dev`.
    pub devices: &'static [Entry],
    /// Symbolic links.
    pub links: &'static [Link],
    /// Files of `/etc`, written for the jail.
    pub etc: &'static [Text],
    /// What `/proc` shows.
    pub proc: Proc,
    /// Whether there is scratch space.
    pub scratch: bool,
    /// Whether it has a terminal of its own.
    pub terminal: bool,
    /// Whether Landlock is put around the payload. Every profile has it whose payload runs what somebody else wrote.
    pub landlock: bool,
    /// What may be executed.
    pub execute: Execute,
    /// Whether the payload may start processes. The run of one that may not is over when the payload is, and nobody
    /// has to wait until the kernel has cleared away its namespaces.
    pub children: bool,
    /// System calls where the kernel gives no namespaces; the profile is not run there when absent.
    pub without_namespaces: Option<&'static Policy>,
    /// Limits where the request names none.
    pub limits: JailLimits,
    /// Address space of each process in bytes, beyond the memory limit (`RLIMIT_AS`): a back-stop for the accounting
    /// of the tree, and the reason why an absurd allocation fails at once.
    pub address_space_beyond_memory: u64,
}

/// A path, and why it is there.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Absolute path, or a name below `/dev`.
    pub path: &'static str,
    /// The reason.
    pub why: &'static str,
}

/// A symbolic link, and why it is there.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Where it stands.
    pub path: &'static str,
    /// Where it leads.
    pub to: &'static str,
    /// The reason.
    pub why: &'static str,
}

/// A small file, and why it is there.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Where it stands.
    pub path: &'static str,
    /// What it says.
    pub contents: &'static str,
    /// The reason.
    pub why: &'static str,
}

/// What `/proc` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proc {
    /// It is not there.
    #[default]
    None,
    /// The jail's own processes and nothing else.
    Own,
    /// Everything that a pid namespace of one's own leaves.
    Whole,
}

/// What may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execute {
    /// The program itself and the loader of shared libraries.
    ProgramOnly,
    /// Everything that is visible, except in scratch space.
    Everything,
    /// Nothing: the payload is a function of the launcher's own image.
    Nothing,
}

/// Model-written code in an interpreter: threads, no child processes, nothing but the interpreter and its libraries.
///
/// Which paths those are is found out for each interpreter; they come with the request.
pub const CODE: Profile = Profile {
    name: "code",
    filter: &seccomp::CODE,
    system: &[
        Entry { path: "/etc/ld.so.cache", why: "where the loader finds libraries" },
        Entry { path: "/etc/localtime", why: "local time" },
    ],
    devices: &[
        Entry { path: "null", why: "nothing" },
        Entry { path: "zero", why: "zeroes" },
        Entry { path: "urandom", why: "random bytes" },
    ],
    links: &[],
    etc: &[],
    proc: Proc::Own,
    scratch: true,
    terminal: false,
    landlock: true,
    execute: Execute::ProgramOnly,
    children: false,
    without_namespaces: Some(&seccomp::CODE_ALONE),
    limits: JailLimits {
        wall_ms: 30_000,
        cpu_ms: 10_000,
        memory_bytes: 512 << 20,
        processes: 16,
        open_files: 64,
        file_bytes: 16 << 20,
        scratch_bytes: 16 << 20,
        scratch_inodes: 1024,
        workspace_bytes: 0,
    },
    // Stacks of threads (8 MiB each), libraries and arenas of the allocator are reserved and hardly used.
    address_space_beyond_memory: 512 << 20,
};

/// An interpreter that runs no code of a job: it forks children, each of which puts the walls of [`CODE`] around itself.
///
/// What it has beyond [`CODE`] is what making those walls takes: namespaces and mounts (which Landlock would forbid)
/// in user namespaces of its own making, and a whole `/proc`. Limits are the children's; they cannot be higher than
/// those of the process that they are forked from.
pub const ZYGOTE: Profile = Profile {
    name: "zygote",
    filter: &seccomp::ZYGOTE,
    proc: Proc::Whole,
    landlock: false,
    children: true,
    limits: JailLimits::UNLIMITED,
    address_space_beyond_memory: 0,
    without_namespaces: None,
    ..CODE
};

/// A command over granted directories: child processes, the programs and libraries of the machine.
pub const WORKSPACE: Profile = Profile {
    name: "workspace",
    filter: &seccomp::WORKSPACE,
    system: &[
        Entry { path: "/usr", why: "programs and libraries" },
        Entry { path: "/bin", why: "programs, where this is not a link into /usr" },
        Entry { path: "/sbin", why: "programs, where this is not a link into /usr" },
        Entry { path: "/lib", why: "libraries and the loader" },
        Entry { path: "/lib32", why: "libraries of 32-bit programs" },
        Entry { path: "/lib64", why: "libraries and the loader" },
        Entry { path: "/libx32", why: "libraries and the loader" },
        Entry { path: "/etc/ld.so.cache", why: "where the loader finds libraries" },
        Entry { path: "/etc/alternatives", why: "links of Debian that lead from one program to another" },
        Entry { path: "/etc/localtime", why: "local time" },
    ],
    devices: &[
        Entry { path: "null", why: "nothing" },
        Entry { path: "zero", why: "zeroes" },
        Entry { path: "full", why: "a full disk, for tests" },
        Entry { path: "random", why: "random bytes" },
        Entry { path: "urandom", why: "random bytes" },
    ],
    links: &[
        Link { path: "/dev/fd", to: "/proc/self/fd", why: "process substitution of shells" },
        Link { path: "/dev/stdin", to: "/proc/self/fd/0", why: "commands that want a file name" },
        Link { path: "/dev/stdout", to: "/proc/self/fd/1", why: "commands that want a file name" },
        Link { path: "/dev/stderr", to: "/proc/self/fd/2", why: "commands that want a file name" },
        Link { path: "/etc/mtab", to: "/proc/self/mounts", why: "df" },
        Link { path: "/var/tmp", to: "/tmp", why: "commands that insist on it" },
    ],
    etc: &[
        Text {
            path: "/etc/passwd",
            contents: "llmc:x:1000:1000:llmc:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
            why: "a name for the user that commands run as, and for files of others",
        },
        Text {
            path: "/etc/group",
            contents: "llmc:x:1000:\nnogroup:x:65534:\n",
            why: "a name for the group that commands run as, and for files of others",
        },
        Text {
            path: "/etc/nsswitch.conf",
            contents: "passwd: files\ngroup: files\nhosts: files\n",
            why: "names come from these files and from nowhere else",
        },
        Text { path: "/etc/hosts", contents: "127.0.0.1 localhost\n::1 localhost\n", why: "localhost" },
    ],
    proc: Proc::Own,
    scratch: true,
    terminal: false,
    landlock: true,
    execute: Execute::Everything,
    children: true,
    // Its children could outlive it, and nothing would bound what they write.
    without_namespaces: None,
    limits: JailLimits {
        wall_ms: 120_000,
        cpu_ms: 60_000,
        memory_bytes: 1 << 30,
        processes: 64,
        open_files: 256,
        file_bytes: 64 << 20,
        scratch_bytes: 16 << 20,
        scratch_inodes: 1024,
        workspace_bytes: 2 << 30,
    },
    // Engines such as V8 and Go reserve many gigabytes that they never touch.
    address_space_beyond_memory: 32 << 30,
};

/// [`WORKSPACE`] with a terminal of its own in place of the standard streams, and the calls that set one up.
pub const WORKSPACE_TERMINAL: Profile = Profile {
    name: "workspace with a terminal",
    filter: &seccomp::WORKSPACE_TERMINAL,
    terminal: true,
    ..WORKSPACE
};

/// Model-written code in an interpreter that is a part of the launcher: a function, so nothing has to be visible.
///
/// An empty, read-only root without `/proc`, `/dev` and scratch space, one process without threads, and the few
/// system calls that computing, printing and talking to the job socket take.
pub const ENGINE: Profile = Profile {
    name: "engine",
    filter: &seccomp::ENGINE,
    system: &[],
    devices: &[],
    links: &[],
    etc: &[],
    proc: Proc::None,
    scratch: false,
    terminal: false,
    landlock: true,
    execute: Execute::Nothing,
    children: false,
    limits: JailLimits {
        wall_ms: 30_000,
        cpu_ms: 10_000,
        memory_bytes: 256 << 20,
        processes: 1,
        // Standard streams and the job socket, with some room for the start.
        open_files: 8,
        file_bytes: 0,
        scratch_bytes: 0,
        scratch_inodes: 0,
        workspace_bytes: 0,
    },
    // The launcher's image, its stack, and what the allocator reserves and hardly uses.
    address_space_beyond_memory: 256 << 20,
    without_namespaces: Some(&seccomp::ENGINE),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_why_and_paths_are_absolute() {
        for profile in [&CODE, &WORKSPACE, &ENGINE] {
            for entry in profile.system {
                assert!(entry.path.starts_with('/') && !entry.why.is_empty(), "{entry:?}");
            }
            for text in profile.etc {
                assert!(text.path.starts_with("/etc/") && text.contents.ends_with('\n'), "{text:?}");
            }
            for link in profile.links {
                assert!(
                    link.path.starts_with('/') && link.to.starts_with('/') && !link.why.is_empty(),
                    "{link:?}"
                );
            }
            for device in profile.devices {
                assert!(["null", "zero", "full", "random", "urandom"].contains(&device.path), "{device:?}");
            }
        }
    }

    #[test]
    fn code_sees_no_programs() {
        for entry in CODE.system {
            assert!(entry.path.starts_with("/etc/"), "{entry:?}");
        }
    }
}
