//! Two sides that take turns with calls of one kind, so that a slow moment of the machine meets both.

use std::time::Duration;

use anyhow::Result;

use crate::stats::Percentiles;

/// Calls of one side before the other has its turn.
pub(crate) const SLICE: usize = 100;

/// Calls before a slice that are not counted: the server's code and data are not in the caches any more.
const WARM_UP: usize = 10;

/// Has two sides make `slices` slices of calls each; `call` is told whose turn it is, 0 or 1.
pub(crate) fn latencies(
    slices: usize,
    call: impl FnMut(usize) -> Result<Duration>,
) -> Result<[Percentiles; 2]> {
    turns(slices, SLICE, WARM_UP, call)
}

/// The same with slices of another length, after so many calls that are not counted.
pub(crate) fn turns(
    slices: usize,
    slice: usize,
    warm_up: usize,
    mut call: impl FnMut(usize) -> Result<Duration>,
) -> Result<[Percentiles; 2]> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut sides = [(0, &mut first), (1, &mut second)];
    for _ in 0..slices {
        // Each is first in every other slice.
        sides.reverse();
        for (side, times) in &mut sides {
            for _ in 0..warm_up {
                call(*side)?;
            }
            for _ in 0..slice {
                times.push(call(*side)?.as_secs_f64() * 1e6);
            }
        }
    }
    Ok([Percentiles::of(first), Percentiles::of(second)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sides_take_turns_and_each_begins_every_other_time() {
        let mut calls = Vec::new();
        let times = latencies(2, |side| {
            calls.push(side);
            Ok(Duration::from_micros([5, 7][side]))
        });
        let [first, second] = times.unwrap();
        assert!((first.p50 - 5.0).abs() < 1e-6 && (second.p50 - 7.0).abs() < 1e-6, "{first:?} {second:?}");
        let slices: Vec<usize> = calls.chunks(SLICE + WARM_UP).map(|slice| slice[0]).collect();
        assert_eq!(slices, [1, 0, 0, 1]);
    }
}
