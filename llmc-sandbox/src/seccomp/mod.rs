//! System call filters: policies as data, compiled to BPF by seccompiler.
//!
//! A [`Policy`] lists what is allowed, each entry with its reason. Whatever is not listed gets the policy's
//! `otherwise` error. A second, small list gets the `exceptions` error instead, so that programs see the answer
//! they cope with: a C library takes `ENOSYS` for `clone3` as "old kernel" and falls back to `clone`, whose flags a
//! filter can read.
//!
//! The kernel runs the newest filter first and keeps its answer among equals, so the exceptions go into a second
//! filter on top; the first one alone already denies everything that is not listed. System calls of a foreign
//! architecture kill the process.
//!
//! Integer arguments are compared as 32-bit words: the kernel ignores the upper half, so a comparison of all 64 bits
//! could be dodged by setting a high bit there (CVE-2019-10063).

mod calls;
mod policies;

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::process::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::error::{At, JailError, Layer};
use crate::sys;

pub use policies::{CODE, HOST, HOST_WRITING, WORKSPACE};

/// A named filter.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Name for reports.
    pub name: &'static str,
    /// What may be called, in groups.
    pub allowed: &'static [&'static [Call]],
    /// What everything else answers.
    pub otherwise: Errno,
    /// What answers `exceptions_errno` instead of `otherwise`.
    pub exceptions: &'static [&'static [Call]],
    /// See there.
    pub exceptions_errno: Errno,
}

/// One system call of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number on this architecture.
    pub number: i64,
    /// `SYS_` and its name.
    pub constant: &'static str,
    /// Which arguments the entry is about: any of these rules, each of which is met when all its tests are. No rule
    /// at all means every argument.
    pub rules: &'static [&'static [Arg]],
    /// Why the entry is there.
    pub why: &'static str,
}

impl Call {
    /// The name as `man 2` knows it.
    pub fn name(&self) -> &'static str {
        self.constant.trim_start_matches("SYS_")
    }
}

/// A test of one argument.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Position, from 0.
    pub index: u8,
    /// What it must be.
    pub test: Test,
}

/// What an argument must be.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// This 32-bit integer.
    Is(u32),
    /// This 32-bit integer after masking.
    Masked {
        /// Bits to look at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// A null pointer.
    Null,
    /// The process id of the process that installs the filter.
    OwnPid,
}

/// A compiled policy, ready to be installed by any process forked from here.
#[derive(Clone, Debug)]
pub struct Filter {
    name: &'static str,
    calls: usize,
    programs: [BpfProgram; 2],
}

impl Policy {
    /// Compiles the policy for this machine; `own_pid` is what [`Test::OwnPid`] stands for.
    ///
    /// # Errors
    ///
    /// [`JailError::Missing`] on an architecture that seccompiler does not know.
    pub fn compile(&self, own_pid: Option<Pid>) -> Result<Filter, JailError> {
        let lacking = |error: seccompiler::BackendError| {
            JailError::missing(Layer::Seccomp, format!("policy `{}` does not compile: {error}", self.name))
        };
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(lacking)?;
        let build =
            |calls: &[&[Call]], matched, unmatched| -> Result<BpfProgram, seccompiler::BackendError> {
                let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
                for call in calls.iter().copied().flatten() {
                    rules.insert(call.number, seccomp_rules(call, own_pid)?);
                }
                SeccompFilter::new(rules, unmatched, matched, arch)?.try_into()
            };
        let errno = |errno: Errno| SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
        let allowed = build(self.allowed, SeccompAction::Allow, errno(self.otherwise)).map_err(lacking)?;
        let exceptions =
            build(self.exceptions, errno(self.exceptions_errno), SeccompAction::Allow).map_err(lacking)?;
        let calls = self.allowed.iter().map(|group| group.len()).sum();
        Ok(Filter { name: self.name, calls, programs: [allowed, exceptions] })
    }
}

impl Filter {
    /// Puts the filter on the calling thread, for good, and checks that it answers.
    ///
    /// # Errors
    ///
    /// [`JailError`] when the kernel refuses it or does not show it.
    pub(crate) fn install(&self) -> Result<(), JailError> {
        for program in &self.programs {
            sys::install_filter(program).at(Layer::Seccomp, format!("install policy `{}`", self.name))?;
        }
        if sys::unshare_is_filtered() {
            Ok(())
        } else {
            Err(JailError::not_in_force(Layer::Seccomp, "`unshare` reached the kernel"))
        }
    }

    /// What it is, in a few words.
    pub fn summary(&self) -> String {
        let instructions: usize = self.programs.iter().map(Vec::len).sum();
        format!("policy `{}`: {} system calls allowed, {instructions} instructions", self.name, self.calls)
    }
}

