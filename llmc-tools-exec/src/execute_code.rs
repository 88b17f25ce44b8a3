//! `execute_code`.

use llmc_core::CallableTool;
use llmc_core::prelude::*;
use llmc_core::run::{RunRequest, RunStatus};
use llmc_core::schema;
use llmc_tools_watch::{Cut, Limits, Watched, watch, words};

use crate::crew::CallRecord;
use crate::files::{InputFile, OmittedFile, ReturnedFile, check_inputs, check_patterns, omitted};
use crate::limits::{
    DEFAULT_OUTPUT_BYTES, DEFAULT_TIMEOUT_MS, HARD_OUTPUT_BYTES, MAX_CODE_BYTES, MAX_OUTPUT_BYTES,
    MAX_STDIN_BYTES, MIN_OUTPUT_BYTES,
};
use crate::line::End;
use crate::report::{Raised, Report, Reported};
use crate::session::{Heard, Session, Terms, job_frame};

/// What runs inside the jail. `boot.py` comes first and loads the others when they are needed.
const FILES: [(&str, &str); 4] = [
    ("boot.py", include_str!("python/boot.py")),
    ("tools.py", include_str!("python/tools.py")),
    ("files.py", include_str!("python/files.py")),
    ("errors.py", include_str!("python/errors.py")),
];

/// Runs Python or JavaScript in a jail without network and returns what it prints, the value of its last expression
/// (or of the variable `result`), and its error with line and traceback. The code can call the server's other tools:
/// `from llmc import tools`, then `tools.read_file(path="notes.md")["text"]`; arguments go by name, results are
/// dicts, failures raise `llmc.ToolError`; `tools.search("words")` and `tools.describe("NAME")` tell of them. In
/// JavaScript `tools` is a global: `tools.read_file({path: "notes.md"}).text`. The standard library, and packages only
/// if the operator granted some; scratch files go to /tmp; nothing is kept between calls. One call that loops over
/// tools and prints a summary beats many calls.
#[arguments]
pub struct ExecuteCode {
    /// The code. `await` works at the top level.
    code: String,
    /// Language of the code: python (3.9 or newer; a subset on machines without it, where `engine` is monty) or javascript
    /// (no modules, no files). Default: python.
    #[serde(default)]
    language: Language,
    /// Text for its standard input. Default: none.
    stdin: Option<String>,
    /// Longest time in milliseconds, tool calls included. Default: 30000. Cut to what the operator allows.
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
    /// Bytes to keep of stdout and of stderr, 100 to 1048576. Default: 65536. Beyond it the middle is left out.
    #[schemars(range(min = MIN_OUTPUT_BYTES, max = MAX_OUTPUT_BYTES))]
    max_output_bytes: Option<u32>,
    /// Files to put into /tmp first.
    #[serde(default)]
    files: Vec<InputFile>,
    /// Globs below /tmp, as in `out/**/*.csv`, of files to return.
    #[serde(default)]
    return_files: Vec<String>,
    /// The only tools that the code may call. Default: all that are granted.
    tools: Option<Vec<String>>,
}

/// A language that code can be written in.
#[arguments]
#[derive(Clone, Copy, Debug, Default)]
#[serde(rename_all = "lowercase")]
enum Language {
    #[default]
    Python,
    Javascript,
}

/// What the code did. Output, result and error are the code's word; the rest was observed from outside.
#[output(custom_text)]
pub struct Executed {
    /// Standard output.
    stdout: String,
    /// Standard error.
    stderr: String,
    /// Value of the last expression, or of the variable `result`, if it can be written as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// The value in the language's own notation if it cannot be written as JSON or is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_repr: Option<String>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// What the code passed to `sys.exit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The tools that it called, the first hundred of them.
    tool_calls: Vec<CallRecord>,
    /// How many more it called.
    #[serde(skip_serializing_if = "is_zero")]
    tool_calls_omitted: usize,
    /// How many of all calls failed.
    #[serde(skip_serializing_if = "is_zero")]
    tool_calls_failed: usize,
    /// Files that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<ReturnedFile>,
    /// What was asked for and is not among them, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files_omitted: Vec<OmittedFile>,
    /// What it used.
    usage: Usage,
    /// Whether a part of an output or of the result is left out.
    truncated: bool,
    /// For `read_more`, if a part of the standard output is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_handle: Option<String>,
    /// For `read_more`, if a part of the standard error is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_handle: Option<String>,
    /// Length of the whole standard output.
    stdout_bytes: u64,
    /// Length of the whole standard error.
    stderr_bytes: u64,
    /// Whether output was not UTF-8; the wrong bytes became `U+FFFD`.
    lossy: bool,
    /// The time that it was given.
    timeout_ms: u64,
    /// Whether its time was over.
    timed_out: bool,
    /// The limit that ended it: wall, cpu, memory, processes, file_size, output, cancelled, killed or runner_lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    /// Limits that it was seen at: processes, open_files, scratch_bytes or scratch_inodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limits_reached: Vec<&'static str>,
    /// How it was jailed: namespaces or landlock.
    isolation: &'static str,
    /// Who kept its limits: tree or cgroup.
    accounting: &'static str,
    /// Language of the code.
    language: &'static str,
    /// The interpreter, such as `CPython 3.13.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
}

