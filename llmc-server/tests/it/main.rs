//! What works, seen from outside: protocol, configuration, command line, calls.

#![expect(missing_docs, reason = "tests")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

mod calls;
mod command_line;
mod configuration;
mod protocol;
mod real_client;
