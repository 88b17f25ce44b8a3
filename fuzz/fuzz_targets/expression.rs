//! The expression language of scenarios: any text is read or refused, keeps its type, and costs no more than its budget.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| llmc_fuzz::expression(input));
