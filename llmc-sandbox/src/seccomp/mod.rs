//! System call filters: policies as data, compiled to a program for the kernel.
//!
//! A [`Policy`] lists what is allowed, each entry with its reason. Whatever is not listed gets the policy's
//! `otherwise` error. A second, small list gets the `exceptions` error instead, so that programs see the answer
//! they cope with: a C library takes `ENOSYS` for `clone3` as "old kernel" and falls back to `clone`, whose flags a
//! filter can read. System calls of a foreign architecture kill the process.
//!
//! Integer arguments are compared as 32-bit words: the kernel ignores the upper half, so a comparison of all 64 bits
//! could be dodged by setting a high bit there (CVE-2019-10063).

mod calls;
mod policies;
mod program;

use std::collections::BTreeMap;

use libc::sock_filter;
use rustix::io::Errno;
use rustix::process::Pid;

use self::program::{Answer, Rule, WordTest};
use crate::error::{At, JailError, Layer};
use crate::sys;

pub use policies::{CODE, CODE_ALONE, ENGINE, HOST, HOST_WRITING, WORKSPACE, WORKSPACE_TERMINAL, ZYGOTE};

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
    /// What answers "not supported" (`EOPNOTSUPP`), for which programs have another way.
    pub unsupported: &'static [&'static [Call]],
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
    program: Vec<sock_filter>,
}

impl Policy {
    /// Compiles the policy for this machine; `own_pid` is what [`Test::OwnPid`] stands for.
    pub fn compile(&self, own_pid: Option<Pid>) -> Filter {
        let errno = |errno: Errno| libc::SECCOMP_RET_ERRNO | errno.raw_os_error().unsigned_abs();
        let groups = self.exceptions.iter().map(|group| (group, errno(self.exceptions_errno)));
        let groups = groups.chain(self.unsupported.iter().map(|group| (group, errno(Errno::OPNOTSUPP))));
        let groups = groups.chain(self.allowed.iter().map(|group| (group, libc::SECCOMP_RET_ALLOW)));
        let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
        for (group, answer) in groups {
            for call in *group {
                // A number that does not fit belongs to no system call.
                let Ok(number) = u32::try_from(call.number) else { continue };
                rules.entry(number).or_default().extend(call.compile(answer, own_pid));
            }
        }
        let calls = self.allowed.iter().map(|group| group.len()).sum();
        Filter { name: self.name, calls, program: program::assemble(&rules, errno(self.otherwise)) }
    }
}

impl Call {
    fn compile(&self, answer: Answer, own_pid: Option<Pid>) -> Vec<Rule> {
        if self.rules.is_empty() {
            return vec![Rule { tests: Vec::new(), answer }];
        }
        let rule = |args: &&[Arg]| Rule {
            tests: args.iter().flat_map(|arg| arg.compile(own_pid)).collect(),
            answer,
        };
        self.rules.iter().map(rule).collect()
    }
}

impl Arg {
    fn compile(&self, own_pid: Option<Pid>) -> Vec<WordTest> {
        let lower = |mask, value| WordTest { argument: self.index, upper: false, mask, value };
        match self.test {
            Test::Is(value) => vec![lower(u32::MAX, value)],
            Test::Masked { mask, value } => vec![lower(mask, value)],
            Test::Null => vec![lower(u32::MAX, 0), WordTest { upper: true, ..lower(u32::MAX, 0) }],
            Test::OwnPid => {
                // Without a process id nothing matches: no process has number 0.
                let pid = own_pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
                vec![lower(u32::MAX, pid)]
            }
        }
    }
}

impl Filter {
    /// Puts the filter on the calling thread, for good, and checks that it answers.
    ///
    /// # Errors
    ///
    /// [`JailError`] when the kernel refuses it or does not show it.
    pub(crate) fn install(&self) -> Result<(), JailError> {
        sys::install_filter(&self.program).at(Layer::Seccomp, format!("install policy `{}`", self.name))?;
        if sys::unshare_is_filtered() {
            Ok(())
        } else {
            Err(JailError::not_in_force(Layer::Seccomp, "`unshare` reached the kernel"))
        }
    }

    /// What it is, in a few words.
    pub fn summary(&self) -> String {
        let (name, calls, instructions) = (self.name, self.calls, self.program.len());
        format!("policy `{name}`: {calls} system calls allowed, {instructions} instructions")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [&Policy; 8] =
        [&HOST, &HOST_WRITING, &CODE, &CODE_ALONE, &WORKSPACE, &WORKSPACE_TERMINAL, &ENGINE, &ZYGOTE];

    fn names(groups: &[&[Call]]) -> Vec<&'static str> {
        groups.iter().copied().flatten().map(Call::name).collect()
    }

