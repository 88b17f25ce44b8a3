//! `start_process`.

use std::collections::BTreeMap;

use llmc_core::prelude::*;
use llmc_core::run::{RunRequest, TerminalSize};

use crate::argv;
use crate::limits::{DEFAULT_WAIT_MS, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_TERMINAL_SIDE};
use crate::process::{Look, Place, Process, Seen};

/// Lines and columns of a terminal unless told otherwise.
const SIZE: TerminalSize = TerminalSize { rows: 24, cols: 80 };

/// Starts a granted program that goes on after this call, such as a REPL or a server, in a jail without network. Returns
/// its handle and first output. Use `run_command` for what ends by itself.
#[arguments]
pub struct StartProcess {
    /// Program and arguments, one string each: ["python3", "-i"].
    #[schemars(length(min = 1, max = MAX_ARGUMENTS))]
    argv: Option<Vec<String>>,
    /// The same in one string, split into words as by a shell.
    #[schemars(length(max = MAX_ARGUMENT_BYTES))]
    command: Option<String>,
    /// Directory: `root:sub/dir`, or relative to the first root. Default: the top of the first root.
    cwd: Option<String>,
    /// Environment variables; only names that the operator granted.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Gives it a terminal, for prompts and full-screen programs. Default: pipes.
    #[serde(default)]
    pty: bool,
    /// Lines of the terminal. Default: 24.
    #[schemars(range(min = 1, max = MAX_TERMINAL_SIDE))]
    rows: Option<u16>,
    /// Columns of the terminal. Default: 80.
    #[schemars(range(min = 1, max = MAX_TERMINAL_SIDE))]
    cols: Option<u16>,
    /// Longest wait for output in milliseconds, up to 30000. Default: 1000.
    wait_ms: Option<u64>,
}

impl Tool for StartProcess {
    const NAME: &'static str = "start_process";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Seen;

    fn call(self, ctx: &Context) -> ToolResult<Seen> {
        let look = Look::new(ctx, None, None, self.wait_ms.unwrap_or(DEFAULT_WAIT_MS));
        let size = self.size()?;
        let argv = argv::words(self.argv, self.command.as_deref())?;
        let request = argv::request(ctx, &argv, self.cwd.as_deref(), self.env)?;
        let place = Place::reserve(ctx)?;
        let timeout_ms = Some(place.settings().lifetime_ms);
        let request = RunRequest { stdin: size.is_none(), detached: true, timeout_ms, ..request };
        let process = match size {
            Some(size) => Process::in_terminal(place, argv, ctx.run_in_terminal(&request, size)?)?,
            None => Process::piped(place, argv, ctx.run(&request)?)?,
        };
        let seen = process.look(ctx, look, None)?;
        if ctx.cancelled() {
            // Nobody learns its handle.
            process.kill();
        }
        Ok(seen)
    }
}

impl StartProcess {
    /// The terminal that it shall have.
    fn size(&self) -> ToolResult<Option<TerminalSize>> {
        if !self.pty && (self.rows.is_some() || self.cols.is_some()) {
            return Err(ToolError::invalid("`rows` and `cols` are of a terminal: set `pty` to true"));
        }
        let size =
            TerminalSize { rows: self.rows.unwrap_or(SIZE.rows), cols: self.cols.unwrap_or(SIZE.cols) };
        Ok(self.pty.then_some(size))
    }
}
