//! `te COMMAND`: what a command says, in few tokens. One header line tells what came of it; the body is ranked and cut
//! to the budget of its reader; the rest waits behind a handle.
//!
//! - `commands`: a file for each command that is enriched, and `pass` for all others.
//! - `place`: which file of which root an argument names. `tools` asks the file tools, `program` runs a program.
//! - `answer`, `header`, `clean`, `budget`, `tokens`, `hot`: from findings to a text that is short and unambiguous.
//! - `shelf`: handles on disk. `telemetry`: what was saved, without arguments.
//!
//! The crate is a plugin with the tool `te_run`, and the program `te`, which makes a call of that tool through `llmc`
//! and knows nothing of commands itself.
//!
//! Left out on purpose: walking, searching and reading files, which the file tools do; any shell; any decision about
//! what may run or be read, which is the server's.

#![forbid(unsafe_code)]

mod answer;
mod budget;
mod clean;
mod commands;
mod header;
mod hot;
pub mod limits;
mod place;
mod program;
mod settings;
mod shelf;
mod sniff;
mod te_run;
mod telemetry;
mod tokens;
mod tools;

pub use settings::Settings;
pub use te_run::TeRun;
pub use tokens::estimate;

/// What `te` prints where `llmc` made no answer: the header of one, with the error.
pub fn refusal(cmd: &str, exit: i32, error: &str, as_json: bool) -> String {
    answer::Found::failed(cmd, exit, error).finish(limits::UNKNOWN_TOKENS as usize, as_json, |_, _| None).text
}

llmc_core::export_plugin!("te": TeRun;
grants = [
    tools: "searches, finds, lists and reads with the file tools",
    run: "runs all other commands, each in a jail of its own",
    roots: "knows which directory a path means, and lets programs work there",
    state: "keeps what did not fit into an answer, and counts what was saved",
];
config = Settings);
