//! The text of a path: whatever a model writes, the result is relative, below a root, and can be asked for again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::path(input));
