//! What nearly every plugin needs: `use llmc_core::prelude::*;`.

pub use crate::{
    Access, Annotations, Completion, Content, Context, Elicited, Envelope, Explain, Level, Messages, Output,
    Prompt, Questions, Resource, ResourceLink, ResourceUri, Root, Secret, StructuredOutput, Tool, ToolError,
    ToolResult, arguments, export_plugin, output, tool,
};
pub use serde_json::{Value, json};
