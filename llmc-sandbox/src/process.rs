//! Properties of the calling process.

use rustix::process::{DumpableBehavior, Pid, Signal};

use crate::error::{At, JailError, Layer};

/// Hides this process's memory, environment and descriptors from other processes of the same user.
///
/// `ptrace(2)`, `process_vm_readv(2)`, `pidfd_getfd(2)` and `/proc/PID/{mem,environ,fd}` are refused to them, and
/// there are no core dumps. Another process of the root user may still look.
///
/// # Errors
///
/// [`JailError`] when the kernel refuses or does not show the change.
pub fn make_undumpable() -> Result<(), JailError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(Layer::Dumpable, "clear the dumpable flag")?;
    match rustix::process::dumpable_behavior().at(Layer::Dumpable, "read the dumpable flag")? {
        DumpableBehavior::NotDumpable => Ok(()),
        other => Err(JailError::not_in_force(Layer::Dumpable, format!("the flag is {other:?}"))),
    }
}

/// Asks the kernel to kill this process when the thread that started it ends, and checks that it is still there.
///
/// To be called after the last change of credentials, which would clear it.
pub(crate) fn die_with_parent(parent: Option<u32>) -> Result<(), JailError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at(Layer::ParentDeath, "set the parent death signal")?;
    match rustix::process::parent_process_death_signal()
        .at(Layer::ParentDeath, "read the parent death signal")?
    {
        Some(Signal::KILL) => {}
        other => {
            return Err(JailError::not_in_force(Layer::ParentDeath, format!("the signal is {other:?}")));
        }
    }
    let found = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    match parent {
        Some(expected) if expected != found => {
            Err(JailError::not_in_force(Layer::ParentDeath, format!("process {expected} is gone")))
        }
        _ => Ok(()),
    }
}

/// Sets `no_new_privs`: no `execve` can gain rights any more.
pub(crate) fn forbid_new_privileges() -> Result<(), JailError> {
    rustix::thread::set_no_new_privs(true).at(Layer::NoNewPrivs, "set no_new_privs")?;
    if rustix::thread::no_new_privs().at(Layer::NoNewPrivs, "read no_new_privs")? {
        Ok(())
    } else {
        Err(JailError::not_in_force(Layer::NoNewPrivs, "the flag is not set"))
    }
}

/// Process id as the kernel shows it in this namespace.
pub(crate) fn own_pid() -> Pid {
    rustix::process::getpid()
}
