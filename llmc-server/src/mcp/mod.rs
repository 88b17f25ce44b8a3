//! The Model Context Protocol: the only home of rmcp's types.
//!
//! rmcp speaks the protocol's revisions, from 2024-11-05 to 2026-07-28; this module turns requests into calls on
//! the one call path and its answers into results.

mod asking;
mod convert;
mod front;
mod levels;
mod listen;
mod offers;
mod signals;

use std::sync::Arc;

use hyper::http::request::Parts;
use llmc_core::Envelope;
use llmc_core::manifest::ItemKind;
use llmc_core::offer::Wanted;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, GetPromptRequestParams,
    GetPromptResponse, Implementation, InitializeRequestParams, InitializeResult, InputRequiredResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, json};

use crate::call::{CallError, CallPath, Caller, Dialog, Identity, Kind, Request};
pub(crate) use front::Front;
use levels::Levels;
pub(crate) use listen::Listening;
use signals::Signals;

/// Serves requests by one configuration; [`Front`] makes one for each request.
#[derive(Clone)]
pub(crate) struct Handler {
    path: Arc<CallPath>,
    tools: Arc<Vec<rmcp::model::Tool>>,
    instructions: Arc<str>,
    /// For whom its calls are made, see [`Request::origin`]; none when each request says who sends it.
    origin: Option<Arc<str>>,
    levels: Levels,
}

/// What became of a call.
enum Outcome {
    Done(Envelope),
    /// The client is asked, and then makes it again.
    Asked(InputRequiredResult),
    Failed(CallError),
}

/// In the head of a request over HTTP: a request to its client gets its answer.
#[derive(Clone, Copy)]
pub(crate) struct Answerable;

fn is_answerable(context: &RequestContext<RoleServer>) -> bool {
    context.extensions.get::<Parts>().is_some_and(|head| head.extensions.get::<Answerable>().is_some())
}

impl Handler {
    fn is_network(&self) -> bool {
        self.origin.is_none()
    }

    /// A call for the sender of a request, without arguments yet.
    fn request(
        &self,
        context: &RequestContext<RoleServer>,
        item: ItemKind,
        name: &str,
        dialog: Arc<Dialog>,
    ) -> Result<Request, ErrorData> {
        let (caller, origin) = self.sender(context)?;
        let (cancel, arguments) = (context.ct.clone(), Map::new());
        let (tool, request_id) = (name.to_owned(), Some(context.id.to_string().into()));
        let (trace_id, progress, parent) = (None, None, None);
        Ok(Request {
            caller,
            origin,
            item,
            tool,
            arguments,
            request_id,
            trace_id,
            cancel,
            progress,
            dialog,
            parent,
        })
    }

