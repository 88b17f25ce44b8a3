//! What only the server may do for a plugin: call another tool, hand out a secret, run a program, ask the client.
//!
//! Each of these is judged by the grants of the plugin that asks, whoever called it.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use llmc_core::manifest::ItemKind;
use llmc_core::run::{RunRequest, RunSignal, RunStarted};
use llmc_core::{CallableTool, Questions, code, op};
use llmc_wire::host::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::shelf::MAX_TEXT_BYTES;
use super::{CallPath, Caller, Parent, Request};
use crate::audit::{Audit, Event};
use crate::config::{Config, Grants};
use crate::plugin::connection::failure;
use crate::plugin::{Answer, CallContext, Services};
use crate::runner::{HostNumber, Runs};
use crate::secret::Secrets;

/// Longest name or reason that goes into a record, in bytes.
const MAX_RECORDED_BYTES: usize = 1024;

/// Answers the requests of all plugins.
pub(crate) struct Hub {
    secrets: Arc<Secrets>,
    /// What each plugin is granted.
    grants: BTreeMap<String, Grants>,
    runs: Option<Arc<Runs>>,
    audit: Audit,
}

#[derive(Deserialize)]
struct CallTool {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    /// The only tools that this plugin wants to reach here and below, however many it is granted.
    within: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A piece of a text to be kept.
#[derive(Deserialize)]
struct Keep {
    text: String,
    last: bool,
}

#[derive(Deserialize)]
struct OfRun {
    run: u64,
}

#[derive(Deserialize)]
struct EndRun {
    run: u64,
    /// Sent to every process of the run, which may go on; without one it is ended.
    signal: Option<RunSignal>,
}

impl Hub {
    pub(crate) fn new(config: &Config, secrets: Arc<Secrets>, runs: Option<Arc<Runs>>, audit: Audit) -> Self {
        Self { secrets, grants: config.grants(), runs, audit }
    }

    fn call_tool(&self, plugin: &str, context: &Arc<CallContext>, body: &[u8]) -> Result<Request, Failure> {
        let CallTool { name, arguments, within } = parsed(body)?;
        let bounds = match within {
            Some(tools) => context.bounds.narrowed(plugin, tools),
            None => context.bounds.clone(),
        };
        Ok(Request {
            caller: Caller::Plugin(plugin.into()),
            origin: Arc::clone(&context.origin),
            item: ItemKind::Tool,
            tool: name,
            arguments,
            request_id: None,
            trace_id: Some(Arc::clone(&context.trace.id)),
            cancel: context.cancel.clone(),
            progress: None,
            dialog: Arc::clone(&context.dialog),
            span_above: Some(context.trace.below()),
            parent: Some(Parent { id: context.id, depth: context.depth, deadline: context.deadline, bounds }),
        })
    }

    fn secret(&self, plugin: &str, context: &CallContext, body: &[u8]) -> Answer {
        let Named { name } = parsed(body)?;
        let granted = self.grants.get(plugin).cloned().unwrap_or_default();
        let value = self.secrets.get(&name).filter(|_| granted.secrets.contains(&name));
        let recorded = self.audit.event(Event::Secret {
            outcome: if value.is_some() { "ok" } else { "denied" },
            call: Some(context.id),
            plugin: plugin.to_owned(),
            secret: self.secrets.mask_and_cut(name.clone(), MAX_RECORDED_BYTES),
        });
        let Some(value) = value else {
            let line = granted.line_with(plugin, |grants| grants.secrets.push(name.clone()));
            let message = format!(
                "plugin `{plugin}` is not granted secret `{name}`; to allow it, add it to [secrets] and write {line}"
            );
            return Err(failure(code::DENIED, message));
        };
        if !recorded {
            let message = "no secret is handed out while the audit cannot be written (`audit.on_failure`)";
            return Err(failure(code::FAILED, message));
        }
        Ok((json!({ "value": value }).to_string().into_bytes(), Vec::new()))
    }

    /// Takes a piece of a text, and keeps the text after its last piece.
    async fn keep(&self, context: &CallContext, body: &[u8]) -> Answer {
        let Keep { text, last } = parsed(body)?;
        if context.cancel.is_cancelled() {
            return Err(failure(code::CANCELLED, "the call was cancelled: nobody would learn the handle"));
        }
        let text = {
            let mut draft = context.draft.lock().unwrap_or_else(PoisonError::into_inner);
            draft.push_str(&text);
            if draft.len() > MAX_TEXT_BYTES {
                *draft = String::new();
                let message = format!("nothing longer than {MAX_TEXT_BYTES} bytes is kept for `read_more`");
                return Err(failure(code::LIMIT, message));
            }
            last.then(|| std::mem::take(&mut *draft))
        };
        let Some(text) = text else { return json_answer(&json!({"kept": null})) };
        let path = context.path.upgrade().ok_or_else(over)?;
        let origin = Arc::clone(&context.origin);
        let kept = tokio::task::spawn_blocking(move || path.keep(&origin, text)).await;
        match kept.map_err(std::io::Error::other).flatten() {
            Ok(handle) => json_answer(&json!({"kept": handle})),
            Err(error) => Err(failure(code::FAILED, format!("the output cannot be kept: {error}"))),
        }
    }

