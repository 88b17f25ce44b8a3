//! `list_processes`.

use llmc_core::prelude::*;
use llmc_core::run::RunStatus;
use llmc_core::schema;
use llmc_tools_watch::words;

use crate::process::{Ended, Process, all_of};

/// Longest command that is shown, in bytes.
const MAX_COMMAND_BYTES: usize = 200;

/// Lists the processes that you started, and those that ended a short while ago.
#[arguments]
pub struct ListProcesses {}

/// The processes of a caller.
#[output(custom_text)]
pub struct Listed {
    /// The oldest first.
    processes: Vec<Line>,
}

/// A process.
#[output]
pub struct Line {
    /// Its handle.
    process: String,
    /// Program and arguments, cut when long.
    command: String,
    /// Whether it has a terminal.
    pty: bool,
    /// `running`, or how it ended.
    state: String,
    /// Time since its start.
    age_ms: u64,
    /// Output that was not read.
    unread_bytes: u64,
}

impl Tool for ListProcesses {
    const NAME: &'static str = "list_processes";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Listed;

    fn call(self, ctx: &Context) -> ToolResult<Listed> {
        Ok(Listed { processes: all_of(ctx)?.iter().map(|process| Line::new(process)).collect() })
    }
}

impl Line {
    fn new(process: &Process) -> Self {
        let mut command = process.argv.join(" ");
        command.truncate(command.floor_char_boundary(MAX_COMMAND_BYTES));
        Self {
            process: process.handle.clone(),
            command,
            pty: process.has_terminal,
            state: state(process.ended()),
            age_ms: u64::try_from(process.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            unread_bytes: process.unread_bytes(),
        }
    }
}

fn state(ended: Option<Ended>) -> String {
    let (exit_code, signal) = match ended.map(|ended| ended.status) {
        Some(RunStatus::Exited(code)) => (Some(code), None),
        Some(RunStatus::Signalled(number)) => (None, Some(words::signal(number))),
        None => (None, None),
    };
    let limit = ended.and_then(|ended| ended.limit);
    crate::process::state(ended.is_none(), exit_code, signal.as_deref(), limit)
}

impl Listed {
    fn text(&self) -> String {
        let line = |line: &Line| {
            let Line { process, command, state, unread_bytes, .. } = line;
            format!("{process} {state}, {unread_bytes} bytes to read: {command}")
        };
        match self.processes.is_empty() {
            true => "no processes".to_owned(),
            false => self.processes.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    }
}

impl Output for Listed {
    fn schema() -> Option<Value> {
        Some(schema::of_output::<Self>().schema)
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        Envelope::structured(&self, self.text())
    }
}
