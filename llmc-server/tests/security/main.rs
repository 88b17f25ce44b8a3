//! What must not happen, a file per threat: the attack is contained, and honest work beside it goes on.
//!
//! Everything is driven from outside, over MCP or the command line, against the built programs. Dangerous code runs
//! only in jails that were proven to be jails, and network probes go to listeners of the test itself.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

mod compile;
mod neighbour;
mod observe;
mod prerequisites;
mod without;

mod audit;
mod code_attack;
mod code_bounds;
mod commands;
mod constructor;
mod crash;
mod environment;
mod fail_closed;
mod grants;
mod hostile_host;
mod javascript_attack;
mod lesser_tier;
mod lifetime;
mod limits;
mod loading;
mod lock;
mod memory;
mod one_path;
mod parked;
mod processes;
mod programs;
mod refusals;
mod search;
mod secrets;
mod signature;
mod state;
mod stdout;
mod storms;
mod te;
