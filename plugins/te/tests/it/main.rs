//! `te` and `te_run`, driven from outside: the staged programs, as an agent in a shell or an MCP client uses them.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

mod attacks;
mod cases;
mod programs;
mod saved;
mod session;
mod support;
