//! Manifests of plugins: any value is looked through for text that gives orders, and what is shown of it is harmless.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::manifest(input));
