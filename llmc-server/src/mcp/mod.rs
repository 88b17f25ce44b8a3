//! The Model Context Protocol: the only home of rmcp's types.
//!
//! rmcp speaks the protocol's revisions, from 2024-11-05 to 2026-07-28; this module turns requests into calls on
//! the one call path and its answers into results.

mod convert;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tracing::{Instrument as _, info_span};

use crate::call::{CallPath, Caller, Identity, Kind, Request};
use crate::telemetry::{Above, parse_traceparent};
use progress::Reporter;

/// Serves one MCP client, over one connection, or all that come over the network.
#[derive(Clone)]
pub(crate) struct Handler {
    path: Arc<CallPath>,
    tools: Arc<Vec<rmcp::model::Tool>>,
    instructions: Arc<str>,
    /// For whom its calls are made, see [`Request::origin`]; none when each request says who sends it.
    origin: Option<Arc<str>>,
}

impl Handler {
    pub(crate) fn new(path: Arc<CallPath>, instructions: &str) -> Self {
        // Sorted by name: a list in a fixed order keeps a client's prompt cache warm.
        let tools = path.visible(&Caller::Client).map(|entry| convert::tool(entry)).collect();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let origin = format!("client {}", NEXT.fetch_add(1, Ordering::Relaxed)).into();
        Self { path, tools: Arc::new(tools), instructions: instructions.into(), origin: Some(origin) }
    }

    /// For clients whose requests come with an [`Identity`].
    pub(crate) fn for_network(path: Arc<CallPath>, instructions: &str) -> Self {
        Self { origin: None, ..Self::new(path, instructions) }
    }

    /// Who sends a request, and for whom its calls are made.
    fn sender(&self, context: &RequestContext<RoleServer>) -> Result<(Caller, Arc<str>), ErrorData> {
        if let Some(origin) = &self.origin {
            return Ok((Caller::Client, Arc::clone(origin)));
        }
        let identity =
            context.extensions.get::<Parts>().and_then(|head| head.extensions.get::<Arc<Identity>>());
        let identity =
            identity.ok_or_else(|| ErrorData::internal_error("nobody knows who sent this", None))?;
        Ok((Caller::Remote(Arc::clone(identity)), Arc::clone(identity.origin())))
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
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = match self.sender(&context)?.0 {
            Caller::Remote(identity) => {
                self.tools.iter().filter(|tool| identity.opens(&tool.name)).cloned().collect()
            }
            Caller::Client | Caller::CommandLine | Caller::Plugin(_) => self.tools.to_vec(),
        };
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let reporter =
            context.meta.get_progress_token().map(|token| Reporter::start(token, context.peer.clone()));
        let (caller, origin) = self.sender(&context)?;
        let (trace_id, span_above) = trace(&context).unzip();
        let request = Request {
            caller,
            origin,
            tool: params.name.into_owned(),
            arguments: params.arguments.unwrap_or_default(),
            cancel: context.ct.clone(),
            progress: reporter.as_ref().map(Reporter::sink),
            parent: None,
            trace_id,
            span_above,
        };
        let result = self.path.call(request).instrument(info_span!("request", id = %context.id)).await;
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

/// The trace that a request belongs to: what its message says, else its HTTP header.
fn trace(context: &RequestContext<RoleServer>) -> Option<(Arc<str>, Above)> {
    let header = || {
        let head = context.extensions.get::<Parts>()?;
        parse_traceparent(head.headers.get("traceparent")?.to_str().ok()?)
    };
    context.meta.get_traceparent().and_then(parse_traceparent).or_else(header)
}