    /// Makes a call, and tells the client what it says on its way.
    async fn make(
        &self,
        mut request: Request,
        context: &RequestContext<RoleServer>,
    ) -> Result<Outcome, ErrorData> {
        let least = self.levels.least(&request.origin, context);
        let signals = Signals::start(context.meta.get_progress_token(), least, &context.peer);
        request.progress = signals.as_ref().map(Signals::sink);
        let dialog = Arc::clone(&request.dialog);
        let result = self.path.call(request).await;
        if let Some(signals) = signals {
            signals.finish().await;
        }
        match result {
            Ok(envelope) => Ok(Outcome::Done(envelope)),
            Err(error) if error.kind == Kind::InputRequired => match dialog.round() {
                Some(round) => Ok(Outcome::Asked(asking::required(round))),
                None => Ok(Outcome::Failed(error)),
            },
            Err(error) if error.kind == Kind::ClientLacks && asking::is_stateless(context) => {
                let lacking = dialog.lacking().unwrap_or_default();
                Err(ErrorData::missing_required_client_capability(asking::capability(&lacking)))
            }
            Err(error) => Ok(Outcome::Failed(error)),
        }
    }

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
        let mut capabilities =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        let registry = &self.path.registry;
        // What there is none of is not offered: clients need not ask for it.
        let (prompts, resources) =
            (registry.prompts().next().is_some(), registry.resources().next().is_some());
        capabilities.prompts = prompts.then(Default::default);
        capabilities.resources = resources.then(Default::default);
        capabilities.completions = (prompts || resources).then(Default::default);
        capabilities.logging = Some(Map::new());
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
        let CallToolRequestParams { name, arguments, input_responses, request_state, .. } = params;
        let dialog = asking::dialog(&context, self.reachable(&context), request_state, input_responses);
        let request = self.request(&context, ItemKind::Tool, &name, dialog)?;
        let request = Request { arguments: arguments.unwrap_or_default(), ..request };
        match self.make(request, &context).await? {
            Outcome::Done(envelope) => Ok(convert::result(envelope).into()),
            Outcome::Asked(result) => Ok(result.into()),
            // The client asked for something that does not exist, or handed back something that it was not given: a
            // protocol error. Everything else the model may be able to mend, so it sees it as a result.
            Outcome::Failed(error) if matches!(error.kind, Kind::UnknownTool | Kind::InvalidState) => {
                Err(ErrorData::invalid_params(error.message, None))
            }
            Outcome::Failed(error) => Ok(convert::failure(&error).into()),
        }
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let (caller, _) = self.sender(&context)?;
        let prompts = self.path.registry.prompts().filter(|entry| self.path.allows(&caller, entry));
        Ok(ListPromptsResult::with_all_items(prompts.map(|entry| offers::prompt(entry)).collect()))
    }

    async fn get_prompt(
        &self,
        params: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let GetPromptRequestParams { name, arguments, input_responses, request_state, .. } = params;
        let dialog = asking::dialog(&context, self.reachable(&context), request_state, input_responses);
        let wanted = Wanted::Get { arguments: arguments.unwrap_or_default() };
        let request = self.request(&context, ItemKind::Prompt, &name, dialog)?;
        let request = Request { arguments: offers::wanted(&wanted), ..request };
        match self.make(request, &context).await? {
            Outcome::Done(envelope) => offers::messages(envelope).map(GetPromptResponse::from),
            Outcome::Asked(result) => Ok(result.into()),
            Outcome::Failed(error) => Err(protocol_error(&error)),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.resources(&context).await.map(ListResourcesResult::with_all_items)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let (caller, _) = self.sender(&context)?;
        let templates = self.path.registry.resources().filter(|entry| self.path.allows(&caller, entry));
        let templates = templates.filter_map(|entry| offers::template(entry)).collect();
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        params: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let ReadResourceRequestParams { uri, input_responses, request_state, .. } = params;
        let (caller, _) = self.sender(&context)?;
        let not_found =
            || ErrorData::resource_not_found("there is no such resource", Some(json!({"uri": uri})));
        let (name, wanted) = self.resource_of(&caller, &uri).ok_or_else(not_found)?;
        let dialog = asking::dialog(&context, self.reachable(&context), request_state, input_responses);
        let request = self.request(&context, ItemKind::Resource, &name, dialog)?;
        let request = Request { arguments: offers::wanted(&wanted), ..request };
        match self.make(request, &context).await? {
            Outcome::Done(envelope) => {
                offers::contents(envelope)?.map(ReadResourceResponse::from).ok_or_else(not_found)
            }
            Outcome::Asked(result) => Ok(result.into()),
            Outcome::Failed(error) if error.kind == Kind::NotFound => {
                Err(ErrorData::resource_not_found(error.message, Some(json!({"uri": uri}))))
            }
            Outcome::Failed(error) => Err(protocol_error(&error)),
        }
    }

    async fn complete(
        &self,
        params: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.completed(params, &context).await
    }

    #[expect(deprecated, reason = "clients of earlier revisions ask for log messages like this")]
    async fn set_level(
        &self,
        params: rmcp::model::SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if asking::is_stateless(&context) {
            return Err(ErrorData::method_not_found::<rmcp::model::SetLevelRequestMethod>());
        }
        let (_, origin) = self.sender(&context)?;
        self.levels.set(origin, params.level);
        Ok(())
    }
}

/// A refused or failed call of something that has no results in which errors could be told.
fn protocol_error(error: &CallError) -> ErrorData {
    let data = Some(json!({"llmc/error": error.kind.as_str()}));
    match error.kind {
        Kind::PluginFailed | Kind::InvalidResult | Kind::AuditFailed | Kind::TimedOut | Kind::Busy => {
            ErrorData::internal_error(error.message.clone(), data)
        }
        _ => ErrorData::invalid_params(error.message.clone(), data),
    }
}
