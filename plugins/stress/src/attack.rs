//! The attacks: everything that a plugin could try to get out of its jail, in one list.
//!
//! An attempt whose outcome is `OK` got through. Three of them are no breach by themselves: writing to
//! descriptors 0 and 1 is harmless when they lead to `/dev/null`, `setuid_0` when the process has uid 0 without
//! capabilities, and what changes only the process itself (`prctl_*`).

mod files;
mod kernel;
pub(crate) mod parent;
mod processes;
mod sockets;
mod surroundings;

use std::ffi::{c_char, c_int};

use llmc_core::prelude::*;

use crate::sys::{self, Attempt};

/// Runs all attacks now and answers with what they achieved.
#[arguments]
pub(crate) struct StressAttack;

#[tool(READ_ONLY)]
fn stress_attack(_: StressAttack, _ctx: &Context) -> ToolResult<Report> {
    Ok(run(Given::nothing()))
}

/// What the attacks achieved and what the plugin saw.
#[output]
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// All attempts, in order.
    attempts: Vec<Attempt>,
    /// Names of the environment variables of the process.
    environment: Vec<String>,
    /// Arguments of the process, as far as they were seen.
    arguments: Vec<String>,
    /// Descriptors that were open before the attacks.
    open_descriptors: Vec<c_int>,
    /// Process that was attacked; 0 if the parent is outside the pid namespace.
    parent: i32,
}

/// What the loader gives to a static constructor.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    pub(crate) argc: c_int,
    pub(crate) argv: *const *const c_char,
    pub(crate) envp: *const *const c_char,
}

impl Given {
    fn nothing() -> Self {
        Self { argc: 0, argv: std::ptr::null(), envp: std::ptr::null() }
    }
}

/// Runs all attacks. Those that change the process come last, and what would replace it comes last of all.
pub(crate) fn run(given: Given) -> Report {
    let parent = sys::parent();
    let open_descriptors = surroundings::open_descriptors();
    let mut attempts = Vec::new();
    attempts.extend(files::attack());
    attempts.extend(parent::attack(parent));
    attempts.extend(sockets::attack());
    attempts.extend(kernel::attack());
    attempts.extend(surroundings::write_to_standard_streams());
    attempts.extend(processes::attack());
    Report {
        attempts,
        environment: surroundings::environment(given),
        arguments: surroundings::arguments(given),
        open_descriptors,
        parent,
    }
}
