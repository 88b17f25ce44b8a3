//! `llmc-runner`: the only program of llmc that starts other programs, each in a one-shot jail.
//!
//! The server starts it with an empty environment and a socket as stdin. It reduces itself to what starting jails
//! needs, tries a whole jail once, and then serves requests in one thread until the server's end of the socket
//! closes; every jail dies with it. It is never in the way of a payload's data: pipes and sockets come from the
//! server and go into the jail.
//!
//! ```text
//! llmc-runner                         serve the socket on stdin
//! llmc-runner --survey                print as JSON which layers of protection this machine offers
//! llmc-runner --self-test [landlock]  try to get out of jails and print as JSON what came of each attempt;
//!                                     with `landlock`, of lesser ones where no whole ones are to be had
//! llmc-runner --inside GROUND         the payload of a trial: looks around and tells what it saw
//! ```

#![forbid(unsafe_code)]

mod bytecode;
mod embedded;
mod engine;
mod ground;
mod inside;
mod request;
mod serve;
mod spares;
mod stock;
mod tier;
mod trial;

use std::io::Write;
use std::process::ExitCode;

use llmc_wire::runner::Isolation;
use serde::Serialize;

use crate::ground::Bait;

/// Counts memory, which the embedded Python subset is bounded by. Without a limit, as in this process itself, it is the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: llmc_engines::Allocator = llmc_engines::Allocator;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.iter().map(|arg| arg.to_str()).collect::<Vec<_>>()[..] {
        [] => serve::serve(),
        [Some("--survey")] => survey(),
        [Some("--self-test")] => self_test(Isolation::Namespaces),
        [Some("--self-test"), Some("landlock")] => self_test(Isolation::Landlock),
        [Some("--inside"), Some(ground)] => inside::look(ground),
        _ => fail("llmc starts this program; by hand it knows `--survey` and `--self-test`"),
    }
}

fn survey() -> ExitCode {
    let layers = match llmc_sandbox::survey::survey() {
        Ok(layers) => layers,
        Err(error) => return fail(&error.to_string()),
    };
    print(&layers)
}

fn self_test(min_isolation: Isolation) -> ExitCode {
    let findings = tier::launcher(trial::JAILS, None, min_isolation)
        .and_then(|mut launcher| trial::findings(&mut launcher, Bait::lay_on_disk()));
    match findings {
        Ok(findings) => print(&findings),
        Err(refused) => fail(&refused.message),
    }
}

fn print(what: &impl Serialize) -> ExitCode {
    let written = serde_json::to_string_pretty(what)
        .map_err(std::io::Error::from)
        .and_then(|text| writeln!(std::io::stdout(), "{text}"));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("failed to write to stdout: {error}")),
    }
}

/// Tells the server's log why this process ends.
fn fail(why: &str) -> ExitCode {
    note(why);
    ExitCode::FAILURE
}

/// Tells the server's log.
fn note(what: &str) {
    // When stderr is gone, nobody is left to be told.
    let _ = writeln!(std::io::stderr(), "llmc-runner: {what}");
}
