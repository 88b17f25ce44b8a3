//! Watches over one run: feeds its standard input, keeps the head and the tail of what it prints, and ends it when
//! its output passes a cap, its time is over or nobody wants the answer any more.
//!
//! One loop around `poll(2)` moves all bytes, so a program that prints while it is fed cannot block; a second
//! thread waits for the end of the run. What else belongs to a run, such as a job socket, joins the loop as a
//! [`Companion`].
//!
//! A plain library: the command and the code plugin both need it, and plugins do not import each other.

#![forbid(unsafe_code)]

mod capture;
mod streams;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;
pub mod words;

pub use capture::{Capture, Captured};
pub use watch::{Alone, Companion, Cut, Limits, Step, Watched, watch};
