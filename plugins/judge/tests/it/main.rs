//! `ruta` and `judge_trace`, driven from outside: the staged programs, as a person or a client uses them.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

mod follow;
mod plugin;
mod scenarios;
mod support;
mod verdicts;
