//! Answers requests from plain values, in the form in which the real host answers them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use llmc_abi::{code, op};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Progress;
use super::program::{Program, Running};
use crate::ask::Question;
use crate::host::Host;
use crate::run::{RunFile, RunRequest, RunSignal, RunStarted};
use crate::{Access, Client, Envelope, Level, Questions, RootEntry, ToolError, ToolResult};

type PlayedTool = Box<dyn Fn(Value) -> ToolResult<Envelope> + Send + Sync>;

#[derive(Default)]
pub(super) struct FakeHost {
    pub(super) config: Value,
    pub(super) state: Option<PathBuf>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) tools: BTreeMap<String, PlayedTool>,
    pub(super) programs: BTreeMap<String, Program>,
    pub(super) logs: Mutex<Vec<(Level, String)>>,
    pub(super) progress: Mutex<Vec<Progress>>,
    pub(super) kept: Mutex<Vec<String>>,
    pub(super) client: Client,
    pub(super) answers: BTreeMap<String, Value>,
    pub(super) asked: Mutex<BTreeMap<String, Question>>,
    draft: Mutex<String>,
    pub(super) caller: Mutex<String>,
    roots: Vec<RootEntry>,
    calls: AtomicU64,
    cancelled: AtomicBool,
    runs: Mutex<Vec<Arc<Running>>>,
    kits: Mutex<BTreeMap<String, Vec<RunFile>>>,
}

impl FakeHost {
    pub(super) fn add_root(&mut self, name: &str, path: &Path, access: Access, dir: File) {
        // Never closed: a plugin's directories stay open for as long as its process lives.
        let fd = dir.into_raw_fd();
        let (name, path) = (name.to_owned(), path.to_owned());
        self.roots.push(RootEntry { name, path, access, protected: Vec::new(), fd });
    }

    pub(super) fn roots(&self) -> &[RootEntry] {
        &self.roots
    }

    pub(super) fn protect(&mut self, entries: &[&str]) {
        for root in &mut self.roots {
            root.protected.extend(entries.iter().map(|entry| (*entry).to_owned()));
        }
    }

    pub(super) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn call_tool(&self, body: &[u8]) -> ToolResult<Envelope> {
        #[derive(Deserialize)]
        struct Body {
            name: String,
            arguments: Value,
            within: Option<Vec<String>>,
        }
        let Body { name, arguments, within } = serde_json::from_slice(body)?;
        if within.is_some_and(|tools| !tools.contains(&name)) {
            return Err(ToolError::denied(format!("`{name}` is not within the tools of this call")));
        }
        match self.tools.get(&name) {
            Some(play) => play(arguments),
            None => Err(ToolError::denied(format!("the harness has no tool `{name}`"))),
        }
    }

    fn secret(&self, body: &[u8]) -> ToolResult<Value> {
        #[derive(Deserialize)]
        struct Body {
            name: String,
        }
        let Body { name } = serde_json::from_slice(body)?;
        match self.secrets.get(&name) {
            Some(value) => Ok(json!({"value": value})),
            None => Err(ToolError::denied(format!("the harness has no secret `{name}`"))),
        }
    }

    fn log(&self, body: &[u8]) -> ToolResult<()> {
        #[derive(Deserialize)]
        struct Body {
            level: Level,
            message: String,
        }
        let Body { level, message } = serde_json::from_slice(body)?;
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push((level, message));
        Ok(())
    }

