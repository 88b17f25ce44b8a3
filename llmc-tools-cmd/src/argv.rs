//! From a program with its arguments to a request.

use std::collections::BTreeMap;

use llmc_core::prelude::*;
use llmc_core::run::RunRequest;

use crate::limits::{MAX_ARGUMENT_BYTES, MAX_ARGUMENTS};
use crate::{command_line, cwd};

/// The words of a command that is given in one way or the other.
pub(crate) fn words(argv: Option<Vec<String>>, command: Option<&str>) -> ToolResult<Vec<String>> {
    match (argv, command) {
        (Some(argv), None) => Ok(argv),
        (None, Some(command)) => {
            command_line::split(command).map_err(|refusal| ToolError::invalid(refusal.to_string()))
        }
        (None, None) => Err(ToolError::invalid(
            "there is no command: give `argv`, as in [\"git\", \"status\"], or `command`",
        )),
        (Some(_), Some(_)) => Err(ToolError::invalid("give `argv` or `command`, not both")),
    }
}

/// A request for a program over the granted roots. What it may run is for the server to decide.
pub(crate) fn request(
    ctx: &Context,
    argv: &[String],
    cwd: Option<&str>,
    env: BTreeMap<String, String>,
) -> ToolResult<RunRequest> {
    check(argv, &env)?;
    let roots = ctx.roots()?;
    let cwd = match cwd {
        None if roots.is_empty() => None,
        cwd => Some(cwd::parse(cwd.unwrap_or("."), roots)?),
    };
    let (program, arguments) =
        argv.split_first().map_or(("", argv), |(program, rest)| (program.as_str(), rest));
    Ok(RunRequest { cwd, env, ..RunRequest::new(program, arguments) })
}

/// What no grant could make right.
fn check(argv: &[String], env: &BTreeMap<String, String>) -> ToolResult<()> {
    let program = argv.first().map_or("", String::as_str);
    if program.trim().is_empty() {
        return Err(ToolError::invalid("the command is empty: it begins with the name of a program"));
    }
    if program.contains('/') {
        return Err(ToolError::invalid(
            "the program is given by its name, not by a path: write `git`, not `/usr/bin/git`",
        ));
    }
    if program.contains(char::is_whitespace) {
        return Err(ToolError::invalid(
            "the program's name contains a space: `argv` takes one string for each argument, as in [\"git\", \"status\"]",
        ));
    }
    let strings = || argv.iter().chain(env.iter().flat_map(|(name, value)| [name, value]));
    if strings().any(|string| string.contains('\0')) {
        return Err(ToolError::invalid("`argv` or `env` contains a NUL character"));
    }
    if env.keys().any(|name| name.is_empty() || name.contains('=')) {
        return Err(ToolError::invalid("a name in `env` is empty or contains `=`"));
    }
    let bytes: usize = strings().map(String::len).sum();
    if argv.len() > MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES {
        return Err(ToolError::invalid(format!(
            "the command is too long: at most {MAX_ARGUMENTS} arguments and {MAX_ARGUMENT_BYTES} bytes, `env` included; use standard input or a file for more"
        )));
    }
    Ok(())
}
