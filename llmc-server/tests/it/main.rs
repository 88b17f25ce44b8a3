//! What works, seen from outside: protocol, configuration, command line, calls.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

mod author;
mod calls;
mod code_mode;
mod command_line;
mod commands;
mod configuration;
mod consent;
mod exec_cases;
mod manifest;
mod offers;
mod operator;
mod processes;
mod protocol;
mod readme;
mod real_client;
mod reload;
mod telemetry;