/// Why code failed.
#[output]
struct Failure {
    /// What kind of failure: exception or exit (by the code's word); limit, protocol or died (observed).
    kind: &'static str,
    /// Type of the exception, such as `ValueError`.
    #[serde(rename = "type")]
    name: String,
    /// What it says.
    message: String,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<String>,
    /// Line of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

/// What a run used.
#[output]
struct Usage {
    /// Time from start to end.
    wall_ms: u64,
    /// Processor time.
    cpu_ms: u64,
    /// Most memory in use at a time.
    peak_memory_bytes: u64,
}

impl Tool for ExecuteCode {
    const NAME: &'static str = "execute_code";
    /// The code itself reaches its scratch directory only. The tools that it calls are judged one by one.
    const ANNOTATIONS: Annotations = Annotations::ADDITIVE;
    type Output = Executed;

    fn call(self, ctx: &Context) -> ToolResult<Executed> {
        self.check()?;
        let tools = self.callable(ctx)?;
        // An editor's byte order mark is no part of the code.
        let code = self.code.strip_prefix('\u{FEFF}').unwrap_or(&self.code);
        let job = job_frame(code, tools.as_deref(), &self.files, &self.return_files)?;
        let keep_bytes = self.max_output_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES);
        let keep_bytes = keep_bytes.clamp(MIN_OUTPUT_BYTES, MAX_OUTPUT_BYTES) as usize;
        let limits = Limits { keep_bytes, output_bytes: HARD_OUTPUT_BYTES };

        let mut run = ctx.run(&self.request(ctx))?;
        let socket = run.job.take().explain("the run came without its job socket")?;
        let terms = Terms {
            tells_progress: self.tells_progress(),
            within: self.tools,
            return_files: self.return_files.clone(),
        };
        let mut session = Session::new(ctx, socket, job, terms)?;
        let watched = watch(ctx, &mut run, self.stdin.unwrap_or_default(), limits, &mut session)?;
        Ok(Executed::new(watched, session.finish(), self.language, run.wall_ms(), &self.return_files))
    }
}

impl ExecuteCode {
    fn check(&self) -> ToolResult<()> {
        if self.code.trim().is_empty() {
            return Err(ToolError::invalid("`code` is empty"));
        }
        if self.code.len() > MAX_CODE_BYTES {
            return Err(ToolError::invalid(format!("`code` is longer than {MAX_CODE_BYTES} bytes")));
        }
        if self.stdin.as_ref().is_some_and(|input| input.len() > MAX_STDIN_BYTES) {
            return Err(ToolError::invalid(format!("`stdin` is longer than {MAX_STDIN_BYTES} bytes")));
        }
        let wants_files = !self.files.is_empty() || !self.return_files.is_empty();
        if wants_files && !self.language.has_files() {
            let language = self.language.name();
            return Err(ToolError::invalid(format!(
                "`files` and `return_files` do not go with language `{language}`, which has no files; pass data in \
                 `code` or `stdin`, or use python"
            )));
        }
        check_inputs(&self.files)?;
        check_patterns(&self.return_files)
    }

    /// Whether the code says the word that it needs to call a tool.
    fn calls_back(&self) -> bool {
        self.code.contains(match self.language {
            Language::Python => "llmc",
            Language::Javascript => "tools",
        })
    }

