//! Published limits.

/// Bytes of a path.
pub const MAX_PATH_BYTES: usize = 4096;
/// Bytes that `read_file` returns unless told otherwise.
pub const DEFAULT_READ_BYTES: u32 = 64 * 1024;
/// Least that `read_file` may be asked for, in bytes: one character always fits.
pub const MIN_READ_BYTES: u32 = 4;
/// Most that `read_file` returns, in bytes.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;
/// Files that `read_files` takes at a time; together they are cut to `MAX_READ_BYTES`.
pub const MAX_READ_FILES: usize = 50;
/// Largest file that can be read as a resource, in bytes: it goes into a conversation as a whole.
pub const MAX_RESOURCE_BYTES: u64 = 1024 * 1024;
/// Files at the tops of the roots that are listed as resources.
pub const MAX_LISTED_RESOURCES: usize = 200;
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
/// Directories that a change may lie below, counted from its root: as many descriptors are open for a moment.
pub const MAX_DEPTH: usize = 100;
/// Symbolic links that a path may run through, as in the kernel, see `path_resolution(7)`.
pub const MAX_LINKS: usize = 40;
/// Entries that `tree`, `find_files` and `search_files` look at; a walk through a larger tree ends there.
pub const MAX_WALK_ENTRIES: usize = 500_000;
/// Directories that a walk goes down, counted from its start.
pub const MAX_WALK_DEPTH: usize = 200;
/// Threads of one walk or search.
pub const MAX_WALK_THREADS: usize = 4;
/// Threads that help calls, of all calls at a time. Each costs address space (the C library reserves 64 MiB).
pub const MAX_HELPERS: usize = 3;
/// What is read of an ignore file, in bytes.
pub const MAX_IGNORE_BYTES: usize = 64 * 1024;
/// Results that wait for those of slower files before them, in bytes.
pub const MAX_BACKLOG_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a glob.
pub const MAX_GLOB_BYTES: usize = 1024;
/// Levels that `tree` shows unless told otherwise.
pub const DEFAULT_TREE_DEPTH: u32 = 3;
/// Most levels that `tree` shows.
pub const MAX_TREE_DEPTH: u32 = 20;
/// Entries that `tree` shows unless told otherwise.
pub const DEFAULT_TREE_ENTRIES: u32 = 200;
/// Most entries that `tree` shows.
pub const MAX_TREE_ENTRIES: u32 = 2000;
/// Entries that `find_files` returns unless told otherwise.
pub const DEFAULT_FIND_ENTRIES: u32 = 200;
/// Most entries that `find_files` returns at a time.
pub const MAX_FIND_ENTRIES: u32 = 1000;
/// Entries of a directory that `copy_path` copies at a time, with those of the directories in it.
pub const MAX_COPY_ENTRIES: u64 = 100_000;
/// Bytes that `copy_path` copies at a time.
pub const MAX_COPY_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Times that `delete_path` begins again with a directory that others fill or replace meanwhile.
pub const MAX_DELETE_TRIES: usize = 100;
/// Matches, or files, that `search_files` returns unless told otherwise.
pub const DEFAULT_MATCHES: u32 = 100;
/// Most matches, or files, that `search_files` returns.
pub const MAX_MATCHES: u32 = 1000;
/// Matches up to which the total is exact when not all are returned.
pub const MAX_COUNTED_MATCHES: u64 = 10_000;
/// Lines before and after a match.
pub const MAX_CONTEXT_LINES: u32 = 20;
/// Part of a line that `search_files` shows, in bytes.
pub const MAX_LINE_BYTES: usize = 400;
/// Lines of one match that `search_files` shows.
pub const MAX_MATCH_LINES: usize = 50;
/// Text that `search_files` returns, in bytes.
pub const MAX_SEARCH_TEXT_BYTES: usize = 256 * 1024;
/// Longest line that is searched, in bytes; the rest of the file behind a longer one is not.
pub const MAX_SEARCH_LINE_BYTES: usize = 8 * 1024 * 1024;
/// Largest file in which matches may run over several lines, in bytes: it is read as a whole.
pub const MAX_MULTILINE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a pattern.
pub const MAX_PATTERN_BYTES: usize = 8 * 1024;
/// Steps of a regular expression: its characters and classes, each as often as it may repeat in counts.
pub const MAX_REGEX_STEPS: u64 = 1000;
/// Steps from which a regular expression may be slow: 10 ns for each step and byte, at worst.
pub const MAX_LIGHT_STEPS: u64 = 50;
/// [`MAX_SEARCH_LINE_BYTES`] for such a one.
pub const MAX_SLOW_LINE_BYTES: usize = 128 * 1024;
/// [`MAX_MULTILINE_BYTES`] for such a one.
pub const MAX_SLOW_MULTILINE_BYTES: usize = 256 * 1024;
/// Nesting of a regular expression.
pub const MAX_REGEX_DEPTH: u32 = 100;
/// Size of a compiled regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 8 * 1024 * 1024;
/// Memory that a regular expression takes while it searches, for each thread, in bytes.
pub const MAX_REGEX_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Globs, and types, of one search.
pub const MAX_GLOBS: usize = 100;
/// Contents that `write_file` and `append_file` take, and the largest file that `edit_file` takes, in bytes.
pub const MAX_WRITE_BYTES: usize = 10 * 1024 * 1024;
/// Largest file whose hash is told without being asked for, in bytes.
pub const MAX_HASH_BYTES: u64 = 16 * 1024 * 1024;
/// How long a change waits for others who change the same file, in milliseconds.
pub const MAX_WAIT_MS: u64 = 5000;
/// Edits of one call.
pub const MAX_EDITS: usize = 100;
/// Places that one edit replaces.
pub const MAX_REPLACEMENTS: usize = 100_000;
/// Size of a diff that `edit_file` returns, in bytes.
pub const MAX_DIFF_BYTES: usize = 16 * 1024;
/// Lines from the first change to the last one up to which there is a diff.
pub const MAX_DIFF_LINES: usize = 200_000;
/// Lines of the place that is most like the text that was not found.
pub const MAX_SHOWN_LINES: usize = 8;
/// Part of such a line that is shown, in bytes.
pub const MAX_SHOWN_LINE_BYTES: usize = 200;
