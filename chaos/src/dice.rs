//! Chance that can be repeated: the same seed, the same numbers.

/// Numbers from 0 to 2^64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of its own for each of several that roll at the same time.
    pub(crate) fn for_thread(seed: u64, thread: u64) -> Self {
        let mut dice = Self(seed ^ thread.wrapping_mul(0xa076_1d64_78bd_642f));
        Self(dice.next())
    }

    /// SplitMix64, Steele, Lea and Flood 2014.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether something happens that happens `times` out of a hundred times.
    pub(crate) fn percent(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    /// One of several; none of none.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(self.below(count)).ok()?)
    }

    /// Letters, spaces and lines of at least `least` bytes and less than `end`.
    pub(crate) fn text(&mut self, least: u64, end: u64) -> String {
        let bytes = least + self.below(end - least);
        (0..bytes)
            .map(|at| match at % 61 {
                60 => '\n',
                _ => char::from(b"abcdefghijklmnopqrstuvwxyz ,.0123"[usize::from(self.next() as u8) % 33]),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same() {
        let (mut one, mut same, mut other) = (Dice::new(7), Dice::new(7), Dice::for_thread(7, 1));
        let rolls = |dice: &mut Dice| (0..9).map(|_| dice.next()).collect::<Vec<_>>();
        let first = rolls(&mut one);
        assert_eq!(first, rolls(&mut same));
        assert_ne!(first, rolls(&mut other));
    }

    #[test]
    fn texts_have_their_length_and_rolls_their_bounds() {
        let mut dice = Dice::new(1);
        for _ in 0..50 {
            let text = dice.text(10, 200);
            assert!((10..200).contains(&text.len()) && dice.below(3) < 3, "{text}");
        }
        assert_eq!(dice.one_of::<u8>(&[]), None);
    }
}
