//! The command line: parse, start logging, run one command, report.
//!
//! stdout carries what the command is for (for `serve`, the protocol); everything else goes to stderr.

mod audit;
mod browser;
mod call;
mod client;
mod config;
mod console;
mod dev;
mod doctor;
#[cfg(test)]
mod documents;
mod explain;
mod exposed;
mod grant;
mod init;
mod output;
mod pending;
mod plugin;
mod policy;
mod reference;
mod running;
mod serve;
mod shell;
mod token;
mod tools;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::ConfigError;
use crate::logs::{self, LogFormat};
pub(crate) use doctor::survey;

/// What the program ends with, and what it says; in the help of every command.
const EXIT_CODES: [(u8, &str); 4] = [
    (0, "success"),
    (
        1,
        "failure (a layer, plugin or root is missing, a plugin drifted, a check found something (`config check`, \
         `audit verify`), or a command line is refused (`policy explain`))",
    ),
    (2, "wrong usage or configuration"),
    (5, "the tool reported an error (`call`)"),
];

/// How long the end of the server may wait for threads that read a terminal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Tool server for language models, with every plugin and every run in a jail.
#[derive(Parser)]
#[command(name = "llmc", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged to stderr: error, warn, info, debug, trace, or a filter such as `warn,audit=debug`.
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
    /// Form of the log lines.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Serve MCP to a client over stdin and stdout, to clients over HTTP, or both.
    Serve(serve::Serve),
    /// List the tools with their plugins.
    Tools(tools::Tools),
    /// Call a tool from here, through the same checks as a client's call; `server.mode` hides no tool here.
    Call(call::Call),
    /// Show which protections this machine gives, and what would be missing.
    Doctor(doctor::Doctor),
    /// Show, check or explain the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Make, list and revoke tokens of HTTP clients.
    #[command(subcommand)]
    Token(token::Command),
    /// Open the console of a running server in a browser, by a link that is good once.
    Console(console::Console),
    /// List calls that wait for an operator, and decide about them.
    #[command(subcommand)]
    Pending(pending::Command),
    /// Read and check the audit.
    #[command(subcommand)]
    Audit(audit::Command),
    /// List, check and pin plugins.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Build a plugin, load it in its jail and show every call and refusal; again after every change.
    Dev(dev::Dev),
    /// Explain what the rules of a program decide.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Show and change what plugins may reach.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Write a commented configuration with the least grants; asks on a terminal.
    Init(init::Init),
    /// Tell an MCP client of this server.
    #[command(subcommand)]
    Client(client::Command),
    /// Print completions for a shell.
    Completions(shell::Completions),
    /// Write a man page for each command into a folder.
    Man(shell::Man),
    /// Write the reference pages of the book into a folder.
    #[command(hide = true)]
    Reference(reference::Reference),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    // Anyone who could read this process's memory could read the secrets in it. See PR_SET_DUMPABLE in prctl(2).
    let hidden = llmc_sandbox::process::make_undumpable();
    let result = logs::init(&cli.log, cli.log_format).map_err(anyhow::Error::new).and_then(|()| {
        hidden?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(run(cli.command));
        // Calls whose client left are dropped, and so recorded; a blocked read of stdin must not hold the end up.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        crate::audit::finish();
        result
    });
    result.unwrap_or_else(|error| {
        // With stderr gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "llmc: {}", chain(&error));
        let is_config = error.downcast_ref::<ConfigError>().is_some();
        ExitCode::from(if is_config { 2 } else { 1 })
    })
}

/// The command line, with the exit codes in the help of every command.
fn command() -> clap::Command {
    fn told(command: clap::Command) -> clap::Command {
        command.after_help(exit_codes()).mut_subcommands(told)
    }
    told(Cli::command())
}

fn exit_codes() -> String {
    let codes: Vec<String> = EXIT_CODES.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
    format!("Exit codes: {}.", codes.join("; "))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Tools(tools) => tools.run().await,
        Command::Call(call) => call.run().await,
        Command::Doctor(doctor) => doctor.run().await,
        Command::Config(config) => config.run(),
        Command::Token(token) => token.run(),
        Command::Console(console) => console.run(),
        Command::Pending(pending) => pending.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Plugin(plugin) => plugin.run().await,
        Command::Dev(dev) => dev.run().await,
        Command::Policy(policy) => policy.run().await,
        Command::Grant(grant) => grant.run(),
        Command::Init(init) => init.run(),
        Command::Client(client) => client.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Reference(reference) => reference.run().await,
    }
}

/// An error and its causes, each once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints what a command is for. A reader that left, as `head` does, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("failed to write to stdout"),
    }
}

/// An address and a port of `--http`.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8765".to_owned())
}

/// Tells on stderr what is not the result of a command.
fn note(text: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "llmc: {text}");
}
