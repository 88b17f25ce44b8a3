//! Published limits. The jail has more of its own; these concern the call.

/// Strings in `argv`.
pub const MAX_ARGUMENTS: usize = 1024;
/// Bytes of all of `argv` and `env`; the kernel takes up to 128 KiB in one string.
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024;
/// Bytes of `stdin`.
pub const MAX_STDIN_BYTES: usize = 8 * 1024 * 1024;
/// Time that a command gets unless told otherwise, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 60_000;
/// Bytes kept of each output stream unless told otherwise.
pub const DEFAULT_OUTPUT_BYTES: u32 = 64 * 1024;
/// Least that can be kept of each stream, in bytes.
pub const MIN_OUTPUT_BYTES: u32 = 1024;
/// Most that can be kept of each stream, in bytes.
pub const MAX_OUTPUT_BYTES: u32 = 1024 * 1024;
/// Bytes of both streams together after which the command is ended.
pub const HARD_OUTPUT_BYTES: u64 = 8 * 1024 * 1024;

/// Processes of one caller at the same time unless configured otherwise.
pub const DEFAULT_PROCESSES_PER_CALLER: u32 = 8;
/// Processes of all callers at the same time unless configured otherwise; the server has a limit of its own.
pub const DEFAULT_PROCESSES: u32 = 16;
/// Time after which a process that nobody asked about is ended unless configured otherwise, in milliseconds.
pub const DEFAULT_IDLE_MS: u64 = 10 * 60 * 1000;
/// Longest life of a process unless configured otherwise, in milliseconds.
pub const DEFAULT_LIFETIME_MS: u64 = 60 * 60 * 1000;
/// Bytes of output kept of each process; the oldest make room.
pub const TRANSCRIPT_BYTES: usize = 1024 * 1024;
/// Bytes of one `text` for a process.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Bytes that may wait for a process to read them.
pub const MAX_PENDING_BYTES: usize = 256 * 1024;
/// Longest wait for output in one call, in milliseconds.
pub const MAX_WAIT_MS: u64 = 30_000;
/// Wait for output unless told otherwise, in milliseconds.
pub const DEFAULT_WAIT_MS: u64 = 1_000;
/// Bytes of output in one answer unless told otherwise.
pub const DEFAULT_READ_BYTES: u32 = 16 * 1024;
/// Least that can be asked for in one answer: a whole character.
pub const MIN_READ_BYTES: u32 = 4;
/// Most that can be asked for in one answer, in bytes.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;
/// Time between the request to end and the end by force unless told otherwise, in milliseconds.
pub const DEFAULT_GRACE_MS: u64 = 2_000;
/// Longest such time, in milliseconds.
pub const MAX_GRACE_MS: u64 = 30_000;
/// Processes that have ended and are kept for each caller, so that their output can be read.
pub const MAX_ENDED: usize = 8;
/// For how long they are kept after their end, in milliseconds.
pub const KEEP_ENDED_MS: u64 = 10 * 60 * 1000;
/// Most rows and columns of a terminal.
pub const MAX_TERMINAL_SIDE: u16 = 1000;
