//! Messages between the llmc server and the two programs it starts: the plugin host and the runner.
//!
//! Every message is one [`frame`]: a fixed header and a payload, on a Unix stream socket. File descriptors
//! travel beside a frame as `SCM_RIGHTS` (see `unix(7)`), counted in its header.
//!
//! - [`host`]: the server hands a plugin its calls; the plugin asks the server for what only the server may do.
//! - [`runner`]: the server asks for jails; the runner answers what became of them.
//!
//! Bytes from a host are hostile: the parser is total, every length is capped before anything is allocated, and
//! the server reads with plain `read(2)`, so descriptors that a host tries to push are dropped by the kernel.
//!
//! Left out on purpose: async I/O. The server drives the same codec from tokio.

pub mod frame;
pub mod host;
pub mod runner;
pub mod socket;

pub use frame::{Decoder, FrameError, Header};
