//! One live host: calls go out, results and requests come in.
//!
//! Every byte from a host is hostile. A frame that is too large or of an unknown kind, a result for a call that is
//! not under way, and too many open requests end the host; the parser never trusts a length.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use llmc_core::{code, op};
use llmc_wire::host::{ERROR, Failure, Init, LoadFailed, OK, Ready, from_host, to_host};
use llmc_wire::{Decoder, Header};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{debug, error, info, trace, warn};

use super::stderr::{Rate, printable};
use super::{CallContext, Services};
use crate::audit::Audit;
use crate::console::feed::{self, Event};
use crate::outbox::Outbox;
use crate::plugin::spawn::{Process, Spawned};
use crate::secret::Secrets;
use crate::socket::Socket;

/// Room that a frame needs beside a result: the host's errors and requests are small.
const FRAME_MARGIN: usize = 64 << 10;

/// Requests of one host that may wait for their answer at the same time; one more ends it.
const MAX_REQUESTS: usize = 256;

/// Bytes of all requests of one host that wait for their answer; more end it.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Questions whether a host is there that wait for their answer.
const MAX_PINGS: usize = 8;

/// How long stderr of a host may stay open after its end.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(100);

/// Longest reason of a host not to start, in bytes; a person reads it in a terminal.
const MAX_REFUSAL_BYTES: usize = 1024;

/// Longest log message of a plugin that is shown whole, in bytes.
const MAX_LOG_BYTES: usize = 4096;

/// What a connection needs from around it.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) plugin: Arc<str>,
    pub(crate) audit: Audit,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) max_result_bytes: usize,
    pub(crate) grace: Duration,
    pub(crate) log_lines_per_second: u32,
}

/// Why a call did not get a result.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The plugin answered with an error.
    Tool(Failure),
    /// The host ended while the call ran.
    Died(Arc<str>),
    /// The deadline passed.
    TimedOut,
    /// The caller withdrew.
    Cancelled,
}

/// A live host.
pub(crate) struct Connection {
    socket: Arc<Socket>,
    outbox: Outbox,
    process: Process,
    state: Mutex<State>,
    settings: Settings,
    waiting: Waiting,
    log_rate: Mutex<Rate>,
    /// Ends with stderr, and tells the last line of it.
    last_words: Mutex<Option<JoinHandle<Option<String>>>>,
}

#[derive(Default)]
struct State {
    calls: HashMap<u64, Pending>,
    /// Those who asked whether the host is there, in their order.
    pings: VecDeque<oneshot::Sender<()>>,
    /// Why no more calls are accepted.
    closed: Option<Arc<str>>,
}

struct Pending {
    done: oneshot::Sender<Result<Vec<u8>, CallFailure>>,
    context: Arc<CallContext>,
}