    #[test]
    fn policies_compile_and_fit_the_kernel() {
        for policy in ALL {
            let program = policy.compile(Pid::from_raw(4321)).program;
            assert!(program.len() < 4096, "{}: {} instructions", policy.name, program.len());
        }
    }

    /// The same policy as seccompiler builds it: a chain for what is allowed, one for the exceptions, one for what is
    /// unsupported.
    fn reference(policy: &Policy, pid: u32) -> [Vec<sock_filter>; 3] {
        use seccompiler::{
            SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
            SeccompRule,
        };
        let condition = |arg: &Arg| {
            let (len, op, value) = match arg.test {
                Test::Is(value) => (Len::Dword, Op::Eq, value.into()),
                Test::Masked { mask, value } => (Len::Dword, Op::MaskedEq(mask.into()), value.into()),
                Test::Null => (Len::Qword, Op::Eq, 0),
                Test::OwnPid => (Len::Dword, Op::Eq, pid.into()),
            };
            SeccompCondition::new(arg.index, len, op, value).unwrap()
        };
        let errno = |errno: Errno| SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
        let build = |groups: &[&[Call]], matched, unmatched| -> Vec<sock_filter> {
            let rule = |args: &&[Arg]| SeccompRule::new(args.iter().map(condition).collect()).unwrap();
            let calls = groups.iter().copied().flatten();
            let rules = calls.map(|call| (call.number, call.rules.iter().map(rule).collect())).collect();
            let arch = std::env::consts::ARCH.try_into().unwrap();
            let filter = SeccompFilter::new(rules, unmatched, matched, arch).unwrap();
            let program: seccompiler::BpfProgram = filter.try_into().unwrap();
            let copy =
                |it: &seccompiler::sock_filter| sock_filter { code: it.code, jt: it.jt, jf: it.jf, k: it.k };
            program.iter().map(copy).collect()
        };
        [
            build(policy.allowed, SeccompAction::Allow, errno(policy.otherwise)),
            build(policy.exceptions, errno(policy.exceptions_errno), SeccompAction::Allow),
            build(policy.unsupported, errno(Errno::OPNOTSUPP), SeccompAction::Allow),
        ]
    }

    /// Arguments around everything that a call's rules speak of.
    fn interesting(policy: &Policy, number: u32, pid: u32) -> Vec<[u64; 6]> {
        let mut all = vec![[0; 6], [u64::MAX; 6]];
        let calls =
            policy.allowed.iter().chain(policy.exceptions).chain(policy.unsupported).copied().flatten();
        for rule in calls.filter(|call| call.number == i64::from(number)).flat_map(|call| call.rules) {
            let mut met = [0_u64; 6];
            for arg in *rule {
                met[usize::from(arg.index)] = match arg.test {
                    Test::Is(value) | Test::Masked { value, .. } => value.into(),
                    Test::Null => 0,
                    Test::OwnPid => pid.into(),
                };
            }
            all.push(met);
            for arg in *rule {
                let at = usize::from(arg.index);
                for bit in 0..64 {
                    let mut near = met;
                    near[at] ^= 1 << bit;
                    all.push(near);
                }
            }
        }
        all
    }

