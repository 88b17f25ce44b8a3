//! Processes that outlive the call that started them, each with its caller.
//!
//! Two threads look after a process: one moves its bytes ([`pump`]), one waits for its end. Calls only look at what they
//! share, under a lock, so a process that floods or hangs blocks nobody. Everything dies with this plugin's host: the
//! server ends the jails of a host that is gone.

mod answer;
mod pump;
mod session;
mod settings;
mod table;
mod transcript;

pub(crate) use answer::state;
pub use answer::{Piece, Seen};
pub(crate) use session::{Ended, Look, Process};
pub use settings::Settings;
pub(crate) use table::{Place, all_of, find};

#[cfg(test)]
mod tests;
