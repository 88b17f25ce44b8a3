//! What a user asks the index: whatever it is, the database takes it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::query(input));
