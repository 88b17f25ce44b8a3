//! What bounds the work of one judgment, whatever a scenario or a trace says.

/// Largest scenario file.
pub const MAX_SCENARIO_BYTES: usize = 256 << 10;
/// Largest trace file.
pub const MAX_TRACE_BYTES: usize = 32 << 20;
/// Longest line of a trace.
pub const MAX_TRACE_LINE_BYTES: usize = 1 << 20;
/// Most events of a trace.
pub const MAX_EVENTS: usize = 100_000;
/// Most properties of a scenario.
pub const MAX_PROPERTIES: usize = 256;
/// Most names in each list of tools, and most queries.
pub const MAX_NAMES: usize = 256;
/// Longest id of a scenario, a run or a property.
pub const MAX_ID_BYTES: usize = 100;

/// Longest expression.
pub const MAX_EXPRESSION_BYTES: usize = 4 << 10;
/// Most words and signs of an expression.
pub const MAX_TOKENS: usize = 1_000;
/// How deep brackets, `not`, `-` and conditions may stand in each other.
pub const MAX_NESTING: usize = 32;
/// How deep the tree of an expression may be: `1 + 1 + 1` is three deep.
pub const MAX_TREE_DEPTH: usize = 128;
/// Longest text that an expression may make, in bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Longest list that an expression may make.
pub const MAX_ITEMS: usize = 100_000;
/// Steps that all expressions of one judgment may take together: one for each part that is computed, each item of a
/// list and each 64 bytes of text that is looked at. They take about a second at most in a release build.
pub const MAX_STEPS: u64 = 20_000_000;

/// Most tool calls of a script, repetitions included.
pub const MAX_SCRIPT_CALLS: usize = 1_000;
/// Longest text that a script may make of a template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Length to which the text of a result is cut in a trace, in bytes.
pub const MAX_RESULT_TEXT_BYTES: usize = 4 << 10;
/// Most ids of items that a trace keeps of one result.
pub const MAX_RESULT_ITEMS: usize = 10_000;
