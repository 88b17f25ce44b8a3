//! The C-stable interface between the llmc plugin host and a plugin.
//!
//! A plugin exports one symbol, [`SYMBOL`], which leads to a [`Plugin`]: two functions. It gets one function
//! back, [`Host::request`]. Everything that crosses is a byte string holding JSON in UTF-8.
//!
//! The version of this crate is the version of the interface. The types are frozen for as long as the major
//! version stands: all growth happens in new [`op`] codes and in the JSON, never in a struct. A plugin built by
//! another compiler, profile or allocator therefore keeps working.
//!
//! Left out on purpose: loading (the host's business), what the JSON says and every convenience (`llmc-core`).
//! Plugin authors do not use this crate themselves.

use std::ffi::CStr;

pub use abi_stable;
use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{ROption, RResult, RSlice, RString, RVec};

/// The exported symbol: an `abi_stable` `LibHeader`. Its name carries the major version of the interface.
pub const SYMBOL: &CStr = c"LLMC_PLUGIN_V1";

/// The version of the interface, for manifests and messages.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What every function returns: JSON, or a [`ToolError`].
pub type CallResult = RResult<RVec<u8>, ToolError>;

/// Why a call or a request failed.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    /// One of [`code`]; an unknown code means the same as [`code::FAILED`].
    pub code: i32,
    /// One sentence for the model and the operator.
    pub message: RString,
    /// JSON for programs.
    pub data: ROption<RVec<u8>>,
}

/// What the host offers to the plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostRef)))]
pub struct Host {
    /// Asks the host for something: `call` is [`CallCtx::call`], `op` one of [`op`], `body` its JSON.
    ///
    /// May be called from any thread, several at a time. Blocks until the answer is there.
    #[sabi(last_prefix_field)]
    pub request: extern "C" fn(call: u64, op: u32, body: RSlice<'_, u8>) -> CallResult,
}

/// The call a plugin is asked to serve.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct CallCtx {
    /// Identifies the call in requests to the host.
    pub call: u64,
    /// Milliseconds that were left when the call was handed over; `u64::MAX` when there is no deadline.
    pub deadline_ms: u64,
    /// The way back to the host.
    pub host: HostRef,
}

/// What a plugin offers to the host.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef)))]
pub struct Plugin {
    /// Describes the plugin: the JSON of its manifest. Empty when the manifest cannot be built.
    pub manifest: extern "C" fn() -> RVec<u8>,
    /// Serves one call: `item` is an index into the manifest's items, `args` the JSON of its arguments.
    ///
    /// Called from several threads at a time. Must not unwind.
    #[sabi(last_prefix_field)]
    pub call: extern "C" fn(ctx: &CallCtx, item: u32, args: RSlice<'_, u8>) -> CallResult,
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "llmc_plugin";
    const NAME: &'static str = "llmc plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// A constant of [`op`] or [`code`], for documents about the interface.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub value: i64,
    /// The lines of its documentation.
    pub doc: &'static [&'static str],
}

/// Constants, and a list of them, so that documents cannot fall behind.
macro_rules! constants {
    ($($(#[doc = $doc:literal])+ pub const $name:ident: $kind:ty = $value:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: $kind = $value;)+

        /// All of them, by number.
        pub const ALL: &[$crate::Constant] =
            &[$($crate::Constant { name: stringify!($name), value: $value, doc: &[$($doc),+] }),+];
    };
}

/// What a plugin can ask of the host. An op that the host does not know is answered with
/// [`code::UNSUPPORTED`], so a new plugin runs in an old host.
pub mod op {
    constants! {
        /// Writes a log line: `{"level": "error|warn|info|debug|trace", "message": str}` -> `null`.
        pub const LOG: u32 = 1;
        /// Reports progress: `{"done": number, "total": number?, "message": str?}` -> `null`.
        pub const PROGRESS: u32 = 2;
        /// Asks whether the call was cancelled: `{}` -> `{"cancelled": bool}`. Cheap: answered inside the host.
        pub const CANCELLED: u32 = 3;
        /// Calls another tool: `{"name": str, "arguments": {..}}` -> the envelope of its result.
        pub const CALL_TOOL: u32 = 4;
        /// Reads a granted secret: `{"name": str}` -> `{"value": str}`.
        pub const SECRET: u32 = 5;
        /// Starts a program in a jail: a run request -> the run's id and descriptors.
        pub const RUN: u32 = 6;
        /// Waits for a run to end: `{"run": u64}` -> its outcome.
        pub const RUN_WAIT: u32 = 7;
        /// Ends a run and everything it started: `{"run": u64}` -> `null`. With `"signal": "term|int|kill"` every process
        /// of the run gets that signal, and the run goes on if they do.
        pub const RUN_KILL: u32 = 8;
        /// Lists the granted directories: `{}` -> `[{"name", "path", "access": "ro|rw", "fd": int}]`.
        pub const ROOTS: u32 = 9;
        /// Reads the plugin's configuration: `{}` -> any value, `null` when there is none.
        pub const CONFIG: u32 = 10;
        /// Lists the tools that the plugin may call: `{}` -> `[{"name", "title", "description", "input_schema"}]`.
        pub const TOOLS: u32 = 11;
        /// Keeps text for `read_more`, in pieces: `{"text": str, "last": bool}` -> `{"kept": str}`, the handle, after the
        /// last piece, `{"kept": null}` before.
        pub const KEEP: u32 = 12;
        /// Finds the plugin's own folder: `{}` -> `{"path": str}`, `null` when it is granted none.
        pub const STATE: u32 = 13;
        /// Asks for whom the call is made: `{}` -> `{"caller": str}`, the same for all calls of one client, also for those
        /// that code and other plugins make on the way. Opaque: for comparing only.
        pub const CALLER: u32 = 14;
        /// Asks the client, or the person in front of it: `{"ask": {key: {"method": str, "params": {..}}}}` ->
        /// `{key: its answer}`. The method is `elicitation/create`, `sampling/createMessage` or `roots/list`.
        /// [`code::INPUT_REQUIRED`](super::code::INPUT_REQUIRED) when the answers come with another call.
        pub const ASK: u32 = 15;
        /// Asks what the client can be asked: `{}` -> `{"elicitation": bool, "sampling": bool, "roots": bool}`.
        pub const CLIENT: u32 = 16;
    }
}

/// What an error is about.
pub mod code {
    constants! {
        /// The arguments do not fit; the caller can correct them.
        pub const INVALID_ARGUMENTS: i32 = 1;
        /// The tool tried and did not succeed.
        pub const FAILED: i32 = 2;
        /// A grant or a policy does not allow it.
        pub const DENIED: i32 = 3;
        /// The caller withdrew the call.
        pub const CANCELLED: i32 = 4;
        /// The tool panicked; the message names file and line.
        pub const PANICKED: i32 = 5;
        /// The host does not know the op, or the plugin the kind of item.
        pub const UNSUPPORTED: i32 = 6;
        /// The deadline passed.
        pub const TIMED_OUT: i32 = 7;
        /// The other side broke the rules of the interface.
        pub const PROTOCOL: i32 = 8;
        /// A limit on size, rate, depth or number was reached.
        pub const LIMIT: i32 = 9;
        /// There is no item of that index, or no tool of that name.
        pub const UNKNOWN_ITEM: i32 = 10;
        /// The client is being asked; the call is to end with this error, and is made again with the answers.
        pub const INPUT_REQUIRED: i32 = 11;
        /// The client cannot be asked this.
        pub const CLIENT_LACKS: i32 = 12;
    }
}
