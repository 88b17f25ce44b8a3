//! Commands: `run_command` starts a granted program in a jail of its own and returns what it printed.
//!
//! There is no shell here and none is ever put in between: `argv` reaches the program as it was written. Which
//! programs may run, with which arguments, is decided by the server; the jail is built by the runner.

#![forbid(unsafe_code)]

mod command_line;
mod cwd;
pub mod limits;
mod run_command;

pub use run_command::RunCommand;

llmc_core::export_plugin!("cmd": RunCommand;
grants = [
    run: "starts the programs that the operator lists, each in a jail of its own",
    roots: "lets these programs work on the files in the roots",
]);
