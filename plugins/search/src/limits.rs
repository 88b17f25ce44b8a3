//! Numbers that nothing exceeds.

use std::time::Duration;

/// Largest file that is indexed, in bytes: what is larger was hardly written by hand.
pub(crate) const MAX_FILE_BYTES: u64 = 2 << 20;
/// Largest file whose syntax is looked at, in bytes; larger ones are cut into windows.
pub(crate) const MAX_SYNTAX_BYTES: usize = 1 << 20;
/// Longest time for the syntax of one file.
pub(crate) const MAX_PARSE_TIME: Duration = Duration::from_secs(2);
/// A file with a longer line was made by a program, in bytes.
pub(crate) const MAX_LINE_BYTES: usize = 5_000;
/// Files of all roots together.
pub(crate) const MAX_FILES: usize = 200_000;
/// Directories inside each other.
pub(crate) const MAX_DEPTH: usize = 64;
/// Largest ignore file that is read, in bytes.
pub(crate) const MAX_IGNORE_BYTES: u64 = 256 << 10;

/// Lines of a chunk: short neighbours are joined up to the first number, long ones are cut at the second.
pub(crate) const MIN_CHUNK_LINES: u32 = 12;
pub(crate) const MAX_CHUNK_LINES: u32 = 60;

/// Longest query in bytes; the rest is not looked at.
pub(crate) const MAX_QUERY_BYTES: usize = 2_000;
/// Words of a query that are looked for.
pub(crate) const MAX_TERMS: usize = 24;
/// Longest word in bytes, in queries and in the index.
pub(crate) const MAX_WORD_BYTES: usize = 64;

/// Results of one search.
pub(crate) const DEFAULT_RESULTS: u32 = 10;
pub(crate) const MAX_RESULTS: u32 = 50;
/// Token budget of one answer.
pub(crate) const DEFAULT_TOKENS: u32 = 4_000;
pub(crate) const MAX_TOKENS: u32 = 50_000;
pub(crate) const MIN_TOKENS: u32 = 100;

/// With at most so many files every call looks at all of them; with more, if the last look is older than this.
pub(crate) const MAX_QUICK_FILES: usize = if cfg!(test) { 40 } else { 5_000 };
pub(crate) const MAX_AGE: Duration = Duration::from_secs(2);
/// A file or directory that changed so shortly before it was read may change again without a new time.
pub(crate) const RACY: Duration = Duration::from_secs(2);
/// How long a search waits for the index to be brought up to date.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(3);
/// How long a search without an index may read files.
pub(crate) const MAX_GREP_TIME: Duration = Duration::from_secs(5);
