//! Tools that flood every side channel.

use llmc_core::prelude::*;

/// Writes many log lines.
#[arguments]
pub(crate) struct StressLogSpam {
    /// How many.
    lines: u64,
}

#[tool(READ_ONLY)]
fn stress_log_spam(args: StressLogSpam, ctx: &Context) -> ToolResult<String> {
    for line in 0..args.lines {
        ctx.info(format_args!("log line {line} of {}", args.lines));
    }
    Ok(format!("wrote {} log lines", args.lines))
}

/// Writes one log line.
#[arguments]
pub(crate) struct StressLog {
    /// What it says.
    message: String,
}

#[tool(READ_ONLY)]
fn stress_log(args: StressLog, ctx: &Context) -> ToolResult<String> {
    ctx.warn(&args.message);
    Ok("logged".into())
}

/// Reports progress many times.
#[arguments]
pub(crate) struct StressProgressSpam {
    /// How many times.
    count: u64,
}

#[tool(READ_ONLY)]
fn stress_progress_spam(args: StressProgressSpam, ctx: &Context) -> ToolResult<String> {
    for step in 0..args.count {
        ctx.progress(step as f64, Some(args.count as f64), "spamming");
    }
    Ok(format!("reported progress {} times", args.count))
}

/// Writes many lines to standard error, with control characters in them.
#[arguments]
pub(crate) struct StressStderrSpam {
    /// How many.
    #[serde(default = "StressStderrSpam::default_lines")]
    lines: u64,
}

impl StressStderrSpam {
    fn default_lines() -> u64 {
        100_000
    }
}

#[tool(READ_ONLY)]
fn stress_stderr_spam(args: StressStderrSpam, _ctx: &Context) -> ToolResult<String> {
    for line in 0..args.lines {
        eprintln!("\x1b[31mstderr line {line}\x07 of {}\r", args.lines);
    }
    Ok(format!("wrote {} lines to stderr", args.lines))
}