fn seccomp_rules(call: &Call, own_pid: Option<Pid>) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    call.rules
        .iter()
        .map(|tests| {
            let conditions = tests.iter().map(|arg| condition(arg, own_pid)).collect::<Result<_, _>>()?;
            SeccompRule::new(conditions)
        })
        .collect()
}

fn condition(arg: &Arg, own_pid: Option<Pid>) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (len, op, value) = match arg.test {
        Test::Is(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value.into()),
        Test::Masked { mask, value } => {
            (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask.into()), value.into())
        }
        Test::Null => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        Test::OwnPid => {
            // Without a process id nothing matches: no process has number 0.
            let pid = own_pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
            (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, pid.into())
        }
    };
    SeccompCondition::new(arg.index, len, op, value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [&Policy; 4] = [&HOST, &HOST_WRITING, &CODE, &WORKSPACE];

    fn names(groups: &[&[Call]]) -> Vec<&'static str> {
        groups.iter().copied().flatten().map(Call::name).collect()
    }

    #[test]
    fn policies_compile_and_fit_the_kernel() {
        for policy in ALL {
            let filter = policy.compile(Pid::from_raw(4321)).unwrap();
            for program in &filter.programs {
                assert!(program.len() < 4096, "{}: {} instructions", policy.name, program.len());
            }
        }
    }

    #[test]
    fn no_call_is_listed_twice() {
        for policy in ALL {
            for groups in [policy.allowed, policy.exceptions] {
                let listed = names(groups);
                let distinct: BTreeSet<_> = listed.iter().collect();
                let twice: Vec<_> = listed
                    .iter()
                    .filter(|name| listed.iter().filter(|other| other == name).count() > 1)
                    .collect();
                assert_eq!(distinct.len(), listed.len(), "{}: {twice:?}", policy.name);
            }
        }
    }

    #[test]
    fn every_entry_says_why() {
        for policy in ALL {
            for call in policy.allowed.iter().chain(policy.exceptions).copied().flatten() {
                assert!(call.constant.starts_with("SYS_") && call.why.len() > 3, "{}", call.name());
            }
        }
    }

    #[test]
    fn dangerous_calls_are_not_allowed_anywhere() {
        let forbidden = [
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "setns",
            "unshare",
            "open_tree",
            "move_mount",
            "fsopen",
            "mount_setattr",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "keyctl",
            "add_key",
            "request_key",
            "memfd_create",
            "memfd_secret",
            "execveat",
            "name_to_handle_at",
            "open_by_handle_at",
            "socket",
            "connect",
            "bind",
            "listen",
            "accept",
            "accept4",
            "shmget",
            "msgget",
            "mq_open",
            "inotify_init1",
            "fanotify_init",
            "personality",
            "modify_ldt",
            "mbind",
            "init_module",
            "finit_module",
            "kexec_load",
            "reboot",
            "setuid",
            "setresuid",
            "setgid",
            "setresgid",
            "setgroups",
            "capset",
            "splice",
            "vmsplice",
            "tee",
            "clone3",
            "setpriority",
            "sched_setscheduler",
            "ioprio_set",
            "process_madvise",
            "mknod",
        ];
        for policy in ALL {
            let allowed = names(policy.allowed);
            for name in forbidden {
                assert!(!allowed.contains(&name), "{} allows {name}", policy.name);
            }
        }
    }

    #[test]
    fn only_workspace_starts_programs_by_fork() {
        for (policy, forks) in [(&HOST, false), (&HOST_WRITING, false), (&CODE, false), (&WORKSPACE, true)] {
            let allowed = names(policy.allowed);
            assert_eq!(allowed.contains(&"setsid"), forks, "{}", policy.name);
            assert_eq!(allowed.contains(&"wait4"), forks, "{}", policy.name);
        }
        assert!(!names(HOST_WRITING.allowed).contains(&"execve"));
    }

    #[test]
    fn a_host_without_a_writable_root_cannot_change_files() {
        let allowed = names(HOST.allowed);
        for name in ["unlinkat", "mkdirat", "renameat2", "fchmod", "ftruncate", "linkat", "symlinkat"] {
            assert!(!allowed.contains(&name), "{name}");
            assert!(names(HOST_WRITING.allowed).contains(&name), "{name}");
        }
    }

    #[test]
    fn commands_and_flags_are_always_filtered() {
        for policy in ALL {
            for call in policy.allowed.iter().copied().flatten() {
                let needs_rules = ["ioctl", "fcntl", "prctl", "clone", "socketpair", "prlimit64", "mknodat"];
                assert!(!needs_rules.contains(&call.name()) || !call.rules.is_empty(), "{}", call.name());
            }
        }
    }
}
