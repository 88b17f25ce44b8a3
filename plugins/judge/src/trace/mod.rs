//! Traces: what happened in a session, one event a line of JSON.

pub mod audit;
mod calls;
mod event;
mod read;
mod time;

pub use self::calls::{Call, calls};
pub use self::event::{Event, EventKind, ResultSummary};
pub use self::read::{Trace, TraceError, parse, write};
pub use self::time::rfc3339;
