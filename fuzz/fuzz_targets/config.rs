//! Configurations: any text is refused with a reason, or read and checked.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::config(input));
