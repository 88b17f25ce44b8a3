//! A kernel that lacks something, simulated for one process tree: a filter makes its system calls fail.
#![expect(unsafe_code, reason = "a filter is installed between fork and exec")]

use std::collections::BTreeMap;
use std::ffi::c_long;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

/// System calls that fail.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    call: c_long,
    /// Only with such an argument.
    when: Option<(u8, SeccompCmpOp, u64)>,
    errno: i32,
}

impl Missing {
    /// The whole call.
    pub(crate) fn call(call: c_long, errno: i32) -> Self {
        Self { call, when: None, errno }
    }

    /// The call when an argument compares so.
    pub(crate) fn when(call: c_long, argument: u8, operator: SeccompCmpOp, value: u64, errno: i32) -> Self {
        Self { call, when: Some((argument, operator, value)), errno }
    }

    /// `prctl` with this option.
    pub(crate) fn prctl(option: i32, errno: i32) -> Self {
        Self::when(libc::SYS_prctl, 0, SeccompCmpOp::Eq, u64::from(option.unsigned_abs()), errno)
    }

    fn program(&self) -> BpfProgram {
        let rule = self.when.clone().map(|(argument, operator, value)| {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
            SeccompRule::new(vec![condition.unwrap()]).unwrap()
        });
        let rules = BTreeMap::from([(self.call, rule.into_iter().collect())]);
        let fails = SeccompAction::Errno(self.errno.unsigned_abs());
        let here = std::env::consts::ARCH.try_into().unwrap();
        SeccompFilter::new(rules, SeccompAction::Allow, fails, here).unwrap().try_into().unwrap()
    }
}

/// The ways to a user namespace.
pub(crate) fn user_namespaces() -> Vec<Missing> {
    let flag = libc::CLONE_NEWUSER as u64;
    let with_flag = |call| Missing::when(call, 0, SeccompCmpOp::MaskedEq(flag), flag, libc::EPERM);
    vec![
        with_flag(libc::SYS_unshare),
        with_flag(libc::SYS_clone),
        // Its flags are in memory, where no filter can look.
        Missing::call(libc::SYS_clone3, libc::ENOSYS),
    ]
}

/// Takes these from a command and from everything that it starts. The last of the list is taken last.
pub(crate) fn without(missing: &[Missing]) -> impl Fn(&mut Command) + use<> {
    let programs: Vec<BpfProgram> = missing.iter().map(Missing::program).collect();
    move |command| {
        let programs = programs.clone();
        let install =
            move || programs.iter().try_for_each(|program| apply_filter(program).map_err(|_| last_error()));
        // SAFETY: between fork and exec the closure makes system calls only: the programs are ready, and neither
        // their installation nor an error allocates.
        unsafe { command.pre_exec(install) };
    }
}

/// Leaves copies of these descriptors open in a command, as a careless client might.
pub(crate) fn leaving_open(descriptors: Vec<std::os::fd::OwnedFd>) -> impl Fn(&mut Command) {
    use std::os::fd::AsRawFd;
    let descriptors = std::sync::Arc::new(descriptors);
    move |command| {
        let descriptors = std::sync::Arc::clone(&descriptors);
        let leave_open = move || {
            descriptors.iter().zip(FIRST_LEFT_OPEN..).try_for_each(|(descriptor, number)| {
                // SAFETY: both are numbers; the new one is not in use in a process that is about to exec.
                let copy = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
                if copy == number { Ok(()) } else { Err(last_error()) }
            })
        };
        // SAFETY: the closure makes system calls only.
        unsafe { command.pre_exec(leave_open) };
    }
}

/// Number of the first descriptor that [`leaving_open`] leaves.
pub(crate) const FIRST_LEFT_OPEN: i32 = 60;

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}
