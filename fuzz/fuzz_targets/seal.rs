//! Texts that clients hand back: nothing but what was sealed opens, and that for what it is bound to alone.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::seal(input));
