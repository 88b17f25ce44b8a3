//! Python by monty, which has a part of the language and of its library; for machines without CPython.
//!
//! What it lacks is told in words that name a way out (`lacks.rs`, `special.rs`). `from llmc import tools` works
//! (`imports.rs`): tools take arguments by name and return plain values; they are found with `tools.search` and
//! `tools.describe` (`own.rs`). `ToolError` is `RuntimeError` under another name, since monty has no classes of
//! exceptions beyond the built-in ones.
//!
//! monty counts time and memory itself; the latter only where [`crate::Allocator`] is the program's global allocator.

mod catalogue;
mod convert;
mod cpython;
mod imports;
mod lacks;
mod own;
mod special;
mod system;

use std::borrow::Cow;
use std::rc::Rc;

use monty::{MontyRepl, ReplFunctionCall, ReplProgress, ReplStartError};
use monty_types::{
    CodeLoc, CompileOptions, ExcType, ExtFunctionResult, MontyException, MontyObject, PrintWriter,
    PrintWriterCallback, ResourceLimits, ResourceTracker,
};

use crate::job::{CallError, Host, Job};
use crate::report::{Raised, Report, Shown};
use crate::{Prepared, Spent};

/// What tells the interpreter in results.
pub const ENGINE: &str = "monty 0.0.23 (Python subset)";

/// File name of the code in tracebacks.
const NAME: &str = "<code>";
/// Before the name of a tool, in the name of the function that stands for it.
const TOOL: &str = "tools.";
/// The same of a function of the module.
const MODULE: &str = "llmc.";
/// Beginnings of what monty says when a limit is reached.
const TIME_IS_OVER: &str = "time limit exceeded";
const MEMORY_IS_USED_UP: &str = "memory limit exceeded";

/// Gets the interpreter ready. It starts within microseconds; what takes longer is that the kernel brings in the memory
/// that it needs, for which any code will do.
pub fn prepare() -> Prepared {
    let mut repl =
        MontyRepl::new(NAME, ResourceTracker::new(ResourceLimits::default()), CompileOptions::default());
    // What comes of it is of no interest.
    let _ = repl.feed_run("1", imports::inputs(), PrintWriter::Disabled);
    Box::new(|streams, limits| {
        crate::job::run(ENGINE, streams, limits, |host, job| Machine::new(host).execute(job))
    })
}

/// The interpreter around one job.
struct Machine {
    host: Rc<Host>,
    /// The tools, as they came with the job.
    tools: Option<String>,
    print: Print,
    /// Lines of standard input that `input` has not taken.
    lines_taken: usize,
    /// What the last tool that failed said.
    last_failure: Option<String>,
}

/// Why a function of ours has no value.
enum Refusal {
    /// It was called in a wrong way.
    Wrong(String),
    /// The tool refused or failed, or was not asked.
    Failed(String),
    /// The run is over.
    Over,
}

type Step = Result<ReplProgress, Box<ReplStartError>>;

impl Machine {
    fn new(host: &Rc<Host>) -> Self {
        let (host, print) = (host.clone(), Print(host.clone()));
        Self { host, tools: None, print, lines_taken: 0, last_failure: None }
    }

    fn execute(mut self, job: &Job) -> Report {
        if let Some((what, line)) = special::first_ignored(&job.code) {
            return Report { error: Some(refused(&what, line)), ..Report::default() };
        }
        self.tools.clone_from(&job.tools);
        let repl = MontyRepl::new(NAME, ResourceTracker::new(self.limits()), CompileOptions::default());
        let code = imports::rewrite(&job.code);
        let inputs = imports::inputs();
        let mut step = repl.feed_start(&code, inputs, PrintWriter::Callback(&mut self.print));
        let (mut repl, value, error) = loop {
            match step {
                Ok(ReplProgress::Complete { repl, value }) => break (repl, value, None),
                Ok(progress) => step = self.go_on(progress),
                Err(failed) => break (failed.repl, MontyObject::None, Some(failed.error)),
            }
        };
        let mut report = Report::default();
        if let Some(error) = error {
            report.exit_code = exit_code(&error);
            if report.exit_code != Some(0) {
                report.error = Some(self.describe(&error, &job.code));
            }
        }
        report.value = show(&value).or_else(|| {
            // After a limit there is nothing left to look with.
            let named = repl.feed_run("result", Vec::new(), PrintWriter::Disabled).ok()?;
            show(&named)
        });
        report
    }

