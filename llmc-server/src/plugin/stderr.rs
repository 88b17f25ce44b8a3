//! What a plugin host writes to stderr goes into the log, line by line and at a bounded rate.

use std::process::ChildStderr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use std::os::fd::OwnedFd;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tracing::warn;

use crate::secret::Secrets;

/// Longest line that is shown whole, in bytes.
const MAX_LINE_BYTES: usize = 2048;

/// Bytes of a line that are kept until it is masked: more than is shown, so that no secret is cut in the middle.
const MAX_RAW_LINE_BYTES: usize = 16 << 10;

/// Lines that may pass per second; the rest is counted.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u32,
    second: Instant,
    passed: u32,
    dropped: u64,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, second: Instant::now(), passed: 0, dropped: 0 }
    }

    /// Whether one more may pass; `Some(n)` when it may and `n` were dropped before it.
    pub(crate) fn pass(&mut self) -> Option<u64> {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.passed = 0;
        }
        if self.passed == self.per_second {
            self.dropped += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// Longest last words in bytes.
const MAX_LAST_WORDS_BYTES: usize = 200;

/// Reads until the other end closes. Whatever the rate, the pipe is always emptied, so the host never blocks.
///
/// Returns the last line that says something: often why the host died.
pub(crate) async fn forward(
    stderr: ChildStderr,
    source: impl Into<Arc<str>>,
    secrets: Arc<Secrets>,
    per_second: u32,
) -> Option<String> {
    let source = source.into();
    let mut pipe = match Receiver::from_owned_fd(OwnedFd::from(stderr)) {
        Ok(pipe) => pipe,
        Err(error) => {
            warn!(%source, %error, "stderr is lost");
            return None;
        }
    };
    let mut rate = Rate::new(per_second);
    let mut line = Vec::new();
    let mut last_words = None;
    let mut chunk = vec![0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        for &byte in &chunk[..count] {
            if byte == b'\n' {
                emit(&source, &secrets, &mut rate, &line);
                last_words = words(&secrets, &line).or(last_words);
                line.clear();
            } else if line.len() < MAX_RAW_LINE_BYTES {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        emit(&source, &secrets, &mut rate, &line);
    }
    words(&secrets, &line).or(last_words)
}

/// The text of a line that tells something by itself.
fn words(secrets: &Secrets, line: &[u8]) -> Option<String> {
    let text = printable(secrets.mask_text(String::from_utf8_lossy(line).into_owned()).as_bytes());
    let text = text.trim();
    let tells = !text.is_empty() && !text.starts_with("note:") && !text.starts_with("fatal runtime error");
    tells.then(|| text[..text.floor_char_boundary(MAX_LAST_WORDS_BYTES)].to_owned())
}

fn emit(source: &str, secrets: &Secrets, rate: &mut Rate, line: &[u8]) {
    let Some(dropped) = rate.pass() else { return };
    if dropped > 0 {
        warn!(%source, dropped, "lines over the rate were dropped");
    }
    let text = secrets.mask_and_cut(String::from_utf8_lossy(line).into_owned(), MAX_LINE_BYTES);
    warn!(%source, "{}", printable(text.as_bytes()));
}

/// Text without control characters: a log is read in terminals.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_is_counted() {
        let mut rate = Rate::new(2);
        assert_eq!([rate.pass(), rate.pass(), rate.pass(), rate.pass()], [Some(0), Some(0), None, None]);
        rate.second -= Duration::from_secs(1);
        assert_eq!(rate.pass(), Some(2));
    }

    #[test]
    fn last_words_are_those_that_say_something() {
        assert_eq!(
            words(&Secrets::default(), b"memory allocation of 5 bytes failed"),
            Some("memory allocation of 5 bytes failed".into())
        );
        assert_eq!(words(&Secrets::default(), b"note: run with `RUST_BACKTRACE=1`"), None);
        assert_eq!(words(&Secrets::default(), b"  "), None);
        assert!(
            words(&Secrets::default(), "ä".repeat(1000).as_bytes()).unwrap().len() <= MAX_LAST_WORDS_BYTES
        );
    }

    #[test]
    fn terminals_are_not_addressed() {
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
