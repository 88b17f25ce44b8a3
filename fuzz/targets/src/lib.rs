//! What is fuzzed: functions from bytes, each of which panics when a promise is broken. The targets of libFuzzer
//! (`fuzz/fuzz_targets`) call them with coverage, and the tests here with the seeds and changes of them, on any compiler.

#![forbid(unsafe_code)]

mod frames;
mod index;
mod sessions;
mod tools;

use std::str::from_utf8;

pub use frames::frames;
pub use index::query;
pub use llmc_server::fuzz::{audit, head, messages, seal};
pub use sessions::{expression, scenario};
pub use tools::{edit, path, rules};

/// A target, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; the files in `fuzz/fuzz_targets` have these names.
pub const TARGETS: &[Target] = &[
    ("audit", audit),
    ("config", config),
    ("edit", edit),
    ("expression", expression),
    ("frames", frames),
    ("head", head),
    ("manifest", manifest),
    ("messages", messages),
    ("path", path),
    ("query", query),
    ("rules", rules),
    ("scenario", scenario),
    ("schema", schema),
    ("seal", seal),
];

/// Configurations, see [`llmc_server::fuzz::configuration`].
pub fn config(input: &[u8]) {
    let _ = from_utf8(input).map(llmc_server::fuzz::configuration);
}

/// Manifests of plugins, see [`llmc_server::fuzz::manifest`].
pub fn manifest(input: &[u8]) {
    let _ = from_utf8(input).map(llmc_server::fuzz::manifest);
}

/// Schemas of plugins, see [`llmc_server::fuzz::schema`].
pub fn schema(input: &[u8]) {
    let _ = from_utf8(input).map(llmc_server::fuzz::schema);
}