    fn limits(&self) -> ResourceLimits {
        let limits = ResourceLimits::default().max_duration(self.host.clock.wall_left());
        let bytes = self.host.limits.heap_bytes();
        match monty_alloc::set_limit(Some(bytes), false) {
            Ok(()) => limits.max_memory(bytes),
            // Another allocator does not count; the jail does.
            Err(_) => limits,
        }
    }

    /// Gives the code what it waits for.
    fn go_on(&mut self, progress: ReplProgress) -> Step {
        match progress {
            ReplProgress::FunctionCall(call) => self.call(call),
            ReplProgress::NameLookup(lookup) => {
                let is_public = !lookup.name.starts_with('_');
                let name = match lookup.object_id() {
                    Some(id) if id == imports::module_id() => own::FUNCTIONS
                        .contains(&lookup.name.as_str())
                        .then(|| format!("{MODULE}{}", lookup.name)),
                    Some(_) if is_public => Some(format!("{TOOL}{}", lookup.name)),
                    None if system::FUNCTIONS.contains(&lookup.name.as_str()) => Some(lookup.name.clone()),
                    _ => None,
                };
                let found = name.map(|name| MontyObject::Function { name, docstring: None }).into();
                lookup.resume(found, PrintWriter::Callback(&mut self.print))
            }
            ReplProgress::OsCall(call) => {
                call.resume_with(PrintWriter::Callback(&mut self.print), system::answer)
            }
            ReplProgress::ResolveFutures(waiting) => {
                let message = "the code awaits something that nothing will ever settle".to_owned();
                let error = MontyException::new(ExcType::RuntimeError, Some(message));
                Err(Box::new(ReplStartError { repl: waiting.into_repl(), error }))
            }
            complete @ ReplProgress::Complete { .. } => Ok(complete),
        }
    }

    fn call(&mut self, call: ReplFunctionCall) -> Step {
        let name = call.function_name.as_str();
        let of_tools = call.object_id.map_or_else(|| name.strip_prefix(TOOL), |_| Some(name));
        let of_module = match call.object_id {
            Some(id) => (id == imports::module_id()).then_some(name),
            None => name.strip_prefix(MODULE),
        };
        let answer = match (of_module, of_tools) {
            (Some(function), _) => self.answer(own::of_module(&self.host, function, &call)),
            (None, Some(tool)) => self.answer(self.call_tool(tool, &call)),
            (None, None) if system::FUNCTIONS.contains(&name) => {
                Some(system::call(name, &call.args, self.host.input(), &mut self.lines_taken))
            }
            // A name that nothing in the code defines.
            (None, None) => Some(ExtFunctionResult::NotFound(name.to_owned())),
        };
        let print = PrintWriter::Callback(&mut self.print);
        match answer {
            Some(answer) => call.resume(answer, print),
            None => {
                call.abort(MontyException::new(ExcType::TimeoutError, Some(TIME_IS_OVER.to_owned())), print)
            }
        }
    }

    /// `None` when the run is over.
    fn answer(&mut self, result: Result<MontyObject, Refusal>) -> Option<ExtFunctionResult> {
        let (kind, message) = match result {
            Ok(value) => return Some(value.into()),
            Err(Refusal::Over) => return None,
            Err(Refusal::Wrong(message)) => (ExcType::TypeError, message),
            Err(Refusal::Failed(message)) => {
                self.last_failure = Some(message.clone());
                (ExcType::RuntimeError, message)
            }
        };
        Some(MontyException::new(kind, Some(message)).into())
    }

    fn call_tool(&self, name: &str, asked: &ReplFunctionCall) -> Result<MontyObject, Refusal> {
        let (name, args) = match (name, asked.args.split_first()) {
            ("search", _) => return own::search(self.tools.as_deref(), asked),
            ("describe", _) => return own::describe(self.tools.as_deref(), asked),
            ("call", Some((MontyObject::String(name), rest))) => (name.as_str(), rest),
            (name, _) => (name, &asked.args[..]),
        };
        if !args.is_empty() {
            return Err(Refusal::Wrong(format!("tools.{name} takes its arguments by name")));
        }
        let Some(arguments) = convert::arguments(&asked.kwargs) else {
            return Err(Refusal::Wrong(format!("tools.{name}: the arguments cannot be written as JSON")));
        };
        call(&self.host, name, &arguments)
    }