    async fn run(
        &self,
        plugin: &str,
        host: Option<HostNumber>,
        request: RunRequest,
        context: &Arc<CallContext>,
    ) -> Result<(RunStarted, Vec<OwnedFd>), Failure> {
        let runs = self.runs(plugin, &request.program)?;
        let host = host.unwrap_or_else(|| runs.host_number(plugin));
        runs.start(plugin, host, request, context).await
    }

    fn record_run<T>(
        &self,
        plugin: &str,
        call: u64,
        program: String,
        started: &Result<(RunStarted, T), Failure>,
    ) {
        let (outcome, run, reason) = match started {
            Ok((started, _)) => ("started", Some(started.run), None),
            Err(refused) => {
                let reason = self.secrets.mask_and_cut(refused.message.clone(), MAX_RECORDED_BYTES);
                (if refused.code == code::DENIED { "denied" } else { "failed" }, None, Some(reason))
            }
        };
        let plugin = plugin.to_owned();
        self.audit.event(Event::Run { outcome, call: Some(call), plugin, program, run, reason });
    }

    /// Asks the client.
    async fn ask(&self, context: &CallContext, body: &[u8]) -> Answer {
        let Questions { mut ask } = parsed(body)?;
        for question in ask.values_mut() {
            self.secrets.mask_value(&mut question.params);
        }
        let answers = tokio::select! {
            answers = context.dialog.ask(ask, context.depth) => answers,
            () = context.cancel.cancelled() => return Err(failure(code::CANCELLED, "the call was cancelled")),
        };
        json_answer(&answers.map_err(|error| error.to_plugin())?)
    }

    /// All runs; without any, the plugin learns how it would be granted `program`.
    fn runs(&self, plugin: &str, program: &str) -> Result<&Arc<Runs>, Failure> {
        let granted = self.grants.get(plugin).cloned().unwrap_or_default();
        self.runs.as_ref().ok_or_else(|| crate::runner::not_granted(plugin, &granted, program))
    }
}

impl Services for Arc<Hub> {
    fn serve(
        &self,
        plugin: &str,
        context: Option<Arc<CallContext>>,
        op: u32,
        body: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (hub, plugin) = (Arc::clone(self), plugin.to_owned());
        let host = hub.runs.as_ref().map(|runs| runs.host_number(&plugin));
        Box::pin(async move {
            let context = || context.as_ref().ok_or_else(over);
            match op {
                op::CALL_TOOL => {
                    let request = hub.call_tool(&plugin, context()?, &body)?;
                    let path = context()?.path.upgrade().ok_or_else(over)?;
                    let envelope = path.call(request).await.map_err(|error| error.to_plugin())?;
                    json_answer(&envelope)
                }
                op::SECRET => hub.secret(&plugin, context()?, &body),
                op::TOOLS => {
                    let path = context()?.path.upgrade().ok_or_else(over)?;
                    json_answer(&callable(&path, &plugin, context()?))
                }
                op::KEEP => hub.keep(context()?, &body).await,
                op::RUN => {
                    let request: RunRequest = parsed(&body)?;
                    let program = hub.secrets.mask_and_cut(request.program.clone(), MAX_RECORDED_BYTES);
                    let started = hub.run(&plugin, host, request, context()?).await;
                    hub.record_run(&plugin, context()?.id, program, &started);
                    let (started, fds) = started?;
                    let (body, _) = json_answer(&started)?;
                    Ok((body, fds))
                }
                op::RUN_WAIT => {
                    let OfRun { run } = parsed(&body)?;
                    json_answer(&hub.runs(&plugin, "")?.wait(&plugin, run).await?)
                }
                op::RUN_KILL => {
                    let EndRun { run, signal } = parsed(&body)?;
                    match signal {
                        None | Some(RunSignal::Kill) => hub.runs(&plugin, "")?.kill(&plugin, run)?,
                        Some(signal) => hub.runs(&plugin, "")?.signal(&plugin, run, signal)?,
                    }
                    json_answer(&Value::Null)
                }
                op::ASK => hub.ask(context()?, &body).await,
                op::CLIENT => {
                    let context = context()?;
                    json_answer(&context.dialog.client(context.depth))
                }
                op::CALLER => {
                    let context = context()?;
                    json_answer(&json!({ "caller": &*context.origin, "trace_id": &*context.trace.id }))
                }
                _ => Err(failure(
                    code::UNSUPPORTED,
                    format!("this server does not know operation {op}; use a newer llmc"),
                )),
            }
        })
    }

    fn host_ended(&self, plugin: &str) {
        if let Some(runs) = &self.runs {
            runs.end_all(plugin);
        }
    }
}

/// What a plugin is told about the tools that it may call.
fn callable(path: &CallPath, plugin: &str, context: &CallContext) -> Vec<CallableTool> {
    let caller = Caller::Plugin(plugin.into());
    path.visible(&caller)
        .filter(|entry| context.bounds.allows(&caller, &entry.name).is_ok())
        .map(|entry| CallableTool {
            name: entry.name.clone(),
            title: entry.title.clone(),
            description: entry.description.clone(),
            input_schema: entry.input_schema.clone(),
            output_schema: entry.output_schema.clone(),
        })
        .collect()
}

fn over() -> Failure {
    failure(code::CANCELLED, "the call is over")
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| failure(code::PROTOCOL, format!("the request cannot be read: {error}")))
}

fn json_answer(value: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| failure(code::PROTOCOL, error.to_string()))?;
    Ok((body, Vec::new()))
}
