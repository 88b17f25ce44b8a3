//! What an llmc plugin author writes against.
//!
//! A tool is a struct (its arguments), a function and a place in [`export_plugin!`]:
//!
//! ```
//! use llmc_core::prelude::*;
//!
//! /// Greets someone by name.
//! #[arguments]
//! pub struct Hello {
//!     /// Who to greet.
//!     name: String,
//! }
//!
//! #[tool(READ_ONLY)]
//! fn hello(args: Hello, _ctx: &Context) -> ToolResult<String> {
//!     Ok(format!("Hello, {}!", args.name))
//! }
//!
//! export_plugin!("hello": Hello);
//! ```
//!
//! The attribute [`macro@tool`] writes an impl of the trait [`Tool`]; write that yourself to say more.
//! Doc comments are prompts: a model reads them to choose a tool and to fill in its arguments. A plugin depends
//! on this crate alone, as a `cdylib`, and can `#![forbid(unsafe_code)]`.
//!
//! - [`Context`] is the way to everything outside the call: granted directories, secrets, other tools, programs.
//! - [`Output`] and [`Envelope`] say what a call can answer; [`ToolError`] says why it did not.
//! - [`Prompt`] and [`Resource`] offer texts for people and data with addresses; [`Context::ask`] asks the client.
//! - [`manifest`], [`envelope`], [`offer`], [`ask`](mod@ask) and [`run`] are the data that the server shares with plugins.
//! - `testing` (feature `testing`) calls a tool in a unit test, without a server.
//!
//! Left out on purpose: any async runtime, transport, protocol revisions and validation against the schema. The
//! server validates before a call reaches the plugin.

#[cfg(test)]
extern crate self as llmc_core;

pub mod ask;
mod context;
pub mod envelope;
mod error;
#[doc(hidden)]
pub mod export;
mod fd;
mod host;
pub mod manifest;
pub mod offer;
mod panic;
pub mod prelude;
mod prompt;
mod resource;
mod root;
pub mod run;
pub mod schema;
mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tool;

pub use ask::{Answers, Client, Elicited, Questions};
pub use context::{CallableTool, Context, Level};
pub use envelope::{Content, Envelope};
pub use error::{Explain, MISSING_GRANT, ToolError, ToolResult};
pub use llmc_abi::{Constant, SYMBOL as ABI_SYMBOL, VERSION as ABI_VERSION, code, op};
pub use llmc_core_macros::{arguments, output, tool};
pub use manifest::{Annotations, Manifest};
pub use offer::{Completion, Messages, ResourceLink, ResourceUri};
pub use prompt::Prompt;
pub use resource::Resource;
pub use root::{Access, Root, RootEntry};
pub use secret::Secret;
pub use tool::{Output, StructuredOutput, Tool};
pub use {schemars, serde, serde_json};
