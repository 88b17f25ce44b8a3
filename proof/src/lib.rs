//! What an evaluator asks for, in one report: [`Part`]s that benchmarks, attacks, fuzzers and storms wrote.

mod part;

pub use part::{Chart, Claim, Part, Series, Shape, Table};
