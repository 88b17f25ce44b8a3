//! The engine of `edit_file`: any bytes and edits; where nothing is special, it is what the standard library does.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::edit(input));
