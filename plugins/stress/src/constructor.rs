//! Attacks that run when the library is loaded, before anybody has looked at it.

use std::ffi::{c_char, c_int};
use std::sync::OnceLock;

use llmc_core::prelude::*;

use crate::attack::{self, Given, Report};

static REPORT: OnceLock<Report> = OnceLock::new();

// Not in the unit tests, which run outside any jail.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = on_load;

#[cfg_attr(test, expect(dead_code, reason = "runs on load, and tests do not load the library"))]
extern "C" fn on_load(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    let _ = REPORT.set(attack::run(Given { argc, argv, envp }));
}

/// Answers with what the attacks achieved that ran when the plugin was loaded.
#[arguments]
pub(crate) struct StressConstructorReport;

#[tool(READ_ONLY)]
fn stress_constructor_report(_: StressConstructorReport, _ctx: &Context) -> ToolResult<Report> {
    REPORT.get().cloned().explain("the constructor did not run")
}
