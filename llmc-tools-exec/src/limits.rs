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
/// Tool calls of one run that are kept account of. How many it may make is the operator's to say
/// (`limits.nested_calls`), and the server's to refuse.
pub const MAX_CALLS: u64 = 10_000;
/// Tool calls that are told one by one; the rest is counted.
pub const MAX_CALL_RECORDS: usize = 100;
/// Tool calls at the same time. Code that asks for more waits.
pub const MAX_OPEN_CALLS: usize = 16;
/// Longest name of a tool, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Bytes of a frame from the code, its header not counted.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// Bytes of the answer to one tool call.
pub const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// Files that go in.
pub const MAX_INPUT_FILES: usize = 64;
/// Bytes of all files that go in.
pub const MAX_INPUT_BYTES: usize = 2 * 1024 * 1024;
/// Globs for files that come out.
pub const MAX_PATTERNS: usize = 32;
/// Files that come out.
pub const MAX_RETURNED_FILES: usize = 64;
/// Bytes of one file that comes out.
pub const MAX_RETURNED_FILE_BYTES: usize = 512 * 1024;
/// Bytes of all files that come out.
pub const MAX_RETURNED_BYTES: usize = 1024 * 1024;
/// Files that are named as left out.
pub const MAX_OMITTED: usize = 64;
/// Longest path of a file, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Between two reports of progress, in milliseconds; of those that come sooner the last one is told.
pub const PROGRESS_INTERVAL_MS: u64 = 100;
/// Longest message of a report of progress, in characters.
pub const MAX_PROGRESS_CHARS: usize = 200;
/// After the frame that ends a job, how long the interpreter may take to exit, in milliseconds.
pub const EXIT_GRACE_MS: u64 = 500;
/// After the job socket was closed without such a frame, how long code may go on, in milliseconds.
pub const CLOSED_GRACE_MS: u64 = 1000;
