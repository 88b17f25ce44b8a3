//! The Model Context Protocol: the only home of rmcp's types.
//!
//! rmcp speaks the protocol's revisions, from 2024-11-05 to 2026-07-28; this module turns requests into calls on
//! the one call path and its answers into results.

mod asking;
mod codes;
mod convert;
mod front;
pub(crate) mod fuzz;
mod levels;
mod listen;
mod offers;
mod signals;
mod tasks;

use std::sync::Arc;

use hyper::http::request::Parts;
use llmc_core::Envelope;
use llmc_core::manifest::ItemKind;
use llmc_core::offer::Wanted;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult,
    CreateTaskResult, DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams,
    GetTaskResult, Implementation, InitializeRequestParams, InitializeResult, InputRequiredResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, json};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::call::{CallError, CallPath, Caller, Dialog, Entry, Identity, Kind, Request};
use crate::telemetry::{Above, parse_traceparent};
pub(crate) use asking::{capabilities_of, client_of};
pub(crate) use codes::CODES;
pub(crate) use front::Front;
use levels::Levels;
pub(crate) use listen::Listening;
use signals::Signals;
use tasks::Tasks;

/// Serves requests by one configuration; [`Front`] makes one for each request.
#[derive(Clone)]
pub(crate) struct Handler {
    path: Arc<CallPath>,
    tools: Arc<Vec<rmcp::model::Tool>>,
    instructions: Arc<str>,
    /// For whom its calls are made, see [`Request::origin`]; none when each request says who sends it.
    origin: Option<Arc<str>>,
    levels: Levels,
    tasks: Tasks,
}

/// What became of a call.
enum Outcome {
    Done(Envelope),
    /// The client is asked, and then makes it again.
    Asked(InputRequiredResult),
    /// It goes on without the request.
    Task(CreateTaskResult),
    Failed(CallError),
}

/// In the head of a request over HTTP: a request to its client gets its answer.
#[derive(Clone, Copy)]
pub(crate) struct Answerable {
    /// It said what it can be asked.
    pub(crate) introduced: bool,
}

