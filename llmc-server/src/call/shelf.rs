//! What did not fit into a result, kept for `read_more`.
//!
//! Every text lies in a file of its own without a name, so nothing is left behind however the server ends. Handles
//! cannot be guessed, belong to the caller that the text was kept for, and expire.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};

use super::common::{Common, Room};
use crate::config::Limits;

/// Longest text in bytes, twice what a run may print.
pub(super) const MAX_TEXT_BYTES: usize = 16 << 20;

/// Texts at a time: each takes a descriptor of the server.
const MAX_TEXTS: usize = 64;

/// Texts of all callers.
#[derive(Clone)]
pub(super) struct Shelf {
    /// Bytes of all texts together.
    max_bytes: u64,
    /// How long a text is kept.
    lifetime: Duration,
    texts: Arc<Mutex<VecDeque<Text>>>,
    /// Where they are kept instead, for other servers, too.
    common: Option<Arc<Common>>,
}

struct Text {
    handle: String,
    owner: String,
    file: File,
    bytes: u64,
    since: Instant,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) text: String,
    /// Where it begins: the place that was asked for, or the beginning of the character there.
    pub(super) offset: u64,
    /// Bytes of the whole text.
    pub(super) total: u64,
}

impl Shelf {
    pub(super) fn new(limits: &Limits) -> Self {
        let lifetime = Duration::from_millis(limits.kept_ms);
        Self { max_bytes: limits.kept_bytes, lifetime, texts: Arc::default(), common: None }
    }

    /// The same texts with other limits.
    pub(super) fn with(&self, limits: &Limits) -> Self {
        let (texts, common) = (Arc::clone(&self.texts), self.common.clone());
        Self { texts, common, ..Self::new(limits) }
    }

    /// The same, in common with other servers.
    pub(super) fn with_common(self, common: Option<Arc<Common>>) -> Self {
        Self { common, ..self }
    }

    /// Whether reading may have to wait for another server.
    pub(super) fn waits(&self) -> bool {
        self.common.is_some()
    }

    /// Keeps a text and returns its handle. The oldest texts make room for it.
    ///
    /// # Errors
    ///
    /// When it is larger than everything that may be kept, or no file can be written.
    pub(super) fn keep(&self, owner: &str, text: &str) -> io::Result<String> {
        let bytes = text.len() as u64;
        if bytes > self.max_bytes {
            return Err(io::Error::other(format!(
                "it has {bytes} bytes, `limits.kept_bytes` is {}",
                self.max_bytes
            )));
        }
        let handle = random_hex()?;
        if let Some(common) = &self.common {
            let room = Room { max_bytes: self.max_bytes, lifetime: self.lifetime };
            common.keep(owner, &handle, text, room)?;
            return Ok(handle);
        }
        let file = tempfile::tempfile()?;
        file.write_all_at(text.as_bytes(), 0)?;
        let mut texts = self.texts();
        let mut held: u64 = texts.iter().map(|text| text.bytes).sum();
        while held + bytes > self.max_bytes || texts.len() >= MAX_TEXTS {
            let Some(oldest) = texts.pop_front() else { break };
            held -= oldest.bytes;
        }
        let text =
            Text { handle: handle.clone(), owner: owner.to_owned(), file, bytes, since: Instant::now() };
        texts.push_back(text);
        Ok(handle)
    }

    /// Reads at most `max_bytes` from `offset`, whole characters only. `None`: there is no such text for this caller,
    /// or no longer.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn read(
        &self,
        owner: &str,
        handle: &str,
        offset: u64,
        max_bytes: usize,
    ) -> io::Result<Option<Part>> {
        if let Some(common) = &self.common {
            return common.read(owner, handle, (offset, max_bytes), self.lifetime);
        }
        let texts = self.texts();
        let Some(text) = texts.iter().find(|text| text.handle == handle && text.owner == owner) else {
            return Ok(None);
        };
        let total = text.bytes;
        let (from, until) = window(offset, max_bytes, total);
        let mut bytes = vec![0; usize::try_from(until - from).map_err(io::Error::other)?];
        text.file.read_exact_at(&mut bytes, from)?;
        drop(texts);
        part(bytes, from, offset, total).map(Some)
    }

    /// The texts that are not too old.
    fn texts(&self) -> MutexGuard<'_, VecDeque<Text>> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        while texts.front().is_some_and(|text| text.since.elapsed() > self.lifetime) {
            texts.pop_front();
        }
        texts
    }
}

