//! The unsafe part: thin wrappers around calls that rustix does not offer, or offers as unsafe.
//!
//! Everything else in this crate is safe Rust over these and over rustix.

#![expect(unsafe_code, reason = "system calls without a safe wrapper elsewhere; one purpose per function")]

mod attempt;
mod descriptors;
mod filter;
mod library;
mod mount;
mod process;

pub(crate) use attempt::{ABSENT, CHILD, REFUSED, foreign_call};
pub(crate) use descriptors::{close_range, owner_of, place, take};
pub(crate) use filter::install_filter;
pub(crate) use library::keep_library;
pub(crate) use mount::{MountAttributes, set_mount_attributes};
pub use process::ExitStatus;
pub(crate) use process::{
    Clone, Namespaces, SingleThreaded, children_cpu, clone, clone_into, cpu_of, default_signal,
    default_signals, exit, ignore_signal, limit_heaps, make_idle, set_host_name, unshare,
    unshare_is_filtered, wait,
};

use rustix::io::Errno;

/// The result of a raw system call.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
