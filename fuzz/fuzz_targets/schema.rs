//! Schemas of plugins: any is refused or decides, and what it lets pass is written as what it was.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::schema(input));
