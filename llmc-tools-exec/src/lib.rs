//! Code: `execute_code` runs a piece of Python in a jail of its own and lets it call the server's other tools.
//!
//! `src/python/boot.py` runs inside the jail. It and this crate talk in frames over a socket that is descriptor 3 in
//! the jail: `frame.rs` cuts them, `protocol.rs` says which may come when, `line.rs` reads them, `crew.rs` answers calls,
//! `session.rs` joins all that to the run.
//!
//! Whatever comes out of a jail is the code's own word, frames included: the code runs in the interpreter that
//! writes them. Only what was observed from outside is fact: how the jail ended, what it used, which tools were
//! called.
//!
//! Left out on purpose: state between runs.

#![forbid(unsafe_code)]

mod answer;
mod crew;
mod execute_code;
mod files;
mod frame;
mod glob;
pub mod limits;
mod line;
mod progress;
mod protocol;
mod report;
mod session;

pub use execute_code::ExecuteCode;

llmc_core::export_plugin!("exec": ExecuteCode;
grants = [
    run: "runs code in a jail of its own",
    tools: "lets the code call other tools of the server",
]);
