//! The one path of every call: find, authorise, validate, confirm, limit, run with a deadline, cap and redact, validate the
//! output, audit.
//!
//! A client, the command line, a plugin and code in a jail all enter through [`CallPath::call`]. There is no other
//! door: nothing else in this crate hands a call to a plugin.

mod authorise;
mod bounds;
mod builtin;
mod common;
mod confirm;
mod consent;
mod cost;
mod dialog;
mod error;
pub(crate) mod fuzz;
mod identity;
mod live;
mod output;
mod pending;
mod read_more;
pub(crate) mod registry;
mod schema;
mod seal;
mod services;
mod shelf;
mod template;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use llmc_core::Envelope;
use llmc_core::manifest::ItemKind;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

pub(crate) use authorise::{Authority, Caller};
pub(crate) use bounds::Bounds;
pub(crate) use common::Common;
pub(crate) use confirm::ConsentRule;
pub(crate) use dialog::{Asker, Asking, Dialog, Round, Unanswered};
pub(crate) use error::{CALL_TIMEOUT, CallError, Kind};
pub(crate) use identity::{Identity, origin_of_connection};
pub(crate) use live::{Generation, Live};
pub(crate) use pending::{Decided, Decision, Pending};
pub(crate) use registry::{EXECUTE_CODE, Entry, Home, OfPlugin, Offered, Registry};
pub(crate) use schema::{Schema, nearest};
pub(crate) use seal::Seal;
pub(crate) use services::Hub;
use shelf::Shelf;

// For the reference.
pub(crate) use builtin::items as builtin_items;

use crate::audit::{self, Audit, Room};
use crate::config::Limits;
use crate::console::feed::{self, Event};
use crate::plugin::connection::{CallFailure, Connection};
use crate::plugin::{CallContext, Progress};
use crate::secret::Secrets;
use crate::telemetry::metrics::{Ended, Held};
use crate::telemetry::otlp::{Span, Spans};
use crate::telemetry::{Above, METRICS, Trace, new_trace_id};

/// Longest tool name that is shown whole, in bytes; twice what a name can have.
const MAX_NAME_BYTES: usize = 128;

/// Limits that a record names at most; a plugin tells them.
const MAX_LIMITS: usize = 16;

/// Longest error text: it goes to the model and into the audit.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// A call to make.
pub(crate) struct Request {
    pub(crate) caller: Caller,
    /// For whom it is made: the connection of a client, or the person at the command line. Calls below it keep it, so
    /// what a plugin holds for a client stays with that client. Plugins can compare it; it says nothing else.
    pub(crate) origin: Arc<str>,
    /// What kind of thing is called; anything but a tool with a [`llmc_core::offer::Wanted`].
    pub(crate) item: ItemKind,
    pub(crate) tool: String,
    pub(crate) arguments: Map<String, Value>,
    /// Of JSON-RPC, for the audit.
    pub(crate) request_id: Option<Arc<str>>,
    /// The trace that it belongs to, 32 hexadecimal digits; without one it begins a trace. Calls below it keep it.
    pub(crate) trace_id: Option<Arc<str>>,
    pub(crate) cancel: CancellationToken,
    pub(crate) progress: Option<Arc<dyn Progress>>,
    /// Who can be asked something by it.
    pub(crate) dialog: Arc<Dialog>,
    /// The call that makes this one.
    pub(crate) parent: Option<Parent>,
    /// The span above it in this trace.
    pub(crate) span_above: Option<Above>,
}

impl Request {
    /// A call of the person at the command line.
    pub(crate) fn from_command_line(tool: String, arguments: Map<String, Value>) -> Self {
        Self {
            caller: Caller::CommandLine,
            origin: "command line".into(),
            item: ItemKind::Tool,
            tool,
            arguments,
            request_id: None,
            trace_id: None,
            cancel: CancellationToken::new(),
            progress: None,
            dialog: Dialog::person(),
            parent: None,
            span_above: None,
        }
    }
}

/// The call above a nested call.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) id: u64,
    pub(crate) depth: u8,
    pub(crate) deadline: Instant,
    /// What holds for all calls below it.
    pub(crate) bounds: Bounds,
}