    /// Whether the code will probably tell its progress by itself.
    fn tells_progress(&self) -> bool {
        match self.language {
            Language::Python => self.calls_back() && self.code.contains("progress"),
            Language::Javascript => self.code.contains("progress("),
        }
    }

    /// The tools that the code may call, if it is going to. What it may call is not decided here: the server refuses
    /// the others.
    fn callable(&self, ctx: &Context) -> ToolResult<Option<Vec<CallableTool>>> {
        let Some(wanted) = &self.tools else {
            let tools = self.calls_back().then(|| ctx.tools());
            let warn =
                |error: &ToolError| ctx.warn(format!("code cannot be told which tools there are: {error}"));
            return Ok(tools.and_then(|tools| tools.inspect_err(warn).ok()));
        };
        let mut granted = ctx.tools()?;
        if let Some(unknown) = wanted.iter().find(|name| granted.iter().all(|tool| tool.name != **name)) {
            return Err(ToolError::invalid(unknown_tool(unknown, &granted)));
        }
        granted.retain(|tool| wanted.contains(&tool.name));
        Ok(Some(granted))
    }

    fn request(&self, ctx: &Context) -> RunRequest {
        let time_left = u64::try_from(ctx.remaining().as_millis()).unwrap_or(u64::MAX);
        let request = match self.language {
            Language::Python => {
                let args = ["-I", "-S", "-X", "utf8", "/llmc/boot.py"];
                let request = RunRequest::new("python", args);
                let request = RunRequest { kit: Some("python".into()), ..request };
                FILES.iter().fold(request, |request, (name, contents)| request.file(*name, *contents))
            }
            Language::Javascript => RunRequest::new("javascript", [""; 0]),
        };
        RunRequest {
            stdin: self.stdin.as_ref().is_some_and(|input| !input.is_empty()),
            job: true,
            timeout_ms: Some(self.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS).min(time_left)),
            ..request
        }
    }
}

/// Names the tool that was probably meant.
fn unknown_tool(name: &str, granted: &[CallableTool]) -> String {
    let near = granted
        .iter()
        .map(|tool| (strsim::damerau_levenshtein(name, &tool.name), &tool.name))
        .min()
        .filter(|(distance, near)| *distance <= near.len().div_ceil(2).min(4));
    let hint = match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => "leave `tools` out to see which there are".to_owned(),
    };
    let shown: String = name.chars().take(64).collect();
    format!("`tools`: code may call no tool `{shown}`; {hint}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Language {
    /// Whether its code can read and write files in the scratch directory.
    fn has_files(self) -> bool {
        match self {
            Self::Python => true,
            Self::Javascript => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
        }
    }
}

impl Executed {
    fn new(
        watched: Watched,
        heard: Heard,
        language: Language,
        timeout_ms: u64,
        return_files: &[String],
    ) -> Self {
        let limit = words::limit(&watched);
        let limits_reached = words::limits_reached(&watched);
        let (report, observed) = match heard.end {
            End::Done(report) => (*report, None),
            end => (Report::default(), Some(Failure::observed(&end, limit, &watched))),
        };
        // Interpreters that keep limits of their own tell where the code was; that there was one is the runner's word.
        let by_limit = report.limit && limit.is_some();
        let said = report.error.map(|raised| Failure::said(raised, report.exit_code, by_limit));
        let shown = report.value.map(Reported::show).unwrap_or_default();
        let (stdout, stderr, outcome) = (watched.stdout, watched.stderr, watched.outcome);
        Self {
            truncated: stdout.omitted_bytes + stderr.omitted_bytes > 0 || shown.cut,
            stdout_handle: stdout.handle,
            stderr_handle: stderr.handle,
            stdout_bytes: stdout.bytes,
            stderr_bytes: stderr.bytes,
            lossy: stdout.lossy || stderr.lossy,
            stdout: stdout.text,
            stderr: stderr.text,
            result: shown.value,
            result_repr: shown.repr,
            error: observed.or(said),
            exit_code: report.exit_code,
            tool_calls_omitted: heard.calls_made - heard.calls.len(),
            tool_calls_failed: heard.calls_failed,
            tool_calls: heard.calls,
            files: heard.files,
            files_omitted: omitted(report.files_omitted, return_files),
            usage: Usage {
                wall_ms: outcome.wall_ms,
                cpu_ms: outcome.cpu_ms,
                peak_memory_bytes: outcome.peak_memory_bytes,
            },
            timeout_ms,
            timed_out: limit == Some("wall"),
            limit,
            limits_reached,
            isolation: words::isolation(outcome.isolation),
            accounting: words::accounting(outcome.accounting),
            language: language.name(),
            engine: heard.engine,
        }
    }

