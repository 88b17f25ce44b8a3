//! What an evaluator asks for, in one report: [`Part`]s that benchmarks, attacks, fuzzers and storms wrote, and the
//! page made of them. The program `llmc-proof` has them made.

#![forbid(unsafe_code)]

mod part;
pub mod report;

pub use part::{Chart, Claim, Made, Part, Series, Shape, Sources, Table};