/// Everything that calls need, as one configuration says it; [`Live`] is the one that counts now.
pub(crate) struct CallPath {
    pub(crate) registry: Registry,
    authority: Authority,
    secrets: Arc<Secrets>,
    audit: Arc<Audit>,
    limits: Limits,
    running: Arc<Semaphore>,
    /// What did not fit into results.
    shelf: Shelf,
    /// Calls that wait for an operator.
    pending: Arc<Pending>,
    spans: Option<Arc<Spans>>,
    /// Whether calls are counted.
    counted: bool,
    /// Held by each call that is under way.
    under_way: Arc<()>,
}

/// How long calls take.
pub(crate) struct Times {
    /// A call at most.
    pub(crate) call: Duration,
    /// A person at most, to consent.
    pub(crate) consent: Duration,
    /// A call before it becomes a task.
    pub(crate) task_after: Duration,
}

/// What the audit wants to know about a call that ended well.
struct Done {
    envelope: Envelope,
    result_bytes: usize,
}

impl CallPath {
    pub(crate) fn new(
        registry: Registry,
        authority: Authority,
        secrets: Arc<Secrets>,
        audit: Audit,
        limits: Limits,
    ) -> Self {
        let running = Arc::new(Semaphore::new(limits.concurrent_calls));
        let (shelf, audit, under_way) = (Shelf::new(&limits), Arc::new(audit), Arc::default());
        let (spans, counted, pending) = (None, true, Pending::new(&audit));
        Self {
            shelf,
            pending,
            registry,
            authority,
            secrets,
            audit,
            limits,
            running,
            spans,
            counted,
            under_way,
        }
    }

    /// Counts calls or not.
    pub(crate) fn counting(self, counted: bool) -> Self {
        Self { counted, ..self }
    }

    /// Keeps outputs where other servers find them, too.
    pub(crate) fn with_common(self, common: Option<Arc<Common>>) -> Self {
        Self { shelf: self.shelf.with_common(common), ..self }
    }

    /// Tells somebody of the span of each call.
    pub(crate) fn with_spans(self, spans: Option<Spans>) -> Self {
        Self { spans: spans.map(Arc::new), ..self }
    }

    /// The path of the next configuration: records and spans go where they went, and what was kept stays.
    pub(crate) fn next(
        &self,
        registry: Registry,
        authority: Authority,
        secrets: Arc<Secrets>,
        limits: Limits,
    ) -> Self {
        let running = match limits.concurrent_calls == self.limits.concurrent_calls {
            true => Arc::clone(&self.running),
            false => Arc::new(Semaphore::new(limits.concurrent_calls)),
        };
        let (audit, shelf, under_way) = (Arc::clone(&self.audit), self.shelf.with(&limits), Arc::default());
        let (spans, counted, pending) = (self.spans.clone(), self.counted, Arc::clone(&self.pending));
        Self {
            shelf,
            pending,
            registry,
            authority,
            secrets,
            audit,
            limits,
            running,
            spans,
            counted,
            under_way,
        }
    }

    /// What seals rounds of calls; the next configuration opens what this one sealed.
    pub(crate) fn seal(&self) -> Seal {
        self.authority.seal().clone()
    }

    /// Whether a call that began here is under way.
    pub(crate) fn is_busy(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }

    /// The longest that a call which has just begun can take.
    pub(crate) fn longest_call(&self) -> Duration {
        let call = Duration::from_millis(self.limits.call_timeout_ms.saturating_add(self.limits.grace_ms));
        call.saturating_add(self.authority.confirm().patience())
    }

