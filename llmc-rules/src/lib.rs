//! Argument rules of programs as data, and the decision about a command line.
//!
//! A [`RuleSet`] describes how a program reads its arguments (subcommands, flags with and without values, clusters of
//! short flags, abbreviations, `--`) and which of them turn it into another program: options that name a command to
//! start, a file to write wherever it may be, or configuration that does either. [`RuleSet::explain`] reads an argument
//! list by it and names the rule that decides. Rule sets of common programs are shipped ([`shipped`]); an operator's
//! [`Changes`] come on top.
//!
//! Where a table could be wrong about what a program does with an argument, the reading that refuses counts: an
//! argument that looks like a denied flag is refused before `--` even where it may be the value of another flag, and
//! `--` after a flag that the tables do not know ends nothing, because it could be that flag's value.
//!
//! Left out on purpose: reading files, resolving links, and starting anything. Rules refuse early and with words;
//! what a program can do is bounded by its jail.

#![forbid(unsafe_code)]

mod changes;
mod flags;
mod launchers;
mod pattern;
mod place;
#[cfg(test)]
mod properties;
mod read;
mod rule;
mod set;
mod shipped;
mod variables;

pub use changes::Changes;
pub use launchers::{Launcher, launcher};
pub use place::Place;
pub use read::{Explanation, Reading, Role};
pub use rule::{Allow, Decision, Refusal, Rule, RuleKind};
pub use set::{ParseError, RuleSet};
pub use shipped::{shipped, shipped_for, shipped_names};
pub use variables::steering;
