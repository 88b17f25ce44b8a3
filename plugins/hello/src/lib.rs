//! Greets someone by name: the plugin to copy.
#![forbid(unsafe_code)]

use llmc_core::prelude::*;

/// Greets someone by name.
#[arguments]
pub struct Hello {
    /// Who to greet, such as "Ada".
    name: String,
}

#[tool(READ_ONLY)]
fn hello(args: Hello, _ctx: &Context) -> ToolResult<String> {
    Ok(format!("Hello, {}!", args.name))
}

export_plugin!("hello": Hello);
