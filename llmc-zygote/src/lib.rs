//! A library for an interpreter that `llmc-runner` has started as a zygote: it opens the connection to the runner and
//! forks jails. `llmc-runner/src/zygote.py` calls it; everything it does is in `llmc_sandbox::jail::Nest`.

#![expect(unsafe_code, reason = "functions are exported under their own names; no other unsafe code")]

use std::cell::RefCell;
use std::ffi::c_int;
use std::io::Write;

use llmc_sandbox::jail::{Finished, Forked, Nest, Waiting};

const FAILED: c_int = -1;

thread_local! {
    static NEST: RefCell<Option<Nest>> = const { RefCell::new(None) };
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
    static FINISHED: RefCell<Option<Finished>> = const { RefCell::new(None) };
}

/// Opens the connection on descriptor 3 and says that the interpreter is ready. 0, or -1 with a line on stderr.
// SAFETY: no other library in this process has a symbol of this name.
#[unsafe(no_mangle)]
pub extern "C" fn llmc_nest_open() -> c_int {
    match Nest::open() {
        Ok(nest) => {
            NEST.set(Some(nest));
            0
        }
        Err(error) => failed(&error.to_string()),
    }
}

/// Waits for a request and forks: 0 in the zygote; 1 in the payload of a new jail; -1 when there will be no further
/// request.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn llmc_nest_next() -> c_int {
    let Some(nest) = NEST.take() else { return failed("it is not open") };
    match nest.next() {
        Ok(Forked::Parent) => {
            NEST.set(Some(nest));
            0
        }
        Ok(Forked::Child(waiting)) => {
            // Its descriptor is closed, and the number may be another's by now.
            std::mem::forget(nest);
            WAITING.set(Some(waiting));
            1
        }
        Ok(Forked::Over) => FAILED,
        Err(error) => failed(&error.to_string()),
    }
}

/// In the payload of a new jail: waits until its job has descriptors 0 to 3 and limits. 0, or -1 when called elsewhere;
/// ends the process when there will be no job.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn llmc_nest_await() -> c_int {
    let Some(waiting) = WAITING.take() else { return failed("no jail waits here") };
    FINISHED.set(Some(waiting.await_job()));
    0
}

/// After [`llmc_nest_await`]: ends the run with an exit code from 0 to 255. Returns -1 when called elsewhere.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn llmc_nest_exit(code: c_int) -> c_int {
    match FINISHED.take() {
        Some(finished) => finished.exit(u8::try_from(code).unwrap_or(u8::MAX)),
        None => failed("no job runs here"),
    }
}

/// Tells the runner's log.
fn failed(why: &str) -> c_int {
    // When stderr is gone, nobody is left to be told.
    let _ = writeln!(std::io::stderr(), "zygote: {why}");
    FAILED
}
