//! Server and plugin host.
//!
//! ```text
//! server                              host
//!   INIT {policy} + descriptors  ->     enters its jail, loads the plugin
//!                                <-   READY {manifest, report}   or   LOAD_FAILED {message}
//!   CALL item, arguments         ->
//!                                <-   REQUEST seq, op, body      any number, any thread
//!   REPLY seq, ok, body          ->
//!   CANCEL                       ->
//!                                <-   DONE ok, body
//!   PING                         ->
//!                                <-   PONG
//! ```
//!
//! Bodies are JSON; the server forwards only bytes that it has parsed and written anew.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Message kinds that the server sends.
pub mod to_host {
    kinds! {
        /// [`super::Init`] as JSON. Descriptors: the sealed library, one directory per root, then the state folder.
        pub const INIT: u8 = 1;
        /// Run item `code` with the payload as arguments; `seq` is the time left in milliseconds.
        pub const CALL: u8 = 2;
        /// Answer to the request `seq` of `call`; `code` is [`super::OK`] or [`super::ERROR`].
        pub const REPLY: u8 = 3;
        /// The caller no longer wants `call`.
        pub const CANCEL: u8 = 4;
        /// Are you there?
        pub const PING: u8 = 5;
    }
}

/// Message kinds that the host sends.
pub mod from_host {
    kinds! {
        /// [`super::Ready`] as JSON; sent once.
        pub const READY: u8 = 65;
        /// [`super::LoadFailed`] as JSON; sent once, then the host exits.
        pub const LOAD_FAILED: u8 = 66;
        /// The result of `call`: an envelope (`code` [`super::OK`]) or [`super::Failure`] (`code` [`super::ERROR`]).
        pub const DONE: u8 = 67;
        /// The plugin asks for operation `code`; `seq` 0 wants no reply.
        pub const REQUEST: u8 = 68;
        /// The answer to one `PING`, whatever calls are under way.
        pub const PONG: u8 = 69;
    }
}

/// `code` of a success.
pub const OK: u16 = 0;
/// `code` of a failure; the payload is a [`Failure`].
pub const ERROR: u16 = 1;

/// The first message to a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// Name of the plugin in the configuration.
    pub plugin: String,
    /// File that the library was read from; for messages only.
    pub library: PathBuf,
    /// Process id of the server, to notice that it died before the host was ready.
    pub server_pid: u32,
    /// Granted roots, in the order of their descriptors.
    pub roots: Vec<InitRoot>,
    /// Whether the last descriptor is the plugin's state folder.
    #[serde(default)]
    pub state: bool,
    /// Paths that stay read-only inside writable roots, at any depth.
    pub protected_paths: Vec<String>,
    /// Resource limits of the host.
    pub limits: HostLimits,
    /// The plugin's own configuration.
    pub config: serde_json::Value,
    /// Largest result in bytes; a larger one becomes an error of its call.
    pub max_result_bytes: u64,
    /// Refuse to start without user and mount namespaces.
    pub require_namespaces: bool,
}

/// A root that the plugin was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRoot {
    /// Its name in the configuration.
    pub name: String,
    /// Where it lies on the machine; for messages and for absolute paths in arguments.
    pub path: PathBuf,
    /// Whether it may be written to.
    pub writable: bool,
}

/// Limits of one host process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLimits {
    /// Address space in bytes (`RLIMIT_AS`).
    pub memory_bytes: u64,
    /// Largest file in bytes that the host may write (`RLIMIT_FSIZE`).
    pub file_bytes: u64,
    /// Open descriptors (`RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Calls that may run at the same time at one depth.
    pub workers: u32,
    /// How deep calls may lie below others.
    pub call_depth: u8,
}

impl HostLimits {
    /// Calls that may be there at the same time at all depths together.
    pub fn calls(&self) -> u32 {
        self.workers.saturating_mul(u32::from(self.call_depth) + 1)
    }
}

/// The host is jailed and its plugin loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The plugin's manifest, as it wrote it.
    pub manifest: serde_json::Value,
    /// What the kernel enforces on this host.
    pub report: serde_json::Value,
}

/// The plugin could not be loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadFailed {
    /// One sentence: what was found, what was expected, what to do.
    pub message: String,
}

/// Why a call or a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One of the ABI's error codes.
    pub code: i32,
    /// A sentence for the reader.
    pub message: String,
    /// Details for the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}
