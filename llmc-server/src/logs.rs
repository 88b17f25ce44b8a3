//! Logs: to stderr, because stdout belongs to the protocol.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `filter` is as in `tracing_subscriber`'s `EnvFilter`: `info`, or `warn,llmc_server=debug`.
///
/// # Errors
///
/// When the filter cannot be parsed.
pub fn init(filter: &str, format: LogFormat) -> Result<(), ConfigError> {
    // rmcp logs whole messages, with the arguments and results that often hold secrets; the last directive for a
    // target wins, so no filter brings them back.
    let all = EnvFilter::try_new(format!("{filter},rmcp=error")).map_err(|_| {
        ConfigError::Flag(format!(
            "--log `{filter}` is no filter; write error, warn, info, debug, trace or off, or levels of parts, such as \
             `warn,audit=debug`"
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(all)
        .with_writer(std::io::stderr)
        // A reader of the log that left must not end the server, as a failed `eprintln!` would.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
