//! Tools that end badly.

use std::hint::black_box;

use llmc_core::prelude::*;

/// Panics.
#[arguments]
pub(crate) struct StressPanic;

#[tool(READ_ONLY)]
fn stress_panic(_: StressPanic, _ctx: &Context) -> ToolResult<String> {
    panic!("panicked on request")
}

/// Aborts.
#[arguments]
pub(crate) struct StressAbort;

#[tool(READ_ONLY)]
fn stress_abort(_: StressAbort, _ctx: &Context) -> ToolResult<String> {
    std::process::abort()
}

/// Writes to an address that is not mapped.
#[arguments]
pub(crate) struct StressSegfault;

#[tool(READ_ONLY)]
fn stress_segfault(_: StressSegfault, _ctx: &Context) -> ToolResult<String> {
    // SAFETY: there is none, which is the point: the first page is never mapped, so the process ends here.
    unsafe { libc::memset(black_box(8) as *mut libc::c_void, 0, 1) };
    Err(ToolError::failed("the first page is mapped"))
}

/// Recurses until the stack overflows.
#[arguments]
pub(crate) struct StressOverflow;

#[tool(READ_ONLY)]
fn stress_overflow(_: StressOverflow, _ctx: &Context) -> ToolResult<String> {
    Ok(recurse(0).to_string())
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    recurse(depth + 1) + black_box(frame)[0]
}

/// Jumps with `longjmp` to where nobody was.
#[arguments]
pub(crate) struct StressLongJump;

unsafe extern "C" {
    fn longjmp(from: *const u64, value: libc::c_int) -> !;
}

#[tool(READ_ONLY)]
fn stress_long_jump(_: StressLongJump, _ctx: &Context) -> ToolResult<String> {
    // A `jmp_buf` has at most 312 bytes on the machines that llmc runs on; see setjmp.h. The C library hides the
    // addresses in it behind a random number, so zeros lead to no place of this process.
    let nowhere = black_box([0_u64; 64]);
    // SAFETY: there is none, which is the point; the buffer is as long as `longjmp` reads.
    unsafe { longjmp(nowhere.as_ptr(), 1) }
}

/// Exits.
#[arguments]
pub(crate) struct StressExit {
    /// Exit code.
    #[serde(default)]
    code: i32,
}

#[tool(READ_ONLY)]
fn stress_exit(args: StressExit, _ctx: &Context) -> ToolResult<String> {
    std::process::exit(args.code)
}
