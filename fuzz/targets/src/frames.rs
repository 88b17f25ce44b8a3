//! What host and runner read from their sockets.

use llmc_wire::{Decoder, Header, host, runner};
use serde::de::DeserializeOwned;

/// Largest payload that is taken here.
const MAX_PAYLOAD_BYTES: usize = 4096;

/// Any bytes give the same frames, whole or in pieces, none over the limit; payloads are messages or refused.
pub fn frames(input: &[u8]) {
    let whole = read(input, input.len().max(1));
    for piece in [1, 7, 24, 25] {
        assert_eq!(read(input, piece), whole, "in pieces of {piece}");
    }
    for (header, payload) in whole.0 {
        assert!(payload.len() <= MAX_PAYLOAD_BYTES && payload.len() == header.len as usize);
        assert_eq!(Header::decode(&header.encode()), header);
        message::<host::Init>(&payload);
        message::<host::Ready>(&payload);
        message::<host::LoadFailed>(&payload);
        message::<host::Failure>(&payload);
        message::<runner::Init>(&payload);
        message::<runner::Hello>(&payload);
        message::<runner::Spec>(&payload);
        message::<runner::Refused>(&payload);
        message::<runner::Outcome>(&payload);
    }
}

fn message<T: DeserializeOwned>(payload: &[u8]) {
    // Whether it is one is of no interest: reading it must end without a panic.
    let _ = serde_json::from_slice::<T>(payload);
}

/// The frames before the first that is refused, and whether one is.
fn read(mut input: &[u8], piece: usize) -> (Vec<(Header, Vec<u8>)>, bool) {
    let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
    let mut frames = Vec::new();
    while !input.is_empty() {
        let space = decoder.space();
        let count = input.len().min(piece).min(space.len());
        space[..count].copy_from_slice(&input[..count]);
        decoder.filled(count);
        input = &input[count..];
        loop {
            match decoder.next_frame() {
                Ok(Some((header, payload))) => frames.push((header, payload.to_vec())),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}
