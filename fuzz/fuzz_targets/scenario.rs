//! Scenario files: any text is read or refused; what is read can be written, read again, and judged.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::scenario(input));
