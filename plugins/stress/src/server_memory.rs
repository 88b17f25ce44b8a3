//! Tries to reach given bytes in the memory of the parent, by every route.

use std::ffi::{c_int, c_long};

use libc::pid_t;
use llmc_core::prelude::*;

use crate::attack::parent::{proc_file, read_memory, while_traced, write_memory};
use crate::sys::{self, Attempt, checked, close};

const MAX_LENGTH: usize = 4096;

/// Tries to read bytes of the parent's memory and to write the same bytes back.
#[arguments]
pub(crate) struct StressServerMemory {
    /// Where the bytes are.
    address: usize,
    /// How many there are.
    #[schemars(range(min = 1, max = 4096))]
    length: usize,
}

#[output]
pub(crate) struct Reached {
    /// All routes and what became of them.
    attempts: Vec<Attempt>,
    /// The bytes as text, if any route led to them.
    bytes: Option<String>,
}

#[tool(READ_ONLY)]
fn stress_server_memory(args: StressServerMemory, _ctx: &Context) -> ToolResult<Reached> {
    let parent = sys::parent();
    if parent == 0 {
        let hidden = Attempt { name: "parent".into(), outcome: "not visible".into() };
        return Ok(Reached { attempts: vec![hidden], bytes: None });
    }
    let address = args.address;
    let mut bytes = vec![0; args.length.clamp(1, MAX_LENGTH)];
    let mut attempts = Vec::new();
    let mut reached = false;

    let file = open_memory(parent);
    let read = file.and_then(|file| transfer(file, address, &mut bytes, Direction::Read));
    attempts.push(Attempt::new("proc_mem_read", read));
    reached |= read.is_ok();
    // Without the true bytes, nothing is written: the parent must stay as it is.
    let write = match read {
        Ok(_) => file.and_then(|file| transfer(file, address, &mut bytes, Direction::Write)),
        Err(errno) => Err(errno),
    };
    attempts.push(Attempt::new("proc_mem_write", write));
    if let Ok(file) = file {
        close(file);
    }

    let read = read_memory(parent, address, &mut bytes);
    attempts.push(Attempt::new("process_vm_readv", read));
    reached |= read.is_ok();
    let write = read.and_then(|_| write_memory(parent, address, &bytes));
    attempts.push(Attempt::new("process_vm_writev", write));

    let peek = while_traced(parent, || peek(parent, address));
    attempts.push(Attempt::new("ptrace_peek", peek));

    let bytes = reached.then(|| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Reached { attempts, bytes })
}

enum Direction {
    Read,
    Write,
}

fn open_memory(pid: pid_t) -> Result<c_int, c_int> {
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::open(proc_file(pid, "mem").as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    checked(c_long::from(fd)).map(|_| fd)
}

fn transfer(file: c_int, address: usize, bytes: &mut [u8], direction: Direction) -> Result<c_long, c_int> {
    let (start, length) = (bytes.as_mut_ptr().cast(), bytes.len());
    let moved = match direction {
        // SAFETY: the slice is as long as told.
        Direction::Read => unsafe { libc::pread64(file, start, length, address as i64) },
        // SAFETY: as above.
        Direction::Write => unsafe { libc::pwrite64(file, start, length, address as i64) },
    };
    checked(moved as c_long)
}

fn peek(pid: pid_t, address: usize) -> Result<c_long, c_int> {
    // A word of all ones looks like a failure, so `errno` decides.
    // SAFETY: the location is that of the calling thread and always valid.
    unsafe { *libc::__errno_location() = 0 };
    // SAFETY: the kernel checks the address in the other process.
    let word = unsafe { libc::ptrace(libc::PTRACE_PEEKDATA, pid, address, 0) };
    match sys::errno() {
        0 => Ok(word),
        errno => Err(errno),
    }
}
