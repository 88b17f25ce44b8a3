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
