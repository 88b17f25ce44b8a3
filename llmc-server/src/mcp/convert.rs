//! Between llmc's types and rmcp's.

use std::sync::Arc;

use llmc_core::{Content, Envelope};
use rmcp::model::{CallToolResult, ContentBlock, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value};

use crate::call::{CallError, Entry};

/// A tool as clients see it.
pub(super) fn tool(entry: &Entry) -> Tool {
    let hints = entry.annotations;
    let annotations = ToolAnnotations::new()
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world);
    let mut tool =
        Tool::new(entry.name.clone(), entry.description.clone(), Arc::new(object(&entry.input_schema)));
    tool.title = Some(entry.title.clone()).filter(|title| !title.is_empty());
    tool.output_schema = entry.output_schema.as_ref().map(|schema| Arc::new(object(schema)));
    tool.annotations = Some(annotations);
    tool
}

/// Schemas were checked to be objects when the plugin was loaded.
fn object(schema: &Value) -> Map<String, Value> {
    schema.as_object().cloned().unwrap_or_default()
}

/// A result of a tool.
pub(super) fn result(envelope: Envelope) -> CallToolResult {
    let content = envelope.content.into_iter().filter_map(block).collect();
    let mut result =
        if envelope.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = envelope.structured;
    result.meta = Some(envelope.meta).filter(|meta| !meta.is_empty()).map(MetaObject::from);
    result
}

/// A refused or failed call, in words for the model.
pub(super) fn failure(error: &CallError) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(error.message.clone())]);
    let kind = Map::from_iter([("llmc/error".to_owned(), Value::from(error.kind.as_str()))]);
    result.meta = Some(MetaObject::from(kind));
    result
}

/// Text is by far the most frequent; the rest has the same JSON on both sides.
fn block(content: Content) -> Option<ContentBlock> {
    match content {
        Content::Text { text, annotations: None } => Some(ContentBlock::text(text)),
        other => serde_json::to_value(other).and_then(serde_json::from_value).ok(),
    }
}
