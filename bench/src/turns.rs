//! Sides that take turns with calls of one kind, so that a slow moment of the machine meets all of them.

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
    call: impl FnMut(usize) -> Result<Duration>,
) -> Result<[Percentiles; 2]> {
    let times = turns_with(2, [slices, slice, warm_up], call)?;
    Ok([times[0], times[1]])
}

/// [`latencies`] of so many sides.
pub(crate) fn turns_of(
    sides: usize,
    slices: usize,
    call: impl FnMut(usize) -> Result<Duration>,
) -> Result<Vec<Percentiles>> {
    turns_with(sides, [slices, SLICE, WARM_UP], call)
}

/// The same with so many slices of so many calls each, after so many that are not counted.
pub(crate) fn turns_with(
    sides: usize,
    [slices, slice, warm_up]: [usize; 3],
    mut call: impl FnMut(usize) -> Result<Duration>,
) -> Result<Vec<Percentiles>> {
    let mut times = vec![Vec::new(); sides];
    let mut order: Vec<usize> = (0..sides).collect();
    for _ in 0..slices {
        // Each is in the place of its opposite in every other slice.
        order.reverse();
        for side in &order {
            for _ in 0..warm_up {
                call(*side)?;
            }
            for _ in 0..slice {
                times[*side].push(call(*side)?.as_secs_f64() * 1e6);
            }
        }
    }
    Ok(times.into_iter().map(Percentiles::of).collect())
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
