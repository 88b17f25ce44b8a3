//! What the plugin can ask for: the one function that it is given, and the answers to it.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{ROption, RResult, RSlice, RString, RVec};
use llmc_abi::{CallResult, Host, HostRef, ToolError, code, op};
use llmc_wire::Header;
use llmc_wire::host::{ERROR, Failure, Init, OK, from_host};
use llmc_wire::socket::Sender;
use serde_json::{Value, json};

/// Longest log line, progress report or error of a plugin in bytes of JSON; the server shows less.
const MAX_NOTICE_BYTES: usize = 256 << 10;

static BRIDGE: OnceLock<Arc<Bridge>> = OnceLock::new();

/// The vtable that plugins get; it lives as long as the process.
const HOST: &WithMetadata<Host> = &WithMetadata::new(Host { request });
pub(crate) const HOST_REF: HostRef = HostRef(HOST.static_as_prefix());

/// Everything that a request needs.
pub(crate) struct Bridge {
    sender: Sender,
    /// Answers that do not change while the process lives, as JSON.
    roots: Vec<u8>,
    state: Vec<u8>,
    config: Vec<u8>,
    max_result_bytes: usize,
    next_seq: AtomicU64,
    /// Requests under way, by their number.
    waiting: Mutex<HashMap<u64, SyncSender<Reply>>>,
    /// Calls under way, and whether they were cancelled.
    calls: Mutex<HashMap<u64, Arc<AtomicBool>>>,
    /// Directories stay open for as long as the plugin may use their numbers.
    _directories: Vec<OwnedFd>,
}