impl Connection {
    /// Sends the host its policy and waits until it is jailed and its plugin loaded.
    ///
    /// # Errors
    ///
    /// A sentence that says what the host or the plugin did instead.
    pub(crate) async fn open(
        spawned: Spawned,
        init: &Init,
        fds: &[BorrowedFd<'_>],
        settings: Settings,
        timeout: Duration,
    ) -> Result<(Arc<Self>, Ready), String> {
        let Spawned { process, socket, stderr } = spawned;
        let source = Arc::clone(&settings.plugin);
        let secrets = Arc::clone(&settings.secrets);
        let stderr = super::stderr::forward(stderr, source, secrets, settings.log_lines_per_second);
        let last_words = Mutex::new(Some(tokio::spawn(stderr)));
        let socket = Socket::new(socket).map(Arc::new).map_err(|error| error.to_string())?;
        let mut decoder = Decoder::new(settings.max_result_bytes.max(4 << 20) + FRAME_MARGIN);
        let log_rate = Mutex::new(Rate::new(settings.log_lines_per_second));
        let connection = Arc::new(Self {
            outbox: Outbox::new(Arc::clone(&socket)),
            socket,
            process,
            state: Mutex::default(),
            settings,
            waiting: Waiting::default(),
            log_rate,
            last_words,
        });
        let payload = serde_json::to_vec(init).map_err(|error| error.to_string())?;
        let header = Header { kind: to_host::INIT, ..Header::default() };
        let greeting = async {
            connection.outbox.send(header, &payload, fds).map_err(|_| None)?;
            connection.first_frame(&mut decoder).await
        };
        let ready = match tokio::time::timeout(timeout, greeting).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(Some(message))) => {
                connection.bury().await;
                return Err(message);
            }
            Ok(Err(None)) => {
                let end = connection.bury().await;
                return Err(format!("its host {end} while loading `{}`", init.library.display()));
            }
            Err(_) => {
                connection.process.kill();
                connection.bury().await;
                let (library, ms) = (init.library.display(), timeout.as_millis());
                return Err(format!(
                    "`{library}` did not finish loading within {ms} ms (`limits.load_timeout_ms`)"
                ));
            }
        };
        tokio::spawn(Arc::clone(&connection).read(decoder));
        Ok((connection, ready))
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().closed.is_none()
    }

    /// Whether the host answers at all.
    pub(crate) async fn answers(&self) -> bool {
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed.is_some() || state.pings.len() >= MAX_PINGS {
                return false;
            }
            state.pings.push_back(sender);
        }
        let ping = Header { kind: to_host::PING, ..Header::default() };
        self.outbox.send(ping, &[], &[]).is_ok() && answer.await.is_ok()
    }

    /// Ends the host; calls under way fail with `reason`, and calls from now on get a new host.
    pub(crate) fn kill(&self, reason: &str) {
        let reason: Arc<str> = format!("its host was ended because {reason}").into();
        self.state().closed.get_or_insert(reason);
        self.process.kill();
    }

    /// Runs item `item` and waits for its result, its deadline or its cancellation.
    ///
    /// A call that does not end within the grace after that costs its host.
    pub(crate) async fn call(
        self: &Arc<Self>,
        item: u16,
        arguments: &[u8],
        context: &Arc<CallContext>,
    ) -> Result<Vec<u8>, CallFailure> {
        let (done, mut result) = oneshot::channel();
        let calls = self.register(context, done)?;
        let mut abandoned = Abandon { connection: self, call: Some(context.id) };
        let left = context.deadline.saturating_duration_since(std::time::Instant::now());
        let header = Header {
            kind: to_host::CALL,
            code: item,
            call: context.id,
            seq: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            ..Header::default()
        };
        // A failed send means that the host is gone; the reader says how.
        let _ = match calls {
            1 => self.outbox.send(header, arguments, &[]),
            _ => self.outbox.send_with_others(header, arguments),
        };
        let over = tokio::select! {
            biased;
            result = &mut result => {
                abandoned.call = None;
                return result.unwrap_or_else(|_| Err(self.died()));
            }
            () = context.cancel.cancelled() => CallFailure::Cancelled,
            () = tokio::time::sleep_until(context.deadline.into()) => CallFailure::TimedOut,
        };
        abandoned.call = None;
        self.cancel(context.id);
        match tokio::time::timeout(self.settings.grace, result).await {
            // What the tool could save, such as partial output, is better than nothing.
            Ok(Ok(Ok(body))) if matches!(over, CallFailure::TimedOut) => Ok(body),
            Ok(_) => Err(over),
            Err(_) => {
                self.kill("one of its calls did not end when it was told to");
                Err(over)
            }
        }
    }

    fn cancel(&self, call: u64) {
        // A host that is gone has cancelled everything.
        let _ = self.outbox.send(Header { kind: to_host::CANCEL, call, ..Header::default() }, &[], &[]);
    }

    /// Returns how many calls are under way now.
    fn register(
        &self,
        context: &Arc<CallContext>,
        done: oneshot::Sender<Result<Vec<u8>, CallFailure>>,
    ) -> Result<usize, CallFailure> {
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(CallFailure::Died(Arc::clone(reason)));
        }
        state.calls.insert(context.id, Pending { done, context: Arc::clone(context) });
        Ok(state.calls.len())
    }

    fn died(&self) -> CallFailure {
        CallFailure::Died(self.state().closed.clone().unwrap_or_else(|| "its host ended".into()))
    }

    /// The host's greeting; `None` when it ended instead.
    async fn first_frame(&self, decoder: &mut Decoder) -> Result<Ready, Option<String>> {
        loop {
            // A host that floods must not keep the thread.
            tokio::task::coop::consume_budget().await;
            if let Some((header, payload)) = decoder.next_frame().map_err(|error| Some(error.to_string()))? {
                let unreadable = |error| Some(format!("its host sent an unreadable greeting: {error}"));
                match header.kind {
                    from_host::READY => return serde_json::from_slice(payload).map_err(unreadable),
                    from_host::LOAD_FAILED => {
                        let failed: LoadFailed = serde_json::from_slice(payload).map_err(unreadable)?;
                        let message = self.settings.secrets.mask_and_cut(failed.message, MAX_REFUSAL_BYTES);
                        return Err(Some(printable(message.as_bytes())));
                    }
                    // Constructors of the plugin may log.
                    from_host::REQUEST if header.seq == 0 => self.on_notice(header, payload),
                    kind => return Err(Some(format!("its host greeted with message kind {kind}"))),
                }
                continue;
            }
            if self.fill(decoder).await.map_err(|_| None)? == 0 {
                return Err(None);
            }
        }
    }

    /// Plain reads: descriptors that a host tries to push are dropped by the kernel, see `unix(7)`.
    async fn fill(&self, decoder: &mut Decoder) -> io::Result<usize> {
        let count = self.socket.receive(|fd| Ok(rustix::io::read(fd, decoder.space())?)).await?;
        decoder.filled(count);
        Ok(count)
    }

    async fn read(self: Arc<Self>, mut decoder: Decoder) {
        let violation = loop {
            // A host that floods must not keep the thread.
            tokio::task::coop::consume_budget().await;
            match decoder.next_frame() {
                Ok(Some((header, payload))) => {
                    if let Err(violation) = self.on_frame(header, payload) {
                        break Some(violation);
                    }
                }
                Ok(None) => {
                    decoder.shrink();
                    if !matches!(self.fill(&mut decoder).await, Ok(1..)) {
                        break None;
                    }
                }
                Err(error) => break Some(error.to_string()),
            }
        };
        if let Some(violation) = violation {
            warn!(plugin = %self.settings.plugin, violation, "host broke the protocol and is ended");
            self.kill(&format!("it broke the protocol: {violation}"));
        }
        self.bury().await;
    }

    /// Waits for the process to end, then fails the calls that were under way.
    async fn bury(self: &Arc<Self>) -> String {
        let connection = Arc::clone(self);
        let end = tokio::task::spawn_blocking(move || connection.process.reap()).await;
        let end = end.unwrap_or_else(|error| error.to_string());
        let end = self.with_last_words(end).await;
        self.settings.services.host_ended(&self.settings.plugin);
        let calls = {
            let mut state = self.state();
            let calls_lost = state.calls.len();
            let reason = state.closed.get_or_insert_with(|| format!("its host {end}").into());
            match calls_lost {
                0 => debug!(plugin = %self.settings.plugin, %reason, "host ended"),
                calls => warn!(plugin = %self.settings.plugin, %reason, calls, "host ended during calls"),
            }
            state.pings.clear();
            std::mem::take(&mut state.calls)
        };
        for pending in calls.into_values() {
            // Without a receiver the caller has left.
            let _ = pending.done.send(Err(self.died()));
        }
        end
    }

    /// Adds what the host said on stderr right before its end.
    async fn with_last_words(&self, end: String) -> String {
        let Some(stderr) = lock(&self.last_words).take() else { return end };
        let words = tokio::time::timeout(LAST_WORDS_TIMEOUT, stderr).await;
        match words.ok().and_then(Result::ok).flatten() {
            Some(words) if words.starts_with("memory allocation of") => {
                format!("{end} after \"{words}\" (`limits.host_memory_bytes`)")
            }
            Some(words) => format!("{end} after \"{words}\""),
            None => end,
        }
    }

    fn on_frame(self: &Arc<Self>, header: Header, payload: &[u8]) -> Result<(), String> {
        trace!(plugin = %self.settings.plugin, kind = header.kind, call = header.call, bytes = payload.len());
        match header.kind {
            from_host::DONE => {
                let unknown = || format!("a result for call {}, which is not under way", header.call);
                let pending = self.state().calls.remove(&header.call).ok_or_else(unknown)?;
                // Without a receiver the caller has left.
                let _ = pending.done.send(result(header.code, payload));
                Ok(())
            }
            from_host::REQUEST if header.seq == 0 => {
                self.on_notice(header, payload);
                Ok(())
            }
            from_host::REQUEST => self.on_request(header, payload),
            from_host::PONG => {
                let asked =
                    self.state().pings.pop_front().ok_or("an answer to a question that nobody asked")?;
                // Who asked may have lost patience.
                let _ = asked.send(());
                Ok(())
            }
            kind => Err(format!("message kind {kind}")),
        }
    }

    /// A request that wants no answer: log or progress.
    fn on_notice(&self, header: Header, payload: &[u8]) {
        match u32::from(header.code) {
            op::LOG => {
                let context = self.context(header.call);
                let span = context.as_ref().and_then(|context| context.log.get());
                match span {
                    Some(span) => span.in_scope(|| self.on_log(header.call, payload)),
                    None => self.on_log(header.call, payload),
                }
            }
            op::PROGRESS => {
                let Some(context) = self.context(header.call) else { return };
                let Some(sink) = &context.progress else { return };
                if let Ok(Progressed { done, total, message }) = serde_json::from_slice(payload) {
                    let message = message.map(|text| self.settings.secrets.mask_and_cut(text, MAX_LOG_BYTES));
                    sink.report(done, total, message);
                }
            }
            _ => {}
        }
    }

    fn on_log(&self, call: u64, payload: &[u8]) {
        let Some(dropped) = lock(&self.log_rate).pass() else { return };
        let Ok(Logged { level, message }) = serde_json::from_slice(payload) else { return };
        let plugin = &self.settings.plugin;
        if dropped > 0 {
            warn!(%plugin, dropped, "log lines over the rate were dropped");
        }
        let message = printable(self.settings.secrets.mask_and_cut(message, MAX_LOG_BYTES).as_bytes());
        feed::publish(|| Event::Log { plugin, level: &level, message: &message });
        if let Some(sink) = self.context(call).and_then(|context| context.progress.clone()) {
            sink.log(&level, &message);
        }
        match level.as_str() {
            "error" => error!(%plugin, "{message}"),
            "warn" => warn!(%plugin, "{message}"),
            "info" => info!(%plugin, "{message}"),
            _ => debug!(%plugin, "{message}"),
        }
    }

    /// A request that waits for an answer; the answer is worked out beside the reader.
    fn on_request(self: &Arc<Self>, header: Header, payload: &[u8]) -> Result<(), String> {
        // An honest host waits for its answers; memory and tasks of the server are not at its disposal.
        let place = Place::take(self, payload.len()).ok_or("too many requests wait for their answer")?;
        let context = self.context(header.call);
        let Settings { services, plugin, .. } = &self.settings;
        // Called here, before the end of this host can be noticed; only the answer may take time.
        let answer = services.serve(plugin, context, u32::from(header.code), payload.to_vec());
        tokio::spawn(async move {
            let answer = answer.await;
            let connection = &place.connection;
            let (code, body, fds) = match answer {
                Ok((body, fds)) => (OK, body, fds),
                Err(failure) => (ERROR, serde_json::to_vec(&failure).unwrap_or_default(), Vec::new()),
            };
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(OwnedFd::as_fd).collect();
            let reply = Header { kind: to_host::REPLY, code, ..header };
            // A host that is gone needs no answer.
            let _ = connection.outbox.send(reply, &body, &fds);
        });
        Ok(())
    }

    fn context(&self, call: u64) -> Option<Arc<CallContext>> {
        self.state().calls.get(&call).map(|pending| Arc::clone(&pending.context))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// Requests that wait for their answer.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place among [`Waiting`]; given back when dropped.
struct Place {
    connection: Arc<Connection>,
    bytes: usize,
}

impl Place {
    fn take(connection: &Arc<Connection>, bytes: usize) -> Option<Self> {
        let waiting = &connection.waiting;
        let count = waiting.count.fetch_add(1, Ordering::Relaxed);
        let before = waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let place = Self { connection: Arc::clone(connection), bytes };
        (count < MAX_REQUESTS && before + bytes <= MAX_REQUEST_BYTES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.waiting.count.fetch_sub(1, Ordering::Relaxed);
        self.connection.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Tells the host when the caller's future is dropped before the call ended.
struct Abandon<'a> {
    connection: &'a Connection,
    call: Option<u64>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.connection.cancel(call);
        }
    }
}

#[derive(Deserialize)]
struct Logged {
    level: String,
    message: String,
}

#[derive(Deserialize)]
struct Progressed {
    done: f64,
    total: Option<f64>,
    message: Option<String>,
}

fn result(code: u16, payload: &[u8]) -> Result<Vec<u8>, CallFailure> {
    if code == OK {
        return Ok(payload.to_vec());
    }
    let unreadable = |_| failure(code::PROTOCOL, "the plugin host sent an unreadable error");
    Err(CallFailure::Tool(serde_json::from_slice(payload).unwrap_or_else(unreadable)))
}

pub(crate) fn failure(code: i32, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into(), data: None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