fn answerable(context: &RequestContext<RoleServer>) -> Option<Answerable> {
    context.extensions.get::<Parts>()?.extensions.get::<Answerable>().copied()
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
        let (trace_id, span_above) = trace(context).unzip();
        let (progress, parent) = (None, None);
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
            span_above,
        })
    }

    /// Makes a call, and tells the client what it says on its way.
    async fn make(
        &self,
        mut request: Request,
        context: &RequestContext<RoleServer>,
        takes_task: bool,
    ) -> Result<Outcome, ErrorData> {
        let least = self.levels.least(&request.origin, context);
        let signals = Signals::start(context.meta.get_progress_token(), least, &context.peer);
        request.progress = signals.as_ref().map(Signals::sink);
        let dialog = Arc::clone(&request.dialog);
        let span = info_span!("request", id = %context.id);
        let ended = match takes_task {
            true => self.ended_in_time(request, context).instrument(span).await,
            false => Ok(self.path.call(request).instrument(span).await),
        };
        if let Some(signals) = signals {
            signals.finish().await;
        }
        let result = match ended {
            Ok(result) => result,
            Err(task) => return Ok(Outcome::Task(task)),
        };
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

    /// Makes a call, which becomes a task if it takes long.
    async fn ended_in_time(
        &self,
        mut request: Request,
        context: &RequestContext<RoleServer>,
    ) -> Result<Result<Envelope, CallError>, CreateTaskResult> {
        let (path, origin, dialog) =
            (Arc::clone(&self.path), Arc::clone(&request.origin), Arc::clone(&request.dialog));
        let cancel = CancellationToken::new();
        request.cancel = cancel.clone();
        let mut call: tasks::Call = tokio::spawn(async move { path.call(request).await });
        // Whoever makes the request may leave before it is answered.
        let leaving = cancel.clone().drop_guard();
        let result = |ended: Result<_, JoinError>| {
            ended.unwrap_or_else(|error| Err(CallError::new(Kind::PluginFailed, error.to_string())))
        };
        tokio::select! {
            biased;
            ended = &mut call => return Ok(result(ended)),
            () = context.ct.cancelled() => cancel.cancel(),
            () = tokio::time::sleep(self.path.times().task_after) => {}
        }
        // One that is about to end with a question has its answer there.
        if !cancel.is_cancelled() && !dialog.ends_the_call() {
            match self.tasks.go_on(call, cancel.clone(), &self.path, &origin, &dialog) {
                Ok(task) => {
                    leaving.disarm();
                    return Err(task);
                }
                Err(given_back) => call = given_back,
            }
        }
        tokio::select! {
            ended = &mut call => Ok(result(ended)),
            () = context.ct.cancelled() => {
                cancel.cancel();
                Ok(result(call.await))
            }
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
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().enable_tasks().build();
        let registry = &self.path.registry;
        // What there is none of is not offered: clients need not ask for it.
        let (prompts, resources) =
            (registry.prompts().next().is_some(), registry.resources().next().is_some());
        capabilities.prompts = prompts.then(Default::default);
        capabilities.resources = resources.then(Default::default);
        capabilities.completions = (prompts || resources).then(Default::default);
        let fixed = |entry: &Arc<Entry>| entry.resource.as_ref().is_some_and(|offered| offered.fixed);
        if let Some(resources) = &mut capabilities.resources {
            resources.subscribe = registry.resources().any(fixed).then_some(true);
        }
        capabilities.logging = Some(Map::new());
        let implementation =
            Implementation::new("llmc", env!("CARGO_PKG_VERSION")).with_title("llmc tool server");
        ServerConfig::new(capabilities)
            .with_server_info(implementation)
            .with_instructions(self.instructions.to_string())
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let mut info = self.get_info();
        // What later revisions mean by it is another thing.
        info.capabilities.resources.iter_mut().for_each(|resources| resources.subscribe = None);
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), info))
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
        let mut request = Request { arguments: arguments.unwrap_or_default(), ..request };
        let client =
            context.client_capabilities().filter(|_| asking::is_stateless(&context)).unwrap_or_default();
        let takes_task = client.supports_tasks();
        if takes_task && self.path.registry.get(&name).is_some_and(|entry| entry.long) {
            match self.tasks.begin(&self.path, request, client_of(&client)) {
                Ok(task) => return Ok(task.into()),
                Err(given_back) => request = *given_back,
            }
        }
        match self.make(request, &context, takes_task).await? {
            Outcome::Task(task) => Ok(task.into()),
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
        match self.make(request, &context, false).await? {
            Outcome::Done(envelope) => offers::messages(envelope).map(GetPromptResponse::from),
            Outcome::Asked(result) => Ok(result.into()),
            Outcome::Failed(error) => Err(protocol_error(&error)),
            Outcome::Task(_) => Err(ErrorData::internal_error("only tools run as tasks", None)),
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
        match self.make(request, &context, false).await? {
            Outcome::Done(envelope) => {
                offers::contents(envelope)?.map(ReadResourceResponse::from).ok_or_else(not_found)
            }
            Outcome::Asked(result) => Ok(result.into()),
            Outcome::Failed(error) if error.kind == Kind::NotFound => {
                Err(ErrorData::resource_not_found(error.message, Some(json!({"uri": uri}))))
            }
            Outcome::Failed(error) => Err(protocol_error(&error)),
            Outcome::Task(_) => Err(ErrorData::internal_error("only tools run as tasks", None)),
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

    async fn subscribe(
        &self,
        params: rmcp::model::SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.fixed(&params.uri, &context)
    }

    async fn unsubscribe(
        &self,
        params: rmcp::model::UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.fixed(&params.uri, &context)
    }

    async fn get_task(
        &self,
        params: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.tasks.get(&self.sender(&context)?.1, &params)
    }

    async fn update_task(
        &self,
        params: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.update(&self.sender(&context)?.1, params)
    }

    async fn cancel_task(
        &self,
        params: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel(&self.sender(&context)?.1, &params)
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

/// The trace that a request belongs to: what its message says, else its HTTP header.
fn trace(context: &RequestContext<RoleServer>) -> Option<(Arc<str>, Above)> {
    let header = || {
        let head = context.extensions.get::<Parts>()?;
        parse_traceparent(head.headers.get("traceparent")?.to_str().ok()?)
    };
    context.meta.get_traceparent().and_then(parse_traceparent).or_else(header)
}
