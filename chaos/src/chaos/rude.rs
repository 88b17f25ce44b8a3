//! Clients over HTTP that do not do what they began: half requests, answers that nobody reads, idle connections.

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::load::{Shared, Slot};
use crate::dice::Dice;
use crate::http::{Http, Stream, message};

/// Connections that are held at the same time.
const MAX_HELD: usize = 20;

/// Is rude until everybody stops, and tells how often.
pub(super) fn until_stopped(shared: &Shared, slot: &Slot, mut dice: Dice) -> u64 {
    let http = Http::new(shared.ground.socket(&slot.name), None, Duration::from_secs(2));
    let call = message("tools/call", &json!({"name": "read_file", "arguments": {"path": "fixed/note.txt"}}));
    let request = http.request(&call, "");
    let mut held: Vec<Box<dyn Stream>> = Vec::new();
    let mut times = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(dice.below(200)));
        let Ok(mut stream) = http.connect() else { continue };
        times += 1;
        // Whatever becomes of these: they are not meant to succeed.
        match dice.below(5) {
            0 => {
                let part = usize::try_from(dice.below(request.len() as u64)).unwrap_or(0);
                let _ = stream.write_all(&request[..part]);
            }
            1 => {
                let _ = stream.write_all(&request);
            }
            2 => {
                let _ = stream.write_all(&request);
                let _ = stream.read(&mut [0]);
            }
            3 => {
                let _ = stream.write_all(b"POST /mcp HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
            }
            _ => {
                let _ = stream.write_all(&request);
                held.push(stream);
            }
        }
        if held.len() > MAX_HELD {
            held.clear();
        }
    }
    times
}
