//! `te_run`.

use std::time::Instant;

use llmc_core::code;
use llmc_core::prelude::*;

use crate::answer::{Answer, Found, Mode, Show};
use crate::commands::{self, Asked};
use crate::header::{self, Header};
use crate::limits::{DEFAULT_TIMEOUT_MS, MAX_RAW_BYTES, MAX_STDIN_BYTES, MIN_TOKENS, RESERVED_TOKENS};
use crate::place::Here;
use crate::program::Ran;
use crate::settings::Settings;
use crate::shelf::Shelf;
use crate::telemetry::{self, Event, Telemetry};
use crate::{budget, program, tokens};

/// Exit codes of `te` itself, as shells use them: wrong usage, and a command that may not run.
pub(crate) const USAGE: i32 = 2;
pub(crate) const REFUSED: i32 = 126;

/// Runs a command and answers in few tokens: a header line of JSON, the best matches or lines first, and a handle for
/// the rest. `grep`, `find`, `cat`, `ls`, `tree`, `git log|diff|status`, `cargo test`, `pytest` and `npm test` are
/// summarised; all others run as they are, in a jail, if granted. There is no shell.
#[arguments]
pub struct TeRun {
    /// Command and arguments: ["grep", "-n", "fn main", "src"]. Also ["stats"] and ["handles"].
    #[serde(default)]
    argv: Vec<String>,
    /// Directory to start in. Default: the top of the first root.
    cwd: Option<String>,
    /// Output as it is: no header, no summary.
    #[serde(default)]
    raw: bool,
    /// Answer as JSON.
    #[serde(default)]
    json: bool,
    /// Text for standard input.
    stdin: Option<String>,
    /// Longest time the command may take, in milliseconds.
    timeout_ms: Option<u64>,
    /// Instead of `argv`: reads on in an answer that was cut.
    handle: Option<String>,
    /// Part of `handle`, from 1. Default: 1.
    chunk: Option<u64>,
    /// Name of the reader, which decides how much is shown.
    agent: Option<String>,
}

impl Tool for TeRun {
    const NAME: &'static str = "te_run";
    const TITLE: &'static str = "Run a command, short answer";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Envelope;

    fn call(self, ctx: &Context) -> ToolResult<Envelope> {
        let begun = Instant::now();
        let settings: Settings = ctx.config()?;
        let desk = Desk { ctx, settings: &settings };
        let result = if self.raw && self.handle.is_none() { self.raw(&desk)? } else { self.answer(&desk)? };
        desk.note(&self, &result, begun);
        Ok(result.envelope)
    }
}

/// What came of a call, for the client and for telemetry.
struct Done {
    envelope: Envelope,
    header: Header,
    mode: Mode,
    plain_tokens: usize,
    shown_tokens: usize,
}

impl TeRun {
    /// What the command printed, as it is. Each text says in the metadata where the program `te` prints it.
    fn raw(&self, desk: &Desk<'_>) -> ToolResult<Done> {
        let ran = self.asked(desk, |asked| program::run(asked, asked.argv));
        let ran = match ran {
            Err(error) if error.code() == code::CANCELLED => return Err(error),
            Err(error) => {
                let error = header::text(error.message());
                Ran { stderr: format!("te: {error}\n"), exit: REFUSED, error: Some(error), ..Ran::default() }
            }
            Ok(ran) => ran,
        };
        let plain_tokens = tokens::estimate(&ran.stdout) + tokens::estimate(&ran.stderr);
        let (stdout, stdout_cut) = beginning(ran.stdout);
        let (mut stderr, stderr_cut) = beginning(ran.stderr);
        if stdout_cut || stderr_cut || ran.cut {
            stderr.push_str(
                "te: not all of the output is here; ask for less, or leave out --raw for a handle\n",
            );
        }
        let mut blocks = vec![("out", stdout), ("err", stderr)];
        if ran.exit != 0 {
            blocks.push(("none", format!("exit code {}", ran.exit)));
        }
        blocks.retain(|(_, text)| !text.is_empty());
        let envelope = envelope(&blocks, ran.exit, ran.error.is_some());
        let header = Header { exit: ran.exit, error: ran.error, ..Header::default() };
        Ok(Done { envelope, header, mode: Mode::Raw, plain_tokens, shown_tokens: plain_tokens })
    }

    fn answer(&self, desk: &Desk<'_>) -> ToolResult<Done> {
        let found = self.found(desk)?;
        let budget = budget::tokens(self.agent.as_deref(), desk.settings);
        let answer = found.finish(budget, self.json, |header, whole| {
            let room = budget.saturating_sub(RESERVED_TOKENS).max(MIN_TOKENS as usize / 2);
            let kept = desk.shelf().and_then(|shelf| Ok(shelf.keep(header, whole, room)?));
            kept.inspect_err(|error| desk.ctx.warn(format!("an output is not kept: {error}"))).ok()
        });
        let Answer { header, text, failed, mode, plain_tokens } = answer;
        let shown_tokens = tokens::estimate(&text);
        let envelope = envelope(&[("out", text)], header.exit, failed);
        Ok(Done { envelope, header, mode, plain_tokens, shown_tokens })
    }