    fn report(&self, body: &[u8]) -> ToolResult<()> {
        #[derive(Deserialize)]
        struct Body {
            done: f64,
            total: Option<f64>,
            #[serde(default)]
            message: String,
        }
        let Body { done, total, message } = serde_json::from_slice(body)?;
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).push(Progress { done, total, message });
        Ok(())
    }

    /// The handle is the place in the list.
    fn keep(&self, body: &[u8]) -> ToolResult<Value> {
        #[derive(Deserialize)]
        struct Body {
            text: String,
            last: bool,
        }
        let Body { text, last } = serde_json::from_slice(body)?;
        let mut draft = self.draft.lock().unwrap_or_else(PoisonError::into_inner);
        draft.push_str(&text);
        if !last {
            return Ok(json!({"kept": null}));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(std::mem::take(&mut *draft));
        Ok(json!({"kept": (kept.len() - 1).to_string()}))
    }

    fn run(&self, body: &[u8]) -> ToolResult<RunStarted> {
        let mut request: RunRequest = serde_json::from_slice(body)?;
        self.unpack(&mut request)?;
        let Some(program) = self.programs.get(&request.program).cloned() else {
            return Err(ToolError::denied(format!("the harness has no program `{}`", request.program)));
        };
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let (running, started) = Running::start(runs.len() as u64, program, request)?;
        runs.push(Arc::new(running));
        Ok(started)
    }

    fn end_or_signal(&self, body: &[u8]) -> ToolResult<()> {
        #[derive(Deserialize)]
        struct Body {
            signal: Option<RunSignal>,
        }
        let Body { signal } = serde_json::from_slice(body)?;
        let run = self.running(body)?;
        match signal {
            None | Some(RunSignal::Kill) => run.kill(),
            Some(signal) => run.signal(signal),
        }
        Ok(())
    }

    /// As the server does with newer clients: what has no answer yet ends the call.
    fn ask(&self, body: &[u8]) -> ToolResult<BTreeMap<String, Value>> {
        let Questions { ask } = serde_json::from_slice(body)?;
        if let Some(question) = ask.values().find(|question| !self.client.can(&question.method)) {
            let message = format!("the harness has no client that knows `{}`", question.method);
            return Err(ToolError::new(code::CLIENT_LACKS, message));
        }
        let keys: Vec<String> = ask.keys().cloned().collect();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).extend(ask);
        let answer = |key: String| self.answers.get(&key).map(|answer| (key, answer.clone()));
        let answers: Option<_> = keys.into_iter().map(answer).collect();
        answers.ok_or_else(|| ToolError::new(code::INPUT_REQUIRED, "the client is being asked"))
    }

    fn caller(&self) -> String {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the files of a kit, or puts them in.
    fn unpack(&self, request: &mut RunRequest) -> ToolResult<()> {
        let Some(kit) = request.kit.take() else { return Ok(()) };
        let mut kits = self.kits.lock().unwrap_or_else(PoisonError::into_inner);
        if !request.files.is_empty() {
            kits.insert(kit, request.files.clone());
            return Ok(());
        }
        let unknown = || ToolError::new(code::UNKNOWN_ITEM, format!("the harness has no kit `{kit}`"));
        request.files = kits.get(&kit).ok_or_else(unknown)?.clone();
        Ok(())
    }

    fn running(&self, body: &[u8]) -> ToolResult<Arc<Running>> {
        #[derive(Deserialize)]
        struct Body {
            run: usize,
        }
        let Body { run } = serde_json::from_slice(body)?;
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(run).cloned().ok_or_else(|| ToolError::failed(format!("there is no run {run}")))
    }
}

impl Host for FakeHost {
    fn request(&self, _call: u64, op: u32, body: &[u8]) -> ToolResult<Vec<u8>> {
        match op {
            op::LOG => json(self.log(body)?),
            op::PROGRESS => json(self.report(body)?),
            op::CANCELLED => json(json!({"cancelled": self.cancelled.load(Ordering::Relaxed)})),
            op::CALL_TOOL => json(self.call_tool(body)?),
            op::SECRET => json(self.secret(body)?),
            op::KEEP => json(self.keep(body)?),
            op::RUN => json(self.run(body)?),
            op::RUN_WAIT => json(self.running(body)?.wait()),
            op::RUN_KILL => json(self.end_or_signal(body)?),
            op::ASK => json(self.ask(body)?),
            op::CLIENT => json(self.client),
            op::CALLER => json(json!({"caller": self.caller()})),
            op::ROOTS => json(&self.roots),
            op::CONFIG => json(&self.config),
            op::STATE => json(self.state.as_ref().map(|path| json!({"path": path}))),
            op::TOOLS => {
                let mut names: Vec<&String> = self.tools.keys().collect();
                names.sort();
                json(names.iter().map(|name| json!({"name": name})).collect::<Value>())
            }
            unknown => {
                Err(ToolError::new(code::UNSUPPORTED, format!("the harness does not know op {unknown}")))
            }
        }
    }
}

fn json(answer: impl Serialize) -> ToolResult<Vec<u8>> {
    Ok(serde_json::to_vec(&answer)?)
}