    /// Tools that a caller may see, in a fixed order.
    pub(crate) fn visible<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.registry.entries().filter(|entry| self.authority.allows(caller, entry).is_ok())
    }

    /// Whether a caller may have a tool, a prompt or a resource.
    pub(crate) fn allows(&self, caller: &Caller, entry: &Entry) -> bool {
        self.authority.allows(caller, entry).is_ok()
    }

    /// Whose rights code has: those of the plugin with the tool that runs it.
    pub(crate) fn code_caller(&self) -> Option<Caller> {
        self.registry.code_plugin().map(|plugin| Caller::Plugin(Arc::clone(plugin)))
    }

    /// Keeps what did not fit into a result, secrets masked, for whom the call was made. Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be kept; the text tells why.
    fn keep(&self, origin: &str, text: String) -> std::io::Result<String> {
        self.shelf.keep(origin, &self.secrets.mask_text(text))
    }

    pub(crate) fn times(&self) -> Times {
        Times {
            call: Duration::from_millis(self.limits.call_timeout_ms),
            consent: self.authority.confirm().patience(),
            task_after: Duration::from_millis(self.limits.task_after_ms),
        }
    }

    /// Calls that wait for an operator, whatever the configuration becomes.
    pub(crate) fn pending(&self) -> &Arc<Pending> {
        &self.pending
    }

    /// Which consent a tool needs, and by which rule.
    pub(crate) fn consent_rule(&self, entry: &Entry) -> ConsentRule {
        self.authority.confirm().rule(entry)
    }

    /// Secrets hidden, for who is shown what a call does.
    pub(crate) fn mask(&self, text: String) -> String {
        self.secrets.mask_text(text)
    }

    /// Records a client that was not let in.
    pub(crate) fn record_rejected(&self, address: &str, reason: &str) {
        feed::publish(|| Event::Rejected { address, reason });
        let (address, reason) = (address.to_owned(), self.secrets.mask_text(reason.to_owned()));
        self.audit.event(audit::Event::Rejected { outcome: "unauthorised", address, reason });
    }

    /// Makes a call; whatever becomes of it is audited, also that its caller left before its end.
    pub(crate) async fn call(self: &Arc<Self>, mut request: Request) -> Result<Envelope, CallError> {
        let (begun, _under_way) = (Instant::now(), Arc::clone(&self.under_way));
        let _running = self.counted.then(|| Held::of(&METRICS.calls_running));
        let tool = std::mem::take(&mut request.tool);
        let trace_id = request.trace_id.get_or_insert_with(new_trace_id);
        let trace = Trace::begin(Arc::clone(trace_id), request.span_above);
        let context = Arc::new(self.context(&request, begun, trace));
        let entry = self.registry.find(request.item, &tool).cloned();
        let shown = self.secrets.mask_and_cut(Entry::shown(request.item, &tool), MAX_NAME_BYTES);
        let caller = request.caller.to_string();
        let span = info_span!("call", id = context.id, tool = shown, caller, trace = &*context.trace.id);
        let _ = context.log.set(span.clone());
        let mut account = Account {
            path: self,
            span: span.clone(),
            begun,
            trace: context.trace.clone(),
            entry: entry.clone(),
            room: Room::default(),
            record: Some(audit::Call {
                call: context.id,
                parent: request.parent.as_ref().map(|parent| parent.id),
                caller,
                transport: request.caller.transport(),
                origin: Some(Arc::clone(&request.origin)),
                request_id: request.request_id.take(),
                trace_id: request.trace_id.clone(),
                tool: shown,
                outcome: "abandoned",
                ..audit::Call::default()
            }),
        };
        account.room = self.audit.room(Duration::from_millis(self.limits.queue_timeout_ms)).await;
        let steps = self.steps(&tool, request, entry.as_deref(), &context, &mut account);
        let result = steps.instrument(span).await;
        // Runs that the call started end with it, whoever else still looks at it.
        context.cancel.cancel();
        let result = result.map_err(|error| self.masked(error));
        account.close(&result);
        if let Some(written) = account.write()
            && !written.await.unwrap_or(false)
            && self.audit.wants_all()
        {
            return Err(CallError::new(
                Kind::AuditFailed,
                "the call was made, but its record could not be written, and `audit.durability` wants it written first",
            ));
        }
        result.map(|done| done.envelope)
    }

    /// The steps in their order.
    async fn steps(
        &self,
        tool: &str,
        request: Request,
        entry: Option<&Entry>,
        context: &Arc<CallContext>,
        account: &mut Account<'_>,
    ) -> Result<Done, CallError> {
        let said = account.arguments();
        said.value = Value::Object(request.arguments);
        if !self.audit.allows_calls(&account.room) {
            return Err(CallError::new(
                Kind::AuditFailed,
                "calls are refused because the audit cannot be written (`audit.on_failure`); the operator has to make \
                 room or fix its path",
            )
            .by("audit.on_failure"));
        }
        if context.depth > 0 {
            context.bounds.count_call(&self.limits)?;
        }
        if request.item == ItemKind::Tool {
            context.bounds.allows(&request.caller, tool)?;
        }
        let entry = entry.ok_or_else(|| self.unknown(request.item, tool, &request.caller))?;
        self.authority.allows(&request.caller, entry)?;
        if context.depth > self.limits.call_depth {
            return Err(CallError::new(
                Kind::Limit,
                format!("tools call tools more than {} deep (`limits.call_depth`)", self.limits.call_depth),
            )
            .by("limits.call_depth"));
        }
        let said = account.arguments();
        said.bytes = entry.input.arguments(&said.value)?;
        let arguments = &account.arguments().bytes;
        if context.depth > 0 {
            context.bounds.count_bytes(arguments.len(), &self.limits)?;
        }
        let binding = confirm::binding(context, &request.caller, entry, arguments);
        if context.depth == 0 {
            context.dialog.open(self.authority.seal(), &binding).await?;
        }
        let body = self.agreed(&request.caller, entry, context, arguments).await;
        let body = match body {
            Err(error) if error.kind == Kind::InputRequired && context.depth == 0 => {
                let lifetime = self.authority.confirm().patience();
                context.dialog.end_round(self.authority.seal(), &binding, lifetime)?;
                return Err(error);
            }
            body => body?,
        };
        let checked = output::checked(&body, entry, &self.secrets, self.limits.max_result_bytes);
        if context.depth > 0 {
            let bytes = checked.as_ref().map_or(body.len(), |(_, bytes)| *bytes);
            context.bounds.count_bytes(bytes, &self.limits)?;
        }
        let (envelope, result_bytes) = checked?;
        Ok(Done { envelope, result_bytes })
    }

    /// Runs it, after whoever has to consent did.
    async fn agreed(
        &self,
        caller: &Caller,
        entry: &Entry,
        context: &Arc<CallContext>,
        arguments: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        let waited = self.consented(entry, caller, context, arguments).await?;
        // The time of a person is not the tool's.
        let later = (!waited.is_zero() && context.depth == 0).then(|| Arc::new(context.later(waited)));
        let context = later.as_ref().unwrap_or(context);
        let _turn = self.turn(entry, context).await?;
        match &entry.home {
            Home::Plugin(home) => self.run(entry, home, arguments, context).await,
            Home::Server(tool) => tool.answer(self, caller, context, arguments).await,
        }
    }

    fn context(self: &Arc<Self>, request: &Request, begun: Instant, trace: Trace) -> CallContext {
        if let (None, Some(progress)) = (&request.parent, &request.progress) {
            request.dialog.tell_through(Arc::clone(progress));
        }
        let own = begun + Duration::from_millis(self.limits.call_timeout_ms);
        let parent = request.parent.as_ref();
        let deadline = parent.map_or(own, |parent| parent.deadline.min(own));
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        let bounds = parent.map_or_else(|| Bounds::of(&request.caller), |parent| parent.bounds.clone());
        CallContext::new(Arc::downgrade(self), request, depth, deadline, bounds, trace)
    }

    fn unknown(&self, item: ItemKind, tool: &str, caller: &Caller) -> CallError {
        if item != ItemKind::Tool {
            return CallError::new(
                Kind::NotFound,
                format!("there is no {}", Entry::shown(item, &shortened(tool))),
            );
        }
        if let Some(plugin) = self.registry.stopped.get(tool) {
            let why = format!(
                "`{tool}` is not available: plugin `{plugin}` is not what the operator's lock pins, so it was not \
                 started; the operator sees what changed with `llmc plugin verify`"
            );
            return CallError::new(Kind::Denied, why).by("lock");
        }
        let names = self.visible(caller).map(|entry| entry.name.as_str());
        let tool = self.secrets.mask_and_cut(tool.to_owned(), MAX_NAME_BYTES);
        let nearest = nearest(&tool, names);
        let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        CallError::new(Kind::UnknownTool, format!("there is no tool `{tool}`{hint}"))
    }

    /// Whatever made the error, a caller's text or a plugin's, may hold a secret, and have any length.
    fn masked(&self, error: CallError) -> CallError {
        CallError { message: self.secrets.mask_and_cut(error.message, MAX_MESSAGE_BYTES), ..error }
    }

    /// Waits for a place among all calls and one among those of the plugin.
    ///
    /// Nobody waits for a place that a call above it holds: a nested call takes none among all calls, and in the plugin
    /// one of its own depth.
    async fn turn(&self, entry: &Entry, context: &CallContext) -> Result<Turn, CallError> {
        let wait = Duration::from_millis(self.limits.queue_timeout_ms);
        let begun = Instant::now();
        let until = (begun + wait).min(context.deadline);
        let both = async {
            let among_all = match context.depth {
                0 => Some(Arc::clone(&self.running).acquire_owned().await),
                _ => None,
            };
            let of_plugin = match &entry.home {
                Home::Plugin(home) => Some(home.plugin.worker(context.depth).await),
                Home::Server(_) => None,
            };
            // The semaphores live as long as the server and are never closed.
            (among_all.and_then(Result::ok), of_plugin.and_then(Result::ok))
        };
        tokio::select! {
            biased;
            places = tokio::time::timeout_at(until.into(), both) => match places {
                Ok((all, of_plugin)) => {
                    if self.counted {
                        METRICS.queue.observe(begun.elapsed());
                    }
                    Ok(Turn { _all: all, _of_plugin: of_plugin })
                }
                Err(_) => Err(CallError::new(
                    Kind::Busy,
                    format!(
                        "plugin `{}` is busy: no free worker within {} ms (`limits.workers_per_plugin`, \
                         `limits.concurrent_calls`); try again",
                        entry.owner(),
                        wait.as_millis()
                    ),
                )
                .by("limits.workers_per_plugin")),
            },
            () = context.cancel.cancelled() => Err(CallError::new(Kind::Cancelled, "the call was cancelled")),
        }
    }

    /// The plugin's host, which may have to be started first; that neither outlasts the call nor is cut short by it.
    async fn connection(&self, home: &OfPlugin, context: &CallContext) -> Result<Arc<Connection>, CallError> {
        if let Some(connection) = home.plugin.live() {
            return Ok(connection);
        }
        let (plugin, deadline) = (Arc::clone(&home.plugin), context.deadline);
        let starting = tokio::spawn(async move { plugin.connection(deadline).await });
        let failed = |error: String| CallError::new(Kind::PluginFailed, error);
        tokio::select! {
            started = starting => {
                started.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
            }
            () = context.cancel.cancelled() => Err(CallError::new(Kind::Cancelled, "the call was cancelled")),
            () = tokio::time::sleep_until(deadline.into()) => {
                Err(failed(format!("plugin `{}` was not started again in time", home.plugin.name())))
            }
        }
    }

    async fn run(
        &self,
        entry: &Entry,
        home: &OfPlugin,
        arguments: &[u8],
        context: &Arc<CallContext>,
    ) -> Result<Vec<u8>, CallError> {
        let plugin = home.plugin.name();
        let connection = self.connection(home, context).await?;
        connection.call(home.item, arguments, context).await.map_err(|failure| match failure {
            CallFailure::Tool(failure) => CallError::from_plugin(failure, &entry.name, plugin, |grant| {
                self.authority.advice(grant, plugin)
            }),
            CallFailure::Died(reason) => CallError::new(
                Kind::PluginFailed,
                format!("plugin `{plugin}` failed during the call: {reason}; it is started again for the next call"),
            ),
            CallFailure::TimedOut => CallError::new(
                Kind::TimedOut,
                format!("`{}` did not end within {} ms (`{CALL_TIMEOUT}`)", entry.name, self.limits.call_timeout_ms),
            )
            .by(CALL_TIMEOUT),
            CallFailure::Cancelled => CallError::new(Kind::Cancelled, "the call was cancelled"),
        })
    }
}

