//! Tools that take too much time or memory.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use llmc_core::prelude::*;

const CHUNK_BYTES: u64 = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// Allocates and touches memory until something ends it.
#[arguments]
pub(crate) struct StressLeak {
    /// Bytes after which it stops and answers, so that a missing limit does not exhaust the machine.
    #[serde(default = "StressLeak::default_max_bytes")]
    max_bytes: u64,
}

impl StressLeak {
    fn default_max_bytes() -> u64 {
        2 << 30
    }
}

#[tool(READ_ONLY)]
fn stress_leak(args: StressLeak, _ctx: &Context) -> ToolResult<String> {
    let mut chunks = Vec::new();
    while chunks.len() as u64 * CHUNK_BYTES < args.max_bytes {
        let mut chunk = vec![0_u8; CHUNK_BYTES as usize];
        chunk.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
        chunks.push(black_box(chunk));
    }
    Ok(format!("nothing stopped it at {} bytes", args.max_bytes))
}

/// Loops forever and ignores cancellation.
#[arguments]
pub(crate) struct StressSpin;

#[tool(READ_ONLY)]
fn stress_spin(_: StressSpin, _ctx: &Context) -> ToolResult<String> {
    loop {
        black_box(());
    }
}

/// Sleeps, and stops early when cancelled.
#[arguments]
pub(crate) struct StressSleep {
    /// Milliseconds.
    ms: u64,
}

#[tool(READ_ONLY)]
fn stress_sleep(args: StressSleep, ctx: &Context) -> ToolResult<String> {
    let end = Instant::now() + Duration::from_millis(args.ms.min(3_600_000));
    while Instant::now() < end {
        ctx.check()?;
        thread::sleep(Duration::from_millis(2).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(format!("slept {} ms", args.ms))
}
