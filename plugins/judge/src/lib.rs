//! Judges recorded sessions of tool calls against scenarios: which tools must and must not be used, and what has to hold
//! between calls and results.
//!
//! - `scenario` and `trace` are the two formats; both refuse what they do not know, and say where.
//! - `expression` is the language of properties: small, typed, and bounded in what it can cost.
//! - `judgment` puts them together; `report` says the result to programs and people.
//!
//! The crate is a plugin with the tool `judge_trace`, and the program `ruta`, which also makes traces: it drives a
//! server by a script, or reads the audit of one.
//!
//! Left out on purpose: any opinion of a model. A judgment is the same whenever and wherever it is made, and what
//! cannot be judged never passes.

#![forbid(unsafe_code)]

pub mod expression;
mod facts;
mod judge_trace;
pub mod judgment;
pub mod limits;
mod place;
pub mod report;
pub mod scenario;
pub mod trace;

pub use facts::Facts;
pub use judge_trace::JudgeTrace;

llmc_core::export_plugin!("judge": JudgeTrace;
    grants = [roots: "reads scenarios and traces that are named by path"]);
