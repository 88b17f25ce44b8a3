//! The argument rules of programs: every command line is decided, and what is allowed shows no refused flag.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::rules(input));