    fn describe(&self, error: &MontyException, code: &str) -> Raised {
        let message = error.message().unwrap_or_default();
        let (shown, line) = place(error);
        let traceback = Some(shown.to_string());
        match error.exc_type() {
            ExcType::TimeoutError if message.starts_with(TIME_IS_OVER) && self.is_over() => {
                let spent = self.host.clock.spent().unwrap_or(Spent::Wall);
                return Raised::limit(spent, traceback.as_deref(), line);
            }
            ExcType::MemoryError if message.starts_with(MEMORY_IS_USED_UP) => {
                self.host.clock.note(Spent::Memory);
                return Raised::limit(Spent::Memory, traceback.as_deref(), line);
            }
            _ => {}
        }
        let is_tools =
            error.exc_type() == ExcType::RuntimeError && self.last_failure.as_deref() == Some(message);
        let kind = if is_tools { "llmc.ToolError".to_owned() } else { error.exc_type().to_string() };
        let message = match lacks::explain(error.exc_type(), message, code) {
            Some(explained) => Cow::Owned(explained),
            None => Cow::Borrowed(message),
        };
        Raised::new(&kind, &message, traceback.as_deref(), line)
    }

    /// monty's clock and ours differ by less than this check takes.
    fn is_over(&self) -> bool {
        self.host.clock.check().is_some() || self.host.clock.wall_left().is_zero()
    }
}

/// Calls a tool; `arguments` is JSON.
fn call(host: &Host, name: &str, arguments: &str) -> Result<MontyObject, Refusal> {
    match host.call(name, arguments) {
        Ok(value) => convert::from_json(&value)
            .ok_or_else(|| Refusal::Failed(format!("the result of `{name}` is too deep"))),
        Err(CallError::Tool(failure)) => Err(Refusal::Failed(failure.message)),
        Err(CallError::NotMade(message)) => Err(Refusal::Failed(message)),
        Err(CallError::Over) => Err(Refusal::Over),
    }
}

/// The error of code that is not run.
fn refused(what: &str, line: u64) -> Raised {
    let (kind, message) = ("NotImplementedError", lacks::sentence(what, None));
    let traceback =
        format!("Traceback (most recent call last):\n  File \"{NAME}\", line {line}\n{kind}: {message}");
    Raised::new(kind, &message, Some(&traceback), Some(line))
}

/// The error with frames that name the code as callers know it, and the innermost line.
fn place(error: &MontyException) -> (MontyException, Option<u64>) {
    let mut frames = error.traceback().to_vec();
    for frame in &mut frames {
        frame.filename = NAME.to_owned();
    }
    let line = frames.last().map(|frame| {
        let CodeLoc { line, .. } = frame.start;
        line.into()
    });
    let shown = MontyException::with_traceback(error.exc_type(), error.message().map(str::to_owned), frames);
    (shown, line)
}

/// What `exit(x)` and `raise SystemExit(x)` mean to a shell.
fn exit_code(error: &MontyException) -> Option<i32> {
    if error.exc_type() != ExcType::SystemExit {
        return None;
    }
    Some(match error.message() {
        None | Some("" | "None") => 0,
        Some(text) => text.parse::<i32>().map_or(1, |code| code & 0xff),
    })
}

fn show(value: &MontyObject) -> Option<Shown> {
    match value {
        MontyObject::None => None,
        value => Some(match convert::to_json(value) {
            Some(json) => Shown::json(json),
            None => Shown::repr(&value.py_repr()),
        }),
    }
}

/// Where `print` writes to. The interpreter calls [`PrintWriterCallback::poll_flush`] every now and then.
struct Print(Rc<Host>);

impl PrintWriterCallback for Print {
    fn stdout_write(&mut self, output: Cow<'_, str>) -> Result<(), MontyException> {
        self.0.stdout.print(&output);
        Ok(())
    }

    fn stdout_push(&mut self, end: char) -> Result<(), MontyException> {
        self.0.stdout.print(end.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn poll_flush(&mut self) -> Result<(), MontyException> {
        match self.0.clock.check() {
            Some(_) => Err(MontyException::new(ExcType::TimeoutError, Some(TIME_IS_OVER.to_owned()))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