    fn found(&self, desk: &Desk<'_>) -> ToolResult<Found> {
        if let Some(handle) = &self.handle {
            return Ok(chunk(desk, handle, self.chunk.unwrap_or(1)));
        }
        let words: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["stats"] => Ok(own("stats", desk.stats())),
            ["handles"] => Ok(own("handles", desk.handles())),
            [] => {
                Ok(Found::failed("te", USAGE, "there is no command: give `argv`, as in [\"grep\", \"main\"]"))
            }
            [name, ..] => match self.asked(desk, commands::run) {
                Err(error) if error.code() == code::CANCELLED => Err(error),
                Err(error) => Ok(Found::failed(name, REFUSED, error.message())),
                Ok(found) => Ok(found),
            },
        }
    }

    /// Does something with the command and the place it stands in.
    fn asked<T>(&self, desk: &Desk<'_>, act: impl FnOnce(&Asked<'_>) -> ToolResult<T>) -> ToolResult<T> {
        if self.stdin.as_ref().is_some_and(|stdin| stdin.len() > MAX_STDIN_BYTES) {
            return Err(ToolError::invalid(format!("`stdin` is longer than {MAX_STDIN_BYTES} bytes")));
        }
        let left_ms = u64::try_from(desk.ctx.remaining().as_millis()).unwrap_or(u64::MAX);
        act(&Asked {
            ctx: desk.ctx,
            here: Here::new(self.cwd.as_deref(), desk.ctx.roots()?)?,
            argv: &self.argv,
            stdin: self.stdin.as_deref(),
            timeout_ms: self.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS).min(left_ms),
        })
    }
}

/// A part of a kept output.
fn chunk(desk: &Desk<'_>, handle: &str, number: u64) -> Found {
    match desk.shelf().and_then(|shelf| shelf.read(handle, number)) {
        Ok(chunk) => {
            let mut found = Found { mode: Mode::Own, ..Found::new(&chunk.cmd, chunk.text) };
            found.header.chunk = Some(chunk.number);
            found.header.chunks = Some(chunk.of);
            // It fits by its making, header or not.
            found.show = Show::Whole;
            found
        }
        Err(error) => Found { mode: Mode::Own, ..Found::failed("handle", 1, error.message()) },
    }
}

fn own(cmd: &str, body: ToolResult<String>) -> Found {
    match body {
        Ok(body) => Found { mode: Mode::Own, ..Found::new(cmd, body) },
        Err(error) => Found { mode: Mode::Own, ..Found::failed(cmd, 1, error.message()) },
    }
}

/// Texts for the model; for the program `te` the metadata say which goes where, and what to exit with.
fn envelope(blocks: &[(&str, String)], exit: i32, failed: bool) -> Envelope {
    let mut envelope = Envelope { is_error: failed, ..Envelope::default() };
    envelope.content = blocks.iter().map(|(_, text)| Content::text(text)).collect();
    let places: Vec<&str> = blocks.iter().map(|(place, _)| *place).collect();
    envelope.meta.insert("te".to_owned(), json!({"exit": exit, "to": places}));
    envelope
}

fn beginning(mut text: String) -> (String, bool) {
    let is_long = text.len() > MAX_RAW_BYTES;
    text.truncate(text.floor_char_boundary(MAX_RAW_BYTES));
    (text, is_long)
}

/// What outlives a call.
struct Desk<'a> {
    ctx: &'a Context,
    settings: &'a Settings,
}

impl Desk<'_> {
    fn shelf(&self) -> ToolResult<Shelf> {
        let (state, caller) = (self.ctx.state_dir()?, self.ctx.caller()?);
        Ok(Shelf::open(&state, &caller, self.settings.handle_seconds)?)
    }

    fn telemetry(&self) -> ToolResult<Telemetry> {
        let open = Telemetry::open(&self.ctx.state_dir()?);
        open.map_err(|error| ToolError::failed(format!("the statistics cannot be read: {error}")))
    }

    fn stats(&self) -> ToolResult<String> {
        let stats = self.telemetry()?.stats();
        let stats =
            stats.map_err(|error| ToolError::failed(format!("the statistics cannot be read: {error}")))?;
        Ok(if stats.is_empty() { "no command so far\n".to_owned() } else { telemetry::table(&stats) })
    }

    fn handles(&self) -> ToolResult<String> {
        let list = self.shelf()?.list()?;
        let line = |(handle, cmd, bytes, age): (String, String, u64, u64)| {
            format!("{handle}  {cmd}, {bytes} bytes, {age} s old\n")
        };
        Ok(if list.is_empty() { "no handles\n".to_owned() } else { list.into_iter().map(line).collect() })
    }

    /// Remembers the call. A database that cannot be written must not fail it.
    fn note(&self, call: &TeRun, done: &Done, begun: Instant) {
        let event = Event {
            agent: budget::name(call.agent.as_deref(), self.settings),
            argv: &call.argv,
            mode: done.mode,
            plain_tokens: done.plain_tokens,
            shown_tokens: done.shown_tokens,
            truncated: done.header.truncated,
            handle: done.header.handle.is_some(),
            exit: done.header.exit,
            failed: done.header.error.is_some(),
            latency: begun.elapsed(),
        };
        let Ok(state) = self.ctx.state_dir() else { return };
        if let Err(error) = Telemetry::open(&state).and_then(|telemetry| telemetry.add(&event)) {
            self.ctx.warn(format!("a command is not counted: {error}"));
        }
    }
}
