//! Commands: `run_command` starts a granted program in a jail of its own and returns what it printed. `start_process`
//! starts one that goes on: it is talked to with `send_input` and `read_output` until `stop_process`.
//!
//! There is no shell here and none is ever put in between: `argv` reaches the program as it was written. Which
//! programs may run, with which arguments, is decided by the server; the jail is built by the runner.

#![forbid(unsafe_code)]

mod argv;
mod command_line;
mod cwd;
pub mod limits;
mod list_processes;
mod process;
mod read_output;
mod run_command;
mod send_input;
mod start_process;
mod stop_process;

pub use list_processes::{Line, ListProcesses, Listed};
pub use process::{Piece, Seen, Settings};
pub use read_output::ReadOutput;
pub use run_command::RunCommand;
pub use send_input::SendInput;
pub use start_process::StartProcess;
pub use stop_process::StopProcess;

llmc_core::export_plugin!("cmd":
    RunCommand, StartProcess, SendInput, ReadOutput, StopProcess, ListProcesses;
grants = [
    run: "starts the programs that the operator lists, each in a jail of its own",
    roots: "lets these programs work on the files in the roots",
];
config = Settings);
