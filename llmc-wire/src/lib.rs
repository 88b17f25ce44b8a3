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

/// A message kind, for documents about the protocol.
#[derive(Clone, Copy, Debug)]
pub struct MessageKind {
    /// Its name.
    pub name: &'static str,
    /// Its number in a header.
    pub value: u8,
    /// The lines of its documentation.
    pub doc: &'static [&'static str],
}

/// Message kinds, and a list of them, so that documents cannot fall behind.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ pub const $name:ident: u8 = $value:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: u8 = $value;)+

        /// All of them, by number.
        pub const ALL: &[$crate::MessageKind] =
            &[$($crate::MessageKind { name: stringify!($name), value: $value, doc: &[$($doc),+] }),+];
    };
}

pub mod frame;
pub mod host;
pub mod runner;
pub mod socket;

pub use frame::{Decoder, FrameError, Header};
