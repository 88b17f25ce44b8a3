//! Heads of HTTP requests: what is let through is for this server, from no other page, and says its length once.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::head(input));