    #[test]
    fn the_program_answers_as_seccompiler_does() {
        const PID: u32 = 4321;
        for policy in ALL {
            let ours = policy.compile(Pid::from_raw(PID.cast_signed())).program;
            let [allowed, exceptions, unsupported] = reference(policy, PID);
            for number in (0..600).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                for args in interesting(policy, number, PID) {
                    // Of two filters the kernel keeps the stricter answer, of two errors the newer filter's.
                    let expected = match program::tests::here(&exceptions, number, args) {
                        libc::SECCOMP_RET_ALLOW => match program::tests::here(&unsupported, number, args) {
                            libc::SECCOMP_RET_ALLOW => program::tests::here(&allowed, number, args),
                            error => error,
                        },
                        error => error,
                    };
                    let found = program::tests::here(&ours, number, args);
                    assert_eq!(found, expected, "{} {number} {args:x?}", policy.name);
                }
            }
        }
    }

    #[test]
    fn no_call_is_listed_twice() {
        for policy in ALL {
            for groups in [policy.allowed, policy.exceptions, policy.unsupported] {
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
            for call in
                policy.allowed.iter().chain(policy.exceptions).chain(policy.unsupported).copied().flatten()
            {
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
        for policy in ALL.into_iter().filter(|policy| policy.name != ZYGOTE.name) {
            let allowed = names(policy.allowed);
            for name in forbidden {
                assert!(!allowed.contains(&name), "{} allows {name}", policy.name);
            }
        }
    }

    #[test]
    fn a_zygote_may_do_what_its_children_may_and_make_jails() {
        let groups = |policy: &Policy| -> BTreeSet<_> { names(policy.allowed).into_iter().collect() };
        let more: BTreeSet<_> = groups(&ZYGOTE).difference(&groups(&CODE)).copied().collect();
        assert_eq!(groups(&CODE).difference(&groups(&ZYGOTE)).count(), 0);
        let nesting: BTreeSet<_> = names(&[calls::NESTING]).into_iter().collect();
        assert!(more.is_subset(&nesting), "{more:?}");
        for never in ["ptrace", "bpf", "pivot_root", "umount2", "unshare", "setns", "keyctl", "init_module"] {
            assert!(!more.contains(never), "{never}");
        }
    }

    #[test]
    fn a_terminal_adds_commands_that_nobody_else_has_and_never_forges_input() {
        let commands = |policy: &Policy| -> BTreeSet<u32> {
            let calls = policy.allowed.iter().copied().flatten().filter(|call| call.name() == "ioctl");
            let tests = calls.flat_map(|call| call.rules).map(|rule| rule[0].test);
            tests.map(|test| if let Test::Is(value) = test { value } else { panic!("{test:?}") }).collect()
        };
        let with = commands(&WORKSPACE_TERMINAL);
        for policy in ALL.into_iter().filter(|policy| policy.name != WORKSPACE_TERMINAL.name) {
            assert!(commands(policy).is_subset(&with), "{}", policy.name);
            for command in [libc::TCSETS, libc::TIOCSPGRP, libc::TIOCSWINSZ, libc::TIOCNOTTY] {
                assert!(!commands(policy).contains(&(command as u32)), "{}", policy.name);
            }
        }
        assert!(with.contains(&(libc::TCSETS as u32)));
        for never in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD, libc::TIOCCONS, libc::TIOCSCTTY] {
            assert!(!with.contains(&(never as u32)), "{never:x}");
        }
        let others = |policy: &Policy| names(policy.allowed).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(others(&WORKSPACE), others(&WORKSPACE_TERMINAL), "no further call");
    }

    #[test]
    fn only_workspace_starts_programs_by_fork() {
        let without = [&HOST, &HOST_WRITING, &CODE, &CODE_ALONE, &ENGINE].map(|policy| (policy, false));
        for (policy, forks) in without.into_iter().chain([(&WORKSPACE, true)]) {
            let allowed = names(policy.allowed);
            assert_eq!(allowed.contains(&"setsid"), forks, "{}", policy.name);
            assert_eq!(allowed.contains(&"wait4"), forks, "{}", policy.name);
        }
        assert!(!names(HOST_WRITING.allowed).contains(&"execve"));
    }

    #[test]
    fn an_engine_opens_starts_and_asks_nothing() {
        let allowed = names(ENGINE.allowed);
        assert!(allowed.len() <= 30, "{}", allowed.len());
        let never = [
            "open",
            "openat",
            "openat2",
            "execve",
            "clone",
            "fork",
            "vfork",
            "socketpair",
            "sendmsg",
            "recvmsg",
            "kill",
            "stat",
            "newfstatat",
            "statx",
            "access",
            "readlink",
            "getdents64",
            "ioctl",
            "fcntl",
            "dup",
            "dup2",
            "dup3",
            "pipe2",
            "prctl",
            "prlimit64",
            "uname",
            "sysinfo",
            "getuid",
            "getppid",
            "chdir",
            "wait4",
        ];
        for name in never {
            assert!(!allowed.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_host_without_a_writable_root_cannot_change_files() {
        let allowed = names(HOST.allowed);
        for name in ["unlinkat", "mkdirat", "renameat2", "fchmod", "ftruncate", "linkat", "symlinkat"] {
            assert!(!allowed.contains(&name), "{name}");
            assert!(names(HOST_WRITING.allowed).contains(&name), "{name}");
        }
    }

    /// Landlock says nothing about modes, owners, times and locks, and a payload may have the operator's own user.
    #[test]
    fn without_namespaces_code_cannot_change_files() {
        let allowed = names(CODE_ALONE.allowed);
        for group in [calls::WRITING, calls::WRITING_MORE, calls::ALLOCATION, calls::KEEP_ATTRIBUTES] {
            for call in group.iter().filter(|call| call.name() != "umask") {
                assert!(!allowed.contains(&call.name()), "{}", call.name());
            }
        }
        for name in
            ["chmod", "chown", "utime", "utimes", "unlink", "link", "symlink", "fork", "tkill", "creat"]
        {
            assert!(!allowed.contains(&name), "{name}");
        }
        let prctl = CODE_ALONE.allowed.iter().copied().flatten().find(|call| call.name() == "prctl").unwrap();
        for option in [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE, libc::PR_SET_CHILD_SUBREAPER] {
            let is_option = |arg: &Arg| matches!(arg.test, Test::Is(value) if value == option as u32);
            assert!(!prctl.rules.iter().any(|rule| rule.iter().any(is_option)), "{option}");
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
