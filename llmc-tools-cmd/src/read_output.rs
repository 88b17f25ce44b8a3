//! `read_output`.

use llmc_core::prelude::*;

use crate::limits::{DEFAULT_WAIT_MS, MAX_READ_BYTES, MIN_READ_BYTES};
use crate::process::{Look, Seen, find};

/// Returns what a process has printed since the last answer about it, and whether it runs.
#[arguments]
pub struct ReadOutput {
    /// Its handle, from `start_process`.
    process: String,
    /// Reads from here: a `cursor` of an earlier answer, or 0 for all that is kept. Default: where the last answer ended.
    cursor: Option<u64>,
    /// Longest wait for output in milliseconds, up to 30000. Default: 1000.
    wait_ms: Option<u64>,
    /// Most bytes of output to return. Default: 16384.
    #[schemars(range(min = MIN_READ_BYTES, max = MAX_READ_BYTES))]
    max_bytes: Option<u32>,
}

impl Tool for ReadOutput {
    const NAME: &'static str = "read_output";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Seen;

    fn call(self, ctx: &Context) -> ToolResult<Seen> {
        let process = find(ctx, &self.process)?;
        let look = Look::new(ctx, self.cursor, self.max_bytes, self.wait_ms.unwrap_or(DEFAULT_WAIT_MS));
        process.look(ctx, look, None)
    }
}
