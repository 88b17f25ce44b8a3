//! A client over HTTP that reads a byte now and then: large answers, more than a socket takes, to somebody who hardly
//! reads. It holds one connection at a time; all other clients must not notice.

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::ground::LARGE;
use super::load::{Shared, Slot};
use crate::dice::Dice;
use crate::http::{Http, message};
use crate::stdio::SLOW_BYTE;

/// Requests that are sent at once; the answers to all of them wait for their reader.
const REQUESTS: usize = 4;

/// Bytes that are read before it leaves: 2 to 20 seconds of reading.
const LEAST_BYTES: u64 = 40;
const END_BYTES: u64 = 400;

/// Is slow until everybody stops, and tells how often an answer was begun to be read.
pub(super) fn until_stopped(shared: &Shared, slot: &Slot, mut dice: Dice) -> u64 {
    let http = Http::new(shared.ground.socket(&slot.name), None, Duration::from_secs(10));
    let arguments = json!({"path": LARGE, "max_bytes": 1_000_000});
    let call = message("tools/call", &json!({"name": "read_file", "arguments": arguments}));
    let requests = http.request(&call, "").repeat(REQUESTS);
    let mut times = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(SLOW_BYTE);
        let Ok(mut stream) = http.connect() else { continue };
        if stream.write_all(&requests).is_err() {
            continue;
        }
        for at in 0..LEAST_BYTES + dice.below(END_BYTES - LEAST_BYTES) {
            // The server may have had enough of it.
            if shared.stop.load(Ordering::Relaxed) || !matches!(stream.read(&mut [0]), Ok(1)) {
                break;
            }
            times += u64::from(at == 0);
            std::thread::sleep(SLOW_BYTE);
        }
    }
    times
}
