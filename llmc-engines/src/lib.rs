//! Embedded interpreters: JavaScript by QuickJS, and a subset of Python by monty.
//!
//! Each takes one job over a socket, runs it and returns, in a process of its own that was forked into a jail and ends
//! with it: nothing is executed, opened or started, so there is nothing to be seen there. What does not depend on the
//! job can be done before there is one (`prepare`). The frames on the socket are those that `llmc-tools-exec` speaks with every interpreter:
//!
//! ```text
//! -> r {"v", "engine"}                              ready
//! <- J {"code", "tools", "max_calls", ...}          the job; `tools` is JSON text or null
//! -> C {"id", "name", "arguments"}                  calls a tool; ids count 1, 2, 3, ...
//! <- R {"id", "value"} or {"id", "error"}           the answer to a call
//! -> P {"done", "total", "message"}                how far the code is
//! -> D {"value"?, "error"?, "limit"?}               done; the last frame
//! ```
//!
//! Only this crate writes frames: the code has no descriptors. Its own limits lie below those of the jail, so that
//! what reaches one still has its output, its line and its traceback.
//!
//! Left out on purpose: files, modules from disk, network, threads, and state between runs.

#![forbid(unsafe_code)]

mod channel;
mod clock;
mod job;
pub mod monty;
mod output;
pub mod quickjs;
mod report;

#[cfg(test)]
mod testing;

use std::os::fd::{AsFd, OwnedFd};

pub use monty_alloc::LimitedAllocator as Allocator;

/// An interpreter that is ready for its one job. So far it has used nothing but memory, and it knows no limits.
pub type Prepared = Box<dyn FnOnce(Streams, Limits) -> Ending>;

/// The descriptors of a job.
pub struct Streams {
    /// The job socket.
    pub job: OwnedFd,
    /// Standard input.
    pub stdin: Box<dyn AsFd>,
    /// Standard output.
    pub stdout: Box<dyn AsFd>,
    /// Standard error.
    pub stderr: Box<dyn AsFd>,
}

/// What the jail allows; an engine stops a little earlier.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time by the clock in milliseconds.
    pub wall_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The code ran to its end and reported.
    Done,
    /// The code raised an error and reported it.
    Failed,
    /// A limit ended it; it was reported.
    Limit(Spent),
    /// Nothing could be reported: the other side is gone, or speaks another language.
    Broken,
}

/// A limit of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Time by the clock.
    Wall,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
}

/// Room that an engine leaves below the memory limit of its jail in bytes: for the image, for frames, for the report.
const MEMORY_RESERVE_BYTES: u64 = 32 << 20;

impl Limits {
    /// What the code itself may use, in bytes.
    fn heap_bytes(&self) -> usize {
        let bytes = self.memory_bytes.saturating_sub(MEMORY_RESERVE_BYTES).max(self.memory_bytes / 2);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