/// The server's answer to a request.
struct Reply {
    ok: bool,
    body: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Bridge {
    /// Sets up the only bridge of this process. `directories` are those of the roots, and then that of the state, if
    /// it is granted; each is reached by path below `descriptors`.
    pub(crate) fn install(
        init: Init,
        directories: Vec<OwnedFd>,
        descriptors: &str,
        sender: Sender,
    ) -> Arc<Self> {
        let listed: Vec<Value> = init
            .roots
            .iter()
            .zip(&directories)
            .map(|(root, dir)| {
                let access = if root.writable { "rw" } else { "ro" };
                json!({
                    "name": root.name,
                    "path": root.path,
                    "access": access,
                    "protected": init.protected_paths,
                    "fd": dir.as_raw_fd(),
                })
            })
            .collect();
        let state = directories.last().filter(|_| init.state);
        let state = state.map(|dir| json!({"path": format!("{descriptors}/{}", dir.as_raw_fd())}));
        let bridge = Self {
            sender,
            state: Value::from(state).to_string().into_bytes(),
            roots: Value::from(listed).to_string().into_bytes(),
            config: init.config.to_string().into_bytes(),
            max_result_bytes: usize::try_from(init.max_result_bytes).unwrap_or(usize::MAX),
            next_seq: AtomicU64::new(1),
            waiting: Mutex::default(),
            calls: Mutex::default(),
            _directories: directories,
        };
        Arc::clone(BRIDGE.get_or_init(|| Arc::new(bridge)))
    }

    /// A call begins.
    pub(crate) fn begin(&self, call: u64) {
        locked(&self.calls).insert(call, Arc::default());
    }

    /// The caller no longer wants `call`; its tool can see that from now on.
    pub(crate) fn cancel(&self, call: u64) {
        if let Some(cancelled) = locked(&self.calls).get(&call) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// A call ended. Its result is sent with [`Bridge::flush`] at the latest.
    pub(crate) fn finish(&self, call: u64, result: Result<Vec<u8>, ToolError>) {
        locked(&self.calls).remove(&call);
        let (code, payload) = match result {
            Ok(body) if body.len() > self.max_result_bytes => (ERROR, encode(&self.too_large(body.len()))),
            Ok(body) => (OK, body),
            Err(error) => (ERROR, encode(&failure(error))),
        };
        let header = Header { kind: from_host::DONE, code, call, ..Header::default() };
        survive(self.sender.send_later(header, &payload));
    }

    /// Sends the results of calls that have ended.
    pub(crate) fn flush(&self) {
        survive(self.sender.flush());
    }

    /// The server asked whether anybody is there.
    pub(crate) fn pong(&self) {
        survive(self.sender.send(Header { kind: from_host::PONG, ..Header::default() }, b"", &[]));
    }

    /// The server answered request `seq`.
    pub(crate) fn reply(&self, seq: u64, ok: bool, body: Vec<u8>, fds: Vec<OwnedFd>) {
        if let Some(waiting) = locked(&self.waiting).remove(&seq) {
            // The asking thread is gone only if the plugin ended it.
            let _ = waiting.send(Reply { ok, body, fds });
        }
    }

    fn request(&self, call: u64, op: u32, body: &[u8]) -> CallResult {
        match op {
            op::CANCELLED => {
                success(json!({ "cancelled": self.is_cancelled(call) }).to_string().into_bytes())
            }
            op::ROOTS => success(self.roots.clone()),
            op::STATE => success(self.state.clone()),
            op::CONFIG => success(self.config.clone()),
            op::LOG | op::PROGRESS => {
                // Nobody reads more of a line, and the server takes a larger frame for an attack.
                if body.len() <= MAX_NOTICE_BYTES {
                    self.ask(call, op, 0, body);
                }
                success(b"null".to_vec())
            }
            op::CALL_TOOL
            | op::SECRET
            | op::RUN
            | op::RUN_WAIT
            | op::RUN_KILL
            | op::TOOLS
            | op::KEEP
            | op::CALLER
            | op::ASK
            | op::CLIENT => self.round_trip(call, op, body),
            _ => {
                error(code::UNSUPPORTED, &format!("this host does not know operation {op}; use a newer llmc"))
            }
        }
    }

    fn round_trip(&self, call: u64, op: u32, body: &[u8]) -> CallResult {
        // The server takes a larger frame for an attack.
        if body.len() > self.max_result_bytes {
            let message =
                format!("the request has {} bytes, the limit is {} bytes", body.len(), self.max_result_bytes);
            return error(code::LIMIT, &message);
        }
        let seq = self.next_seq.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = sync_channel(1);
        locked(&self.waiting).insert(seq, answer);
        self.ask(call, op, seq, body);
        match answered.recv() {
            Ok(reply) if reply.ok => success(with_descriptors(reply.body, reply.fds)),
            Ok(reply) => RResult::RErr(tool_error(&reply.body)),
            Err(_) => error(code::PROTOCOL, "the server closed the connection"),
        }
    }

    fn ask(&self, call: u64, op: u32, seq: u64, body: &[u8]) {
        let Ok(code) = u16::try_from(op) else { return };
        let header = Header { kind: from_host::REQUEST, code, call, seq, ..Header::default() };
        survive(self.sender.send(header, body, &[]));
    }

    fn is_cancelled(&self, call: u64) -> bool {
        // A thread that outlived its call has nothing left to do either.
        locked(&self.calls).get(&call).is_none_or(|cancelled| cancelled.load(Ordering::Relaxed))
    }

    fn too_large(&self, len: usize) -> Failure {
        let message = format!(
            "the result has {len} bytes, the limit is {} bytes (`limits.max_result_bytes`)",
            self.max_result_bytes
        );
        Failure { code: code::LIMIT, message, data: None }
    }
}

/// Without the server there is nothing left to serve.
fn survive(sent: std::io::Result<()>) {
    if let Err(error) = sent {
        eprintln!("llmc-host: lost the server: {error}");
        std::process::exit(1);
    }
}

/// The function in the vtable.
extern "C" fn request(call: u64, op: u32, body: RSlice<'_, u8>) -> CallResult {
    let answer = std::panic::catch_unwind(|| match BRIDGE.get() {
        Some(bridge) => bridge.request(call, op, body.as_slice()),
        None => error(code::UNSUPPORTED, "a plugin cannot ask for anything before it is loaded"),
    });
    answer.unwrap_or_else(|_| error(code::PROTOCOL, "the plugin host panicked; its log tells where"))
}

/// Replaces the positions of descriptors in the answer to a run request by their numbers in this process.
fn with_descriptors(body: Vec<u8>, fds: Vec<OwnedFd>) -> Vec<u8> {
    if fds.is_empty() {
        return body;
    }
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(&body) else { return body };
    let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
    for name in ["stdin", "stdout", "stderr", "pty", "job"] {
        let position = answer.get(name).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
        let fd = position.and_then(|at| fds.get_mut(at)).and_then(Option::take);
        if let Some(fd) = fd {
            // From here on the number belongs to the plugin, which closes it.
            answer.insert(name.to_owned(), fd.into_raw_fd().into());
        }
    }
    Value::Object(answer).to_string().into_bytes()
}

fn success(body: Vec<u8>) -> CallResult {
    RResult::ROk(RVec::from(body))
}

fn error(code: i32, message: &str) -> CallResult {
    RResult::RErr(ToolError { code, message: RString::from(message), data: ROption::RNone })
}

fn tool_error(body: &[u8]) -> ToolError {
    match serde_json::from_slice::<Failure>(body) {
        Ok(failure) => ToolError {
            code: failure.code,
            message: RString::from(failure.message),
            data: failure.data.map(|data| RVec::from(data.to_string().into_bytes())).into(),
        },
        Err(_) => ToolError {
            code: code::PROTOCOL,
            message: RString::from("the server sent an unreadable error"),
            data: ROption::RNone,
        },
    }
}

fn failure(error: ToolError) -> Failure {
    let data = error.data.into_option().filter(|data| data.len() <= MAX_NOTICE_BYTES);
    let mut message = error.message.into_string();
    message.truncate(message.floor_char_boundary(MAX_NOTICE_BYTES));
    Failure { code: error.code, message, data: data.and_then(|data| serde_json::from_slice(&data).ok()) }
}

fn encode(failure: &Failure) -> Vec<u8> {
    serde_json::to_vec(failure).unwrap_or_default()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn positions_become_numbers_of_this_process() {
        let (reader, writer) = io::pipe().unwrap();
        let numbers = (reader.as_raw_fd(), writer.as_raw_fd());
        let answer = with_descriptors(
            br#"{"run":7,"stdout":0,"stderr":1,"wall_ms":5}"#.to_vec(),
            vec![reader.into(), writer.into()],
        );
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, json!({"run": 7, "stdout": numbers.0, "stderr": numbers.1, "wall_ms": 5}));
    }

    #[test]
    fn a_position_without_descriptor_is_left_alone() {
        let (reader, _writer) = io::pipe().unwrap();
        let answer = with_descriptors(br#"{"stdout":5}"#.to_vec(), vec![reader.into()]);
        assert_eq!(answer, br#"{"stdout":5}"#);
    }

    #[test]
    fn unreadable_errors_stay_errors() {
        assert_eq!(tool_error(b"{").code, code::PROTOCOL);
        let denied = Failure { code: code::DENIED, message: "no".into(), data: Some(json!({"a": 1})) };
        assert_eq!(failure(tool_error(&encode(&denied))), denied);
    }
}
