//! Numbers that nothing exceeds.

/// Words of a command.
pub const MAX_ARGUMENTS: usize = 1024;
/// All words of a command, in bytes.
pub const MAX_ARGUMENT_BYTES: usize = 128 << 10;
/// Standard input in bytes.
pub const MAX_STDIN_BYTES: usize = 1 << 20;
/// What is kept of each stream of a program, in bytes; the rest is counted.
pub const MAX_STREAM_BYTES: usize = 4 << 20;
/// What `--raw` shows of each stream, in bytes: an answer travels in one message.
pub const MAX_RAW_BYTES: usize = 768 << 10;
/// What is read of a file, in bytes.
pub const MAX_FILE_BYTES: u32 = 1 << 20;
/// Files or directories that one command names.
pub const MAX_PATHS: usize = 32;

/// Matches that a search shows.
pub const SHOWN_MATCHES: usize = 10;
/// Names that a search for files shows.
pub const SHOWN_NAMES: usize = 50;
/// Commits that `git log` shows.
pub const SHOWN_COMMITS: usize = 20;
/// Lines of a diff that are shown below its summary.
pub const SHOWN_DIFF_LINES: usize = 120;
/// Longest line of a match, in bytes.
pub const MAX_MATCH_BYTES: usize = 200;

/// Directories that a breadcrumb names.
pub const CRUMB_DIRS: usize = 5;
/// Matches from which on a directory can be hot.
pub const HOT_MATCHES: usize = 5;
/// Share of all matches that makes a directory hot, in percent.
pub const HOT_PERCENT: usize = 50;

/// Tokens that the header and the breadcrumbs may need.
pub const RESERVED_TOKENS: usize = 200;
/// Budget of a reader that nobody knows, in tokens: about 16,000 characters.
pub const UNKNOWN_TOKENS: u32 = 4_000;
/// Smallest and largest budget that can be set.
pub const MIN_TOKENS: u32 = 300;
/// See [`MIN_TOKENS`].
pub const MAX_TOKENS: u32 = 400_000;

/// How long a kept output can be read, in seconds, where the operator says nothing.
pub const HANDLE_SECONDS: u64 = 3600;
/// Kept outputs at a time.
pub const MAX_HANDLES: usize = 64;
/// One kept output in bytes; the rest is lost.
pub const MAX_KEPT_BYTES: usize = 4 << 20;
/// All kept outputs together, in bytes.
pub const MAX_ALL_KEPT_BYTES: u64 = 32 << 20;

/// Commands that telemetry remembers; the oldest go first.
pub const MAX_EVENTS: i64 = 20_000;

/// Time for a program in milliseconds, where the caller says nothing.
pub const DEFAULT_TIMEOUT_MS: u64 = 110_000;
