//! Several threads for one call.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;

use llmc_core::ToolError;

use super::*;

struct Piece(usize, usize);

impl Heavy for Piece {
    fn bytes(&self) -> usize {
        self.1
    }
}

fn spin(number: usize) {
    for _ in 0..number * 7919 % 50 {
        thread::yield_now();
    }
}

#[test]
fn results_come_in_order() {
    for _ in 0..50 {
        let mut taken = Vec::new();
        let work = |_: &mut (), number| {
            spin(number);
            Ok(Piece(number, 1))
        };
        in_order(
            500,
            || (),
            work,
            |piece| {
                taken.push(piece.0);
                true
            },
        )
        .unwrap();
        assert_eq!(taken, (0..500).collect::<Vec<_>>());
    }
    in_order(0, || (), |(), number| Ok(Piece(number, 1)), |_| panic!("there is nothing")).unwrap();
}

#[test]
fn nothing_is_taken_after_the_end() {
    for _ in 0..50 {
        let mut taken = Vec::new();
        let begun = AtomicUsize::new(0);
        let work = |_: &mut (), number| {
            begun.fetch_add(1, Ordering::Relaxed);
            spin(number);
            Ok(Piece(number, 1))
        };
        in_order(
            100_000,
            || (),
            work,
            |piece| {
                taken.push(piece.0);
                piece.0 < 20
            },
        )
        .unwrap();
        assert_eq!(taken, (0..=20).collect::<Vec<_>>());
        assert!(begun.into_inner() < 100_000);
    }
}

#[test]
fn an_error_ends_it() {
    let work =
        |_: &mut (), number| if number == 7 { Err(ToolError::failed("seven")) } else { Ok(Piece(number, 1)) };
    let error = in_order(100_000, || (), work, |piece| piece.0 < 90_000).unwrap_err();
    assert_eq!(error.message(), "seven");
}

#[test]
fn a_panic_is_passed_on_and_nobody_waits_for_ever() {
    for bad in [0, 1, 50] {
        let work = |_: &mut (), number| {
            assert!(number != bad, "a bad piece");
            Ok(Piece(number, MAX_BACKLOG_BYTES))
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| in_order(200, || (), work, |_| true)));
        assert!(outcome.is_err(), "{bad}");
    }
}

#[test]
fn heavy_results_wait_for_the_slow_one_before_them() {
    let slow_is_done = AtomicBool::new(false);
    let ahead = AtomicUsize::new(0);
    let work = |_: &mut (), number| {
        if number == 0 {
            thread::sleep(Duration::from_millis(100));
            slow_is_done.store(true, Ordering::SeqCst);
        } else if !slow_is_done.load(Ordering::SeqCst) {
            ahead.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Piece(number, MAX_BACKLOG_BYTES / 4))
    };
    let mut taken = 0;
    in_order(
        1000,
        || (),
        work,
        |_| {
            taken += 1;
            true
        },
    )
    .unwrap();
    assert_eq!(taken, 1000);
    assert!(ahead.into_inner() <= 5 + MAX_WALK_THREADS);
}

#[test]
fn helpers_are_few_and_given_back() {
    let threads = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        together(usize::MAX, || {
            lock(&threads).insert(format!("{:?}", thread::current().id()));
        });
    }
    assert!(lock(&threads).len() <= 1 + 100 * (MAX_WALK_THREADS - 1));
    let all: Vec<_> = (0..20).map(|_| Helpers::take(3)).collect();
    assert!(all.iter().map(|helpers| helpers.0).sum::<usize>() <= MAX_HELPERS);
    drop(all);
    // Other tests may have some for a moment.
    let begin = Instant::now();
    while Helpers::take(1).0 == 0 {
        assert!(begin.elapsed().as_secs() < 20, "none came back");
        thread::yield_now();
    }
}
