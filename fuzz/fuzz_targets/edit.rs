//! The engine of `edit_file`: any bytes, any edits.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use llmc_tools_fs::edit::{Edit, apply};

#[derive(Arbitrary, Debug)]
struct Input {
    bytes: Vec<u8>,
    edits: Vec<(String, String, u8)>,
    ignore_whitespace: bool,
}

fuzz_target!(|input: Input| {
    let Input { bytes, edits, ignore_whitespace } = input;
    let edits: Vec<Edit> = edits
        .into_iter()
        .map(|(old, new, count)| Edit { old, new, expected_count: count.into() })
        .collect();
    let Ok(edited) = apply(bytes.clone(), &edits, ignore_whitespace, || Ok(())) else { return };
    let wanted: u64 = edits.iter().map(|edit| u64::from(edit.expected_count)).sum();
    assert_eq!(edited.replacements as u64, wanted);

    // Where nothing is special, it is what the standard library does.
    let is_plain = |text: &str| !text.contains(['\r', '\u{feff}']);
    if let ([edit], false, Ok(text)) = (&edits[..], ignore_whitespace, std::str::from_utf8(&bytes))
        && is_plain(text)
        && is_plain(&edit.old)
        && is_plain(&edit.new)
    {
        assert_eq!(edited.bytes, text.replace(&edit.old, &edit.new).into_bytes());
    }
});