/// The bytes to be read for a part: up to three before it belong to a character that `offset` points into.
pub(super) fn window(offset: u64, max_bytes: usize, total: u64) -> (u64, u64) {
    let from = offset.min(total).saturating_sub(3);
    (from, offset.saturating_add(max_bytes as u64).min(total).max(from))
}

/// The whole characters of these bytes, which begin at `from`.
pub(super) fn part(mut bytes: Vec<u8>, from: u64, offset: u64, total: u64) -> io::Result<Part> {
    let before = usize::try_from(offset.min(total) - from).map_err(io::Error::other)?;
    let begins = |at: &usize| bytes.get(*at).is_none_or(|byte| !is_continuation(*byte));
    let start = (0..=before).rev().find(begins).unwrap_or(before);
    let bytes = bytes.split_off(start);
    let whole = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), |_| bytes.len());
    let text = String::from_utf8_lossy(&bytes[..whole]).into_owned();
    Ok(Part { text, offset: from + start as u64, total })
}

/// 128 bits from the kernel's random number generator, in 32 digits.
pub(super) fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_continuation(byte: u8) -> bool {
    (0x80..0xC0).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(kept_bytes: u64, kept_ms: u64) -> Shelf {
        Shelf::new(&Limits { kept_bytes, kept_ms, ..Limits::default() })
    }

    fn read(shelf: &Shelf, handle: &str, offset: u64, max_bytes: usize) -> Option<(String, u64)> {
        shelf.read("me", handle, offset, max_bytes).unwrap().map(|part| (part.text, part.offset))
    }

    #[test]
    fn every_byte_is_read_once_whatever_the_windows() {
        let shelf = shelf(1 << 20, 60_000);
        let text = "aä€😀\n".repeat(50);
        let handle = shelf.keep("me", &text).unwrap();
        for window in 4..20 {
            let (mut seen, mut offset) = (String::new(), 0);
            while let Some((part, at)) =
                read(&shelf, &handle, offset, window).filter(|(part, _)| !part.is_empty())
            {
                assert_eq!(at, offset);
                offset += part.len() as u64;
                seen += &part;
            }
            assert_eq!(seen, text, "windows of {window}");
        }
    }

    #[test]
    fn a_place_inside_a_character_counts_from_its_beginning() {
        let shelf = shelf(1 << 20, 60_000);
        let handle = shelf.keep("me", "a😀b").unwrap();
        for offset in 1..5 {
            assert_eq!(read(&shelf, &handle, offset, 8), Some(("😀b".into(), 1)), "{offset}");
        }
        assert_eq!(read(&shelf, &handle, 5, 8), Some(("b".into(), 5)));
        assert_eq!(read(&shelf, &handle, 99, 8), Some((String::new(), 6)));
    }

    #[test]
    fn only_its_owner_reads_a_text() {
        let shelf = shelf(1 << 20, 60_000);
        let handle = shelf.keep("me", "text").unwrap();
        assert_eq!(handle.len(), 32);
        assert_eq!(shelf.read("you", &handle, 0, 10).unwrap(), None);
        assert_eq!(read(&shelf, "00000000000000000000000000000000", 0, 10), None);
        assert_eq!(read(&shelf, &handle, 0, 10), Some(("text".into(), 0)));
    }

    #[test]
    fn the_oldest_make_room_and_all_expire() {
        let shelf = shelf(10, 60_000);
        let handles: Vec<String> = (0..3).map(|_| shelf.keep("me", "1234").unwrap()).collect();
        assert_eq!(read(&shelf, &handles[0], 0, 10), None);
        assert!(read(&shelf, &handles[1], 0, 10).is_some() && read(&shelf, &handles[2], 0, 10).is_some());
        assert!(
            shelf.keep("me", "12345678901").unwrap_err().to_string().contains("`limits.kept_bytes` is 10")
        );
        let many: Vec<String> = (0..=MAX_TEXTS).map(|_| shelf.keep("me", "").unwrap()).collect();
        assert_eq!(read(&shelf, &many[0], 0, 10), None);
        assert!(read(&shelf, &many[1], 0, 10).is_some());

        let shelf = self::shelf(10, 0);
        let handle = shelf.keep("me", "1234").unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(read(&shelf, &handle, 0, 10), None);
    }
}
