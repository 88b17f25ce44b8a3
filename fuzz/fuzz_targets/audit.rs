//! The records of the audit: what somebody without the key has written or changed does not verify.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::audit(input));
