//! From a program with its arguments to a request, for processes.

use std::collections::BTreeMap;

use llmc_core::prelude::*;
use llmc_core::run::RunRequest;

use crate::cwd;
use crate::limits::{MAX_ARGUMENT_BYTES, MAX_ARGUMENTS};

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
        return Err(ToolError::invalid("the command is empty: `argv` begins with the name of a program"));
    }
    if program.contains('/') {
        return Err(ToolError::invalid(
            "the program is given by its name, not by a path: write `python3`, not `/usr/bin/python3`",
        ));
    }
    if program.contains(char::is_whitespace) {
        return Err(ToolError::invalid(
            "the program's name contains a space: `argv` takes one string for each argument, as in [\"python3\", \"-i\"]",
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
            "the command is too long: at most {MAX_ARGUMENTS} arguments and {MAX_ARGUMENT_BYTES} bytes, `env` included"
        )));
    }
    Ok(())
}
