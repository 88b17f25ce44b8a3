//! The Model Context Protocol: the only home of rmcp's types.
//!
//! rmcp speaks the protocol's revisions, from 2024-11-05 to 2026-07-28; this module turns requests into calls on
//! the one call path and its answers into results.

mod convert;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use crate::call::{CallPath, Caller, Kind, Request};
use progress::Reporter;

/// Serves one MCP client, over one connection.
#[derive(Clone)]
pub(crate) struct Handler {
    path: Arc<CallPath>,
    tools: Arc<Vec<rmcp::model::Tool>>,
    instructions: Arc<str>,
    /// For whom its calls are made, see [`Request::origin`].
    origin: Arc<str>,
}

impl Handler {
    pub(crate) fn new(path: Arc<CallPath>, instructions: &str) -> Self {
        // Sorted by name: a list in a fixed order keeps a client's prompt cache warm.
        let tools = path.visible(&Caller::Client).map(|entry| convert::tool(entry)).collect();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let origin = format!("client {}", NEXT.fetch_add(1, Ordering::Relaxed)).into();
        Self { path, tools: Arc::new(tools), instructions: instructions.into(), origin }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let implementation =
            Implementation::new("llmc", env!("CARGO_PKG_VERSION")).with_title("llmc tool server");
        ServerConfig::new(capabilities)
            .with_server_info(implementation)
            .with_instructions(self.instructions.to_string())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let reporter =
            context.meta.get_progress_token().map(|token| Reporter::start(token, context.peer.clone()));
        let request = Request {
            caller: Caller::Client,
            origin: Arc::clone(&self.origin),
            tool: params.name.into_owned(),
            arguments: params.arguments.unwrap_or_default(),
            cancel: context.ct.clone(),
            progress: reporter.as_ref().map(Reporter::sink),
            parent: None,
        };
        let result = self.path.call(request).await;
        if let Some(reporter) = reporter {
            reporter.finish().await;
        }
        match result {
            Ok(envelope) => Ok(convert::result(envelope).into()),
            // The client asked for something that does not exist: a protocol error. Everything else the model
            // may be able to mend, so it sees it as a result.
            Err(error) if error.kind == Kind::UnknownTool => {
                Err(ErrorData::invalid_params(error.message, None))
            }
            Err(error) => Ok(convert::failure(&error).into()),
        }
    }
}
