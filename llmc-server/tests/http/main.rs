//! MCP over HTTP, from outside: what works, and attacks beside a client that keeps working.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../security/prerequisites.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod prerequisites;
#[path = "../files/random.rs"]
mod random;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

mod bodies;
mod browser;
mod client;
mod connections;
mod consent;
mod console;
mod daemon;
mod encryption;
mod fuzz;
mod heads;
mod metrics;
mod oauth;
mod offers;
mod operator;
mod protocol;
mod rates;
mod readiness;
mod real_client;
mod reload;
mod scopes;
mod shared;
mod sockets;
mod tasks;
mod tokens;
