//! Signals for a whole tree: the launcher asks, and process 1 passes them on, because only it sees every process.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// A signal that a tree may get from outside. What ends a jail for certain is not among them: that is the end of
/// process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeSignal {
    /// `SIGINT`, as by Ctrl-C.
    Interrupt,
    /// `SIGTERM`: please end.
    Terminate,
}

impl TreeSignal {
    /// By its number, the same on every architecture of Linux that Rust knows.
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Interrupt),
            15 => Some(Self::Terminate),
            _ => None,
        }
    }

    /// Its number, as a byte of a message.
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }

    /// Sends it to one process of the caller's own pid namespace or its own child. One that has just ended is none.
    pub(super) fn send(self, pid: Pid) {
        let signal = match self {
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
        };
        match kill_process(pid, signal) {
            // Whoever does not listen is ended with process 1.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
            Err(errno) => eprintln!("llmc: failed to signal process {pid:?} of a jail: {errno}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_to_end_are_passed_on() {
        let known: Vec<u16> =
            (0..=u16::MAX).filter(|&number| TreeSignal::from_number(number).is_some()).collect();
        assert_eq!(known, [2, 15]);
        for number in known {
            let signal = TreeSignal::from_number(number).unwrap();
            assert_eq!(u16::from(signal.to_byte()), number);
        }
    }
}
