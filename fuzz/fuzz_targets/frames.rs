//! Frames of host and runner: any bytes in any pieces give the same frames, and their messages are read or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::frames(input));
