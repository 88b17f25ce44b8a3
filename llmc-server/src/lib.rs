//! The llmc MCP tool server: speaks the protocol, decides what may be called, and hands calls to plugins that live
//! in jailed processes of their own.
//!
//! A map for readers, from the outside in:
//!
//! - [`cli`]: the commands of the program `llmc`.
//! - [`config`]: what the operator decided, as data.
//! - `app`: puts the parts together at start-up, and anew when the configuration changes, which `reload` notices.
//! - `transport`, `http`, `mcp`: how requests arrive; `tokens`, `oauth`: who may send them over the network.
//! - `call`: the one path of every call.
//! - `plugin`: hosts, seen from here; `runner`: jails, seen from here.
//! - `lock`: what each plugin was when the operator agreed to it; one that changed since is stopped.
//! - `telemetry`: numbers and traces of all this; `console`: pages that show them.
//! - `roots`, `state`, `secret`, `audit`: what calls are given, what plugins keep, what is hidden in results, what is
//!   recorded of calls.
//!
//! This process loads no plugin and runs no tool code; it starts two programs, `llmc-host` and `llmc-runner`, and
//! never gives them more than a socket.

mod app;
mod audit;
mod call;
pub mod cli;
pub mod config;
mod console;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod hold;
mod http;
mod lock;
pub mod logs;
mod mcp;
mod oauth;
mod outbox;
mod plugin;
mod reload;
mod roots;
mod runner;
mod secret;
mod socket;
mod stage;
mod state;
mod telemetry;
mod tokens;
mod transport;
