//! Published limits.

/// Bytes of a path.
pub const MAX_PATH_BYTES: usize = 4096;
/// Bytes that `read_file` returns unless told otherwise.
pub const DEFAULT_READ_BYTES: u32 = 64 * 1024;
/// Least that `read_file` may be asked for, in bytes: one character always fits.
pub const MIN_READ_BYTES: u32 = 4;
/// Most that `read_file` returns, in bytes.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;
/// Largest image that is returned as one, in bytes: what models take.
pub const MAX_IMAGE_BYTES: u64 = 3_670_016;
/// How far `read_file` looks for a line, in bytes from the start of the file.
pub const MAX_SCAN_BYTES: u64 = 256 * 1024 * 1024;
/// Beginning of a window that is searched for the NUL bytes of binary data, in bytes.
pub const SNIFF_BYTES: usize = 8 * 1024;
/// Entries that `list_dir` returns unless told otherwise.
pub const DEFAULT_LIST_ENTRIES: u32 = 200;
/// Most entries that `list_dir` returns at a time.
pub const MAX_LIST_ENTRIES: u32 = 1000;
/// Entries of a directory that are looked at; the rest of a larger one is not seen.
pub const MAX_DIR_ENTRIES: usize = 250_000;
/// Tries to open a path while directories above it are being moved.
pub const MAX_OPEN_TRIES: usize = 16;
/// Longest file that is read without being told its size, as in `/proc`, in bytes.
pub const MAX_UNSIZED_BYTES: usize = 16 * 1024 * 1024;