    /// What was observed comes first: the output of code could look like anything.
    fn text(&self) -> String {
        let mut text = self.ending();
        let result = match (&self.result, &self.result_repr) {
            (Some(value), _) => value.to_string(),
            (None, Some(repr)) => repr.clone(),
            (None, None) => String::new(),
        };
        let traceback = self.error.as_ref().and_then(|error| error.traceback.as_deref()).unwrap_or_default();
        for (name, part) in [
            ("result", result.as_str()),
            ("stdout", &self.stdout),
            ("stderr", &self.stderr),
            ("error", traceback),
        ] {
            if !part.is_empty() {
                let separator = if part.contains('\n') { '\n' } else { ' ' };
                text.push_str(&format!("\n{name}:{separator}{}", part.trim_end_matches('\n')));
            }
        }
        self.add_files(&mut text);
        text
    }

    fn add_files(&self, text: &mut String) {
        for file in &self.files {
            let contents = file.text.as_deref().map_or("not text", |text| text.trim_end_matches('\n'));
            text.push_str(&format!("\nfile {} ({} bytes):\n{contents}", file.path, file.bytes));
        }
        for OmittedFile { path, reason } in &self.files_omitted {
            text.push_str(&format!("\nfile {path}: left out: {reason}"));
        }
    }

    fn ending(&self) -> String {
        let mut text = match &self.error {
            None => format!("ok, {}", words::duration(self.usage.wall_ms)),
            Some(error) => error.sentence(self.usage.wall_ms),
        };
        text.push_str(&words::at_limits(&self.limits_reached));
        if !self.tool_calls.is_empty() {
            let (all, failed) = (self.tool_calls.len() + self.tool_calls_omitted, self.tool_calls_failed);
            text.push_str(&format!(", {all} tool calls, {failed} of them failed"));
        }
        text
    }
}

impl Output for Executed {
    fn schema() -> Option<Value> {
        Some(schema::of_output::<Self>().schema)
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        let envelope = Envelope::structured(&self, self.text())?;
        Ok(if self.error.is_some() { envelope.as_error() } else { envelope })
    }
}

impl Failure {
    /// What the code said.
    fn said(raised: Raised, exit_code: Option<i32>, by_limit: bool) -> Self {
        let kind = match exit_code {
            _ if by_limit => "limit",
            Some(_) => "exit",
            None => "exception",
        };
        let Raised { kind: name, message, traceback, line } = raised;
        Self { kind, name, message, traceback, line }
    }

    /// What was seen of code that said nothing, or nothing sensible.
    fn observed(end: &End, limit: Option<&'static str>, watched: &Watched) -> Self {
        let failure = |kind, name: &str, message| Self {
            kind,
            name: name.to_owned(),
            message,
            traceback: None,
            line: None,
        };
        if let End::Violated(violation) = end {
            return failure("protocol", "ProtocolError", format!("the job socket carried {violation}"));
        }
        if let Some(limit) = limit {
            let name = if limit == "wall" { "TimedOut" } else { "LimitExceeded" };
            return failure("limit", name, words::ending(limit, watched.outcome.wall_ms));
        }
        if watched.cut == Some(Cut::Companion) {
            let message = "the code closed descriptor 3, which its result goes through";
            return failure("died", "Died", message.to_owned());
        }
        let status = match watched.outcome.status {
            RunStatus::Exited(code) => format!("exit code {code}"),
            RunStatus::Signalled(number) => words::signal(number),
        };
        failure("died", "Died", format!("the interpreter ended without a result: {status}"))
    }

    fn sentence(&self, wall_ms: u64) -> String {
        let at = self.line.map(|line| format!(" at line {line}")).unwrap_or_default();
        match self.kind {
            "limit" => self.message.clone(),
            _ => {
                format!("failed after {} with {}{at}: {}", words::duration(wall_ms), self.name, self.message)
            }
        }
    }
}

#[cfg(test)]
#[path = "execute_code_tests.rs"]
mod tests;
