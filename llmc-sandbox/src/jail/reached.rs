//! Limits that a tree was seen at while it ran: facts beside the one limit that may have ended it.

use super::control::Limit;

/// A set of limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached(u8);

/// Those that can be seen, by bit.
const SEEN: [Limit; 5] =
    [Limit::Processes, Limit::OpenFiles, Limit::ScratchBytes, Limit::ScratchInodes, Limit::Workspace];

impl Reached {
    /// Takes a limit into the set, if `was_reached`. Limits that cannot be seen are left out.
    pub(crate) fn note(&mut self, limit: Limit, was_reached: bool) {
        if let (true, Some(bit)) = (was_reached, SEEN.iter().position(|seen| *seen == limit)) {
            self.0 |= 1 << bit;
        }
    }

    /// The limits of the set.
    pub fn limits(self) -> impl Iterator<Item = Limit> {
        SEEN.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, limit)| limit)
    }

    pub(super) fn to_byte(self) -> u8 {
        self.0
    }

    /// `None` for a bit that stands for nothing.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        (u32::from(byte) < 1 << SEEN.len()).then_some(Self(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_keeps_what_was_noted() {
        let mut reached = Reached::default();
        reached.note(Limit::ScratchInodes, true);
        reached.note(Limit::Processes, true);
        reached.note(Limit::OpenFiles, false);
        reached.note(Limit::Wall, true);
        let back = Reached::from_byte(reached.to_byte()).unwrap();
        assert_eq!(back.limits().collect::<Vec<_>>(), [Limit::Processes, Limit::ScratchInodes]);
        assert_eq!(Reached::from_byte(0x80), None);
    }
}