/// What the audit will say of a call; written when dropped, so that a call whose caller left is recorded too.
struct Account<'a> {
    path: &'a CallPath,
    begun: Instant,
    trace: Trace,
    span: tracing::Span,
    entry: Option<Arc<Entry>>,
    room: Room,
    /// Until it is written.
    record: Option<audit::Call>,
}

impl Account<'_> {
    /// Tells all who count or watch, but the audit.
    fn tell(&self, record: &audit::Call, took: Duration) {
        let audit::Call { outcome, result_bytes, caller, tool, .. } = record;
        let plugin = record.plugin.as_deref();
        let argument_bytes = record.arguments.bytes.len();
        if self.path.counted {
            let ended = Ended { outcome, duration: took, argument_bytes, result_bytes: *result_bytes };
            METRICS.call(self.entry.as_ref().map(|entry| &*entry.metrics), &ended);
            if let Some(Cow::Borrowed(rule)) = &record.rule
                && let Some(limit) = rule.strip_prefix("limits.")
            {
                METRICS.limit(limit);
            }
        }
        if let Some(spans) = self.path.spans.as_ref().filter(|_| self.trace.sampled()) {
            let (trace, ended) = (&self.trace, SystemTime::now());
            spans.send(&Span { trace, tool, plugin, caller, call: record.call, outcome, ended, took });
        }
        feed::publish(|| Event::Call {
            call: record.call,
            parent: record.parent,
            trace: &self.trace.id,
            caller,
            tool,
            plugin,
            outcome,
            reason: record.reason.as_deref(),
            argument_bytes,
            result_bytes: *result_bytes,
            duration_us: record.duration_us,
        });
    }

    fn close(&mut self, result: &Result<Done, CallError>) {
        let Some(record) = &mut self.record else { return };
        match result {
            Ok(done) => {
                record.outcome = if done.envelope.is_error { "tool_error" } else { "ok" };
                record.result_bytes = done.result_bytes;
                record.limits = limits_of(&done.envelope);
            }
            Err(error) => {
                record.outcome = error.kind.as_str();
                record.rule.clone_from(&error.rule);
                record.reason = Some(error.message.clone());
            }
        }
    }

    /// What the audit is told of the arguments.
    fn arguments(&mut self) -> &mut audit::Arguments {
        &mut self.record.get_or_insert_default().arguments
    }

    /// Writes it, once; the answer tells that it is on the disk, where somebody waits for that.
    fn write(&mut self) -> Option<tokio::sync::oneshot::Receiver<bool>> {
        let mut record = self.record.take()?;
        let plugin = self.entry.as_ref().and_then(|entry| entry.plugin());
        record.plugin = plugin.map(|plugin| Arc::clone(plugin.name()));
        record.plugin_sha256 = plugin.and_then(|plugin| plugin.library.sha256());
        let took = self.begun.elapsed();
        record.duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let span = self.span.clone();
        let _here = span.enter();
        self.tell(&record, took);
        self.path.audit.call(record, std::mem::take(&mut self.room))
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        // Nobody is left to wait for it.
        let _ = self.write();
    }
}

/// Limits that a run reached, as tools that run something tell them.
fn limits_of(envelope: &Envelope) -> Vec<String> {
    let Some(Value::Object(result)) = &envelope.structured else { return Vec::new() };
    let one = result.get("limit").and_then(Value::as_str);
    let more = result.get("limits_reached").and_then(Value::as_array).into_iter().flatten();
    one.into_iter().chain(more.filter_map(Value::as_str)).take(MAX_LIMITS).map(shortened).collect()
}

/// A name as it was sent, cut to what can be one: callers choose it, and it is shown and recorded.
fn shortened(tool: &str) -> String {
    tool[..tool.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

/// A place to run in; given back when dropped.
struct Turn {
    _all: Option<OwnedSemaphorePermit>,
    _of_plugin: Option<OwnedSemaphorePermit>,
}
