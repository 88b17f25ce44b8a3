//! The file tools, attacked and used through MCP: what must not happen beside what must work.
//!
//! Every test has secrets all around its root. At its end nothing outside may have been changed, read or named, and
//! nothing in the root may contain them.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

#[path = "../security/observe.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod observe;
#[path = "../security/prerequisites.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod prerequisites;
#[path = "../security/without.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod without;

mod attempts;
mod ground;
mod random;
mod snapshot;

mod agents;
mod cases;
mod everyday;
mod faults;
mod kills;
mod odd;
mod paths;
mod properties;
mod protected;
mod races;
mod roots;
mod silence;
