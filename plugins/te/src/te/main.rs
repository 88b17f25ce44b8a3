//! `te`: makes one call of `te_run` through the `llmc` beside it, and prints the answer.
//!
//! It runs no command and opens no file itself, so a command has the same jail, rules and audit here as in a session of
//! a client. Exit codes are those of the command; 2 wrong usage, 124 time is over, 125 `llmc` gave no answer, 126 the
//! command may not run.

#![forbid(unsafe_code)]

mod flags;
mod llmc;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::flags::Flags;
use crate::llmc::Reply;

/// `llmc` could not be asked, or did not answer.
const NO_ANSWER: u8 = 125;
/// The command may not run.
const REFUSED: u8 = 126;
/// Wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let flags = Flags::read();
    let arguments = match arguments(&flags) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&flags, USAGE, &error),
    };
    match llmc::ask(flags.config.as_deref(), &arguments) {
        Ok(Reply::Answer { blocks, exit }) => {
            for (place, text) in blocks {
                // A reader that left, as `head` does, is no error.
                let _ = match &*place {
                    "out" => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
                    "err" => io::stderr().write_all(text.as_bytes()),
                    _ => Ok(()),
                };
            }
            ExitCode::from(exit)
        }
        Ok(Reply::Refused(error)) => fail(&flags, REFUSED, &error),
        Err(error) => fail(&flags, NO_ANSWER, &error),
    }
}

/// The arguments of `te_run`.
fn arguments(flags: &Flags) -> Result<Value, String> {
    let argv = match (flags.stats, flags.list_handles) {
        (true, _) => vec!["stats".to_owned()],
        (_, true) => vec!["handles".to_owned()],
        _ => flags.command.clone(),
    };
    if argv.is_empty() && flags.handle.is_none() {
        return Err("there is no command: `te COMMAND [ARGUMENTS...]`; `te --help` tells more".to_owned());
    }
    if let Some(word) = argv.first().filter(|word| word.starts_with('-')) {
        return Err(format!("`{word}` is no flag of te; `te --help` lists them"));
    }
    if flags.chunk.is_some() && flags.handle.is_none() {
        return Err("`--chunk` goes with `--handle`".to_owned());
    }
    let here = std::env::current_dir().map_err(|error| format!("the working directory is gone: {error}"))?;
    let cwd = flags.cwd.as_ref().map_or_else(|| here.clone(), |cwd| here.join(cwd));
    let cwd = cwd.into_os_string().into_string().map_err(|_| "the working directory's name is no UTF-8")?;
    let stdin = flags.stdin.then(stdin).transpose()?;
    let mut arguments = json!({
        "argv": argv,
        "cwd": cwd,
        "raw": flags.raw,
        "json": flags.json,
        "stdin": stdin,
        "timeout_ms": flags.timeout.map(|seconds| seconds.saturating_mul(1000)),
        "handle": flags.handle,
        "chunk": flags.chunk,
        "agent": flags.agent(),
    });
    if let Some(fields) = arguments.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(arguments)
}

fn stdin() -> Result<String, String> {
    let limit = te::limits::MAX_STDIN_BYTES as u64;
    let mut text = String::new();
    io::stdin()
        .take(limit + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("failed to read stdin: {error}"))?;
    if text.len() as u64 > limit { Err(format!("stdin is longer than {limit} bytes")) } else { Ok(text) }
}

/// An error in the form of every answer; in a plain line where the output shall be as it is.
fn fail(flags: &Flags, exit: u8, error: &str) -> ExitCode {
    let cmd = flags.command.first().map_or("te", String::as_str);
    // With nobody there to read there is nobody to tell.
    let _ = if flags.raw {
        writeln!(io::stderr(), "te: {error}")
    } else {
        io::stdout().write_all(te::refusal(cmd, exit.into(), error, flags.json).as_bytes())
    };
    ExitCode::from(exit)
}
