//! What nearly every plugin needs: `use llmc_core::prelude::*;`.

pub use crate::{
    Access, Annotations, Content, Context, Envelope, Explain, Level, Output, Root, Secret, StructuredOutput,
    Tool, ToolError, ToolResult, arguments, export_plugin, output, tool,
};
pub use serde_json::{Value, json};
