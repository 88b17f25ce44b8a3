//! What code prints: passed on line by line, so that it is there when a limit ends the run.

use std::cell::RefCell;
use std::os::fd::AsFd;

/// Text without a line break that is kept at most, in bytes.
const MAX_KEPT_BYTES: usize = 8 * 1024;

/// One stream.
pub(crate) struct Output {
    fd: Box<dyn AsFd>,
    kept: RefCell<Vec<u8>>,
}

impl Output {
    pub(crate) fn new(fd: Box<dyn AsFd>) -> Self {
        Self { fd, kept: RefCell::default() }
    }

    /// Adds text and writes what is complete.
    pub(crate) fn print(&self, text: &str) {
        let mut kept = self.kept.borrow_mut();
        kept.extend_from_slice(text.as_bytes());
        if text.contains('\n') || kept.len() > MAX_KEPT_BYTES {
            self.write(&kept);
            kept.clear();
        }
    }

    /// Writes what is left.
    pub(crate) fn flush(&self) {
        let mut kept = self.kept.borrow_mut();
        self.write(&kept);
        kept.clear();
    }

    /// A stream that nobody reads any more loses what is written to it.
    fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::retry_on_intr(|| rustix::io::write(self.fd.as_fd(), bytes)) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => return,
            }
        }
    }
}
