//! Refused: tool shape.

use llmc_core::prelude::*;

#[tool(READ_ONLY)]
fn count_words() {}

#[arguments(documented)]
pub struct CountWords;

#[output(text)]
pub struct Counted;

fn main() {}
