//! Doors for fuzzers (`fuzz/`): what reads text of strangers, one reader each, without the server around it. Each panics
//! when a promise is broken. Nothing of the server uses them.

use std::path::Path;

use serde_json::Value;

pub use crate::audit::fuzz::audit;
pub use crate::call::fuzz::{schema, seal};
pub use crate::http::fuzz::head;
pub use crate::mcp::fuzz::messages;

/// A configuration: any text is refused with a reason, or read and checked.
pub fn configuration(text: &str) {
    if let Err(error) = crate::config::parse(Path::new("/etc/llmc/llmc.toml"), text) {
        assert!(!error.to_string().is_empty(), "a refusal without a word");
    }
}

/// The manifest of a plugin: any value is looked through for text that gives orders.
pub fn manifest(text: &str) {
    let Ok(manifest) = serde_json::from_str::<Value>(text) else { return };
    for finding in crate::lock::scan(&manifest) {
        let shown = finding.place + &finding.excerpt;
        assert!(!shown.chars().any(char::is_control), "{shown:?} would act on a terminal");
    }
}
