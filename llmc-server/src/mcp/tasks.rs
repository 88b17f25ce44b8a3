//! Calls that outlast the request that made them: the tasks extension (SEP-2663), for clients that offer it.
//!
//! A call of a tool that usually takes long begins as a task; any other becomes one when it takes longer than
//! `limits.task_after_ms`. A task can be asked for, answered and cancelled by the client that made the call, by a
//! handle of 122 random bits; to anybody else there is no such task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmc_core::ask::{Client, Question};
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, CancelTaskParams, CreateTaskResult, GetTaskParams, GetTaskResult, UpdateTaskParams,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{asking, convert};
use crate::call::{Asker, Asking, CallError, CallPath, Dialog, Kind, Request, Unanswered};
use crate::plugin::Progress;

/// How long the result of a task is kept at least.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// How often a client should ask.
const POLL_INTERVAL_MS: u64 = 500;

/// Tasks of one client, and of all, ended ones that are kept included; calls beyond them are none.
const MAX_OF_CLIENT: usize = 64;
const MAX_OF_ALL: usize = 512;

/// A call under way.
pub(super) type Call = JoinHandle<Result<llmc_core::Envelope, CallError>>;

/// All tasks, whatever the configuration becomes.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    manager: TaskManager,
    owners: Arc<Mutex<HashMap<String, Owner>>>,
}

struct Owner {
    origin: Arc<str>,
    /// When the manager has forgotten the task at the latest.
    until: Instant,
}

impl Tasks {
    /// Begins a call as a task. Gives it back if there are too many.
    pub(super) fn begin(
        &self,
        path: &Arc<CallPath>,
        mut request: Request,
        client: Client,
    ) -> Result<CreateTaskResult, Box<Request>> {
        if !self.has_room(&request.origin) {
            return Err(Box::new(request));
        }
        let (path, origin, cancel) =
            (Arc::clone(path), Arc::clone(&request.origin), CancellationToken::new());
        request.cancel = cancel.clone();
        Ok(self.add(origin, lifetime(&path), |task| {
            request.dialog = Dialog::live(client, Arc::new(InTask(task.clone())));
            request.progress = Some(Arc::new(Status(task.clone())));
            let call = tokio::spawn(async move { path.call(request).await });
            (call, cancel)
        }))
    }

    /// Goes on with a call as a task. Gives it back if there are too many.
    pub(super) fn go_on(
        &self,
        call: Call,
        cancel: CancellationToken,
        path: &CallPath,
        origin: &Arc<str>,
        dialog: &Dialog,
    ) -> Result<CreateTaskResult, Call> {
        if !self.has_room(origin) {
            return Err(call);
        }
        Ok(self.add(Arc::clone(origin), lifetime(path), |task| {
            dialog.go_on_live(Arc::new(InTask(task.clone())));
            dialog.tell_through(Arc::new(Status(task.clone())));
            (call, cancel)
        }))
    }

    fn add(
        &self,
        origin: Arc<str>,
        lifetime: Duration,
        call: impl FnOnce(&TaskContext) -> (Call, CancellationToken),
    ) -> CreateTaskResult {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let options = TaskOptions::new().with_ttl_ms(lifetime_ms).with_poll_interval_ms(POLL_INTERVAL_MS);
        let task = self.manager.spawn(options, |task| {
            let (call, cancel) = call(&task);
            Box::pin(outcome(task, call, cancel))
        });
        // A task is forgotten a lifetime after its end, which is a lifetime after its beginning at the latest.
        let until = Instant::now() + lifetime * 2;
        self.lock().insert(task.task_id.clone(), Owner { origin, until });
        CreateTaskResult::new(task)
    }

    pub(super) fn get(&self, origin: &str, params: &GetTaskParams) -> Result<GetTaskResult, ErrorData> {
        self.owned(origin, &params.task_id)?;
        self.manager.get_task(&params.task_id).map(GetTaskResult::new).map_err(|_| unknown())
    }

    pub(super) fn update(&self, origin: &str, params: UpdateTaskParams) -> Result<(), ErrorData> {
        self.owned(origin, &params.task_id)?;
        // What is no object is no answer.
        let answers = params.input_responses.into_iter().filter(|(_, answer)| answer.is_object());
        self.manager.update_task(&params.task_id, answers).map_err(|_| unknown())
    }

    pub(super) fn cancel(&self, origin: &str, params: &CancelTaskParams) -> Result<(), ErrorData> {
        self.owned(origin, &params.task_id)?;
        self.manager.cancel_task(&params.task_id).map_err(|_| unknown())
    }

    fn owned(&self, origin: &str, task: &str) -> Result<(), ErrorData> {
        let is_owner = |owner: &Owner| &*owner.origin == origin;
        self.lock().get(task).is_some_and(is_owner).then_some(()).ok_or_else(unknown)
    }

    fn has_room(&self, origin: &Arc<str>) -> bool {
        let mut owners = self.lock();
        let now = Instant::now();
        owners.retain(|_, owner| owner.until > now);
        let of_client = owners.values().filter(|owner| owner.origin == *origin).count();
        of_client < MAX_OF_CLIENT && owners.len() < MAX_OF_ALL
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From a task's beginning to its end at the latest, and on to when it is forgotten.
fn lifetime(path: &CallPath) -> Duration {
    let times = path.times();
    times.call + times.consent + KEPT
}

/// What a client is told of a task that it does not have, whether there is such a task or not.
fn unknown() -> ErrorData {
    ErrorData::invalid_params("there is no such task, or no longer", None)
}

/// Waits for the call of a task, and cancels it when the client wants that.
async fn outcome(
    task: TaskContext,
    mut call: Call,
    cancel: CancellationToken,
) -> Result<CallToolResult, TaskExit> {
    // A task that expires is dropped.
    let _cancelled_with_this = cancel.clone().drop_guard();
    let ended = tokio::select! {
        ended = &mut call => ended,
        () = task.cancelled() => {
            cancel.cancel();
            call.await
        }
    };
    let failed = |message: String| TaskExit::Error(ErrorData::internal_error(message, None));
    match ended.map_err(|error| failed(error.to_string()))? {
        Ok(envelope) => Ok(convert::result(envelope)),
        Err(error) => match error.kind {
            Kind::Cancelled => Err(TaskExit::Cancelled),
            Kind::UnknownTool | Kind::InvalidState => {
                Err(TaskExit::Error(ErrorData::invalid_params(error.message, None)))
            }
            Kind::PluginFailed | Kind::InvalidResult | Kind::AuditFailed | Kind::InputRequired => {
                Err(failed(error.message))
            }
            _ => Ok(convert::failure(&error)),
        },
    }
}

/// Asks the client when it asks for the task.
struct InTask(TaskContext);

impl Asker for InTask {
    fn ask(&self, key: &str, question: Question) -> Asking {
        let (task, key) = (self.0.clone(), key.to_owned());
        Box::pin(async move {
            let request = asking::request(question).map_err(Unanswered::Failed)?;
            task.request_input(key, request).await.map_err(|exit| match exit {
                TaskExit::Cancelled => Unanswered::Failed("the task was cancelled".to_owned()),
                TaskExit::Error(error) => Unanswered::Failed(error.message.into_owned()),
            })
        })
    }
}

/// Shows the words of progress as the status of a task.
struct Status(TaskContext);

impl Progress for Status {
    fn report(&self, _done: f64, _total: Option<f64>, message: Option<String>) {
        if let Some(message) = message {
            self.0.set_status_message(message);
        }
    }

    fn say(&self, message: String) {
        self.0.set_status_message(message);
    }

    fn log(&self, _level: &str, _message: &str) {}
}
