//! Lines of a client on stdio: any bytes are read to their end, and what is wrong is answered in lines of JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::messages(input));
