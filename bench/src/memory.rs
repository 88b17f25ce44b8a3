//! Memory of a server and of the processes that it started.

use std::fs;
use std::io;

use anyhow::{Context as _, Result, anyhow};
use rustix::io::Errno;
use serde::Serialize;

use crate::processes::{name, tree};

/// Memory of one process in KiB, see `proc_pid_smaps(5)`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) program: String,
    /// Its own pages and its part of the shared ones.
    pub(crate) pss_kib: u64,
    /// Pages that nobody else has and that cannot be read again from a file.
    pub(crate) private_dirty_kib: u64,
}

/// Memory of the process and all that it started, by program, the smallest first.
pub(crate) fn measure(process: u32) -> Result<Vec<Memory>> {
    let measured = tree(process)?.into_iter().map(of_one);
    // One that has ended meanwhile uses nothing.
    let mut all = measured.filter(|one| !one.as_ref().is_err_and(has_ended)).collect::<Result<Vec<_>>>()?;
    all.sort_by(|a, b| (&a.program, a.private_dirty_kib).cmp(&(&b.program, b.private_dirty_kib)));
    Ok(all)
}

/// What a process and all that it started have for themselves and their part of what is shared, in MiB.
pub(crate) fn pss_mib(process: u32) -> Result<f64> {
    let kib: u64 = measure(process)?.iter().map(|memory| memory.pss_kib).sum();
    Ok(kib as f64 / 1024.0)
}

/// Whether the process was not there any more: not even its folder, or nothing but its exit code.
fn has_ended(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| {
        error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
    })
}

/// Memory of one process alone.
pub(crate) fn of_one(process: u32) -> Result<Memory> {
    let program = name(process)?;
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            anyhow!("`{program}` hides its memory from everybody but root; measure as root to see it")
        } else {
            error.into()
        }
    })?;
    let kib = |field: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
        number.with_context(|| format!("`smaps_rollup` of `{program}` has no field `{field}`"))
    };
    Ok(Memory { pss_kib: kib("Pss")?, private_dirty_kib: kib("Private_Dirty")?, program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_of_its_own() {
        let own = measure(std::process::id()).unwrap();
        assert!(own[0].private_dirty_kib > 0 && own[0].pss_kib >= own[0].private_dirty_kib, "{own:?}");
    }
}
