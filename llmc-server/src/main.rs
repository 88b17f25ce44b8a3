//! The program `llmc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmc_server::cli::main()
}
