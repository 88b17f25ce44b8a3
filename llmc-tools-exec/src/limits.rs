//! Published limits. The jail has more of its own; these concern the call and what travels over the job socket.

/// Bytes of `code`.
pub const MAX_CODE_BYTES: usize = 512 * 1024;
/// Bytes of `stdin`.
pub const MAX_STDIN_BYTES: usize = 8 * 1024 * 1024;
/// Time that code gets unless told otherwise, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 30_000;
/// Bytes kept of each output stream unless told otherwise.
pub const DEFAULT_OUTPUT_BYTES: u32 = 64 * 1024;
/// Least that can be kept of each stream, in bytes.
pub const MIN_OUTPUT_BYTES: u32 = 100;
/// Most that can be kept of each stream, in bytes.
pub const MAX_OUTPUT_BYTES: u32 = 1024 * 1024;
/// Bytes of both streams together after which the code is ended.
pub const HARD_OUTPUT_BYTES: u64 = 8 * 1024 * 1024;
/// Tool calls of one run.
pub const MAX_CALLS: u64 = 1000;
/// Tool calls at the same time. Code that asks for more waits.
pub const MAX_OPEN_CALLS: usize = 16;
/// Bytes of a frame from the code, its header not counted.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// Bytes of the answer to one tool call.
pub const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// After the frame that ends a job, how long the interpreter may take to exit, in milliseconds.
pub const EXIT_GRACE_MS: u64 = 500;
/// After the job socket was closed without such a frame, how long code may go on, in milliseconds.
pub const CLOSED_GRACE_MS: u64 = 1000;
