//! Copying the contents of a file, as cheaply as the file system allows.

use std::os::fd::OwnedFd;

use llmc_core::ToolResult;
use rustix::buffer::spare_capacity;
use rustix::fs::{copy_file_range, fstat, ioctl_ficlone};
use rustix::io::{read, retry_on_intr, write};

use crate::tree_work::failed;

/// Bytes at a time, where the kernel copies.
const CHUNK_BYTES: usize = 16 * 1024 * 1024;
/// Bytes at a time, where it does not.
const BUFFER_BYTES: usize = 64 * 1024;

/// Copies all of `from` to the empty file `to`. `each` is told how many bytes there are more; its error stops it.
pub(crate) fn copy(
    from: &OwnedFd,
    to: &OwnedFd,
    each: &mut dyn FnMut(u64) -> ToolResult<()>,
) -> ToolResult<()> {
    // Btrfs, XFS and others share the data: nothing is copied, and holes stay holes.
    if ioctl_ficlone(to, from).is_ok() {
        let size = fstat(to).map_err(failed)?.st_size;
        return each(u64::try_from(size).unwrap_or(0));
    }
    // An error here is told again by `read` and `write`, unless they can do what the kernel cannot in one step.
    while let Ok(count @ 1..) = retry_on_intr(|| copy_file_range(from, None, to, None, CHUNK_BYTES)) {
        each(count as u64)?;
    }
    copy_by_hand(from, to, each)
}

/// Copies what is left. Also finds the end of files that do not tell their size, as in `/proc`.
fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, each: &mut dyn FnMut(u64) -> ToolResult<()>) -> ToolResult<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        buffer.clear();
        if retry_on_intr(|| read(from, spare_capacity(&mut buffer))).map_err(failed)? == 0 {
            return Ok(());
        }
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let count = retry_on_intr(|| write(to, rest)).map_err(failed)?;
            rest = &rest[count..];
        }
        each(buffer.len() as u64)?;
    }
}
