//! The Model Context Protocol: the only home of rmcp's types.
//!
//! rmcp speaks the protocol's revisions, from 2024-11-05 to 2026-07-28; this module turns requests into calls on
//! the one call path and its answers into results.

mod convert;
mod front;
mod listen;
mod progress;

use std::sync::Arc;

use hyper::http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, InitializeRequestParams, InitializeResult,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tracing::{Instrument as _, info_span};

use crate::call::{CallPath, Caller, Identity, Kind, Request};
use crate::telemetry::{Above, parse_traceparent};
pub(crate) use front::Front;
pub(crate) use listen::Listening;
use progress::Reporter;

/// Serves requests by one configuration; [`Front`] makes one for each request.
#[derive(Clone)]
pub(crate) struct Handler {
    path: Arc<CallPath>,
    tools: Arc<Vec<rmcp::model::Tool>>,
    instructions: Arc<str>,
    /// For whom its calls are made, see [`Request::origin`]; none when each request says who sends it.
    origin: Option<Arc<str>>,
}

impl Handler {
    /// Who sends a request, and for whom its calls are made.
    fn sender(&self, context: &RequestContext<RoleServer>) -> Result<(Caller, Arc<str>), ErrorData> {
        if let Some(origin) = &self.origin {
            return Ok((Caller::Client, Arc::clone(origin)));
        }
        let identity = identity(context)?;
        Ok((Caller::Remote(Arc::clone(&identity)), Arc::clone(identity.origin())))
    }
}

/// Who sent a request over the network.
fn identity(context: &RequestContext<RoleServer>) -> Result<Arc<Identity>, ErrorData> {
    let head = context.extensions.get::<Parts>();
    let identity = head.and_then(|head| head.extensions.get::<Arc<Identity>>()).cloned();
    identity.ok_or_else(|| ErrorData::internal_error("nobody knows who sent this", None))
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        let implementation =
            Implementation::new("llmc", env!("CARGO_PKG_VERSION")).with_title("llmc tool server");
        ServerConfig::new(capabilities)
            .with_server_info(implementation)
            .with_instructions(self.instructions.to_string())
    }

    /// Over the network, revisions with this handshake have no way on which a notification could come.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut answer = self.negotiate_initialize(&request)?;
        if let (None, Some(tools)) = (&self.origin, &mut answer.capabilities.tools) {
            tools.list_changed = None;
        }
        Ok(answer)
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
