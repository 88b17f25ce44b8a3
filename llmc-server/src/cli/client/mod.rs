//! `llmc client`: the entry of this server in the files of MCP clients.

mod entry;
mod file;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser as _, Subcommand, ValueEnum};
use serde_json::json;

use super::output::{Output, Paint};
use super::{Cli, Command as Verb, note};
use crate::config;
use crate::files;
use crate::lock;
use entry::Entry;

/// Tell an MCP client of this server.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the entry for a client, and where it belongs.
    Print(Print),
    /// Write the entry into the client's file: a backup is made, and nothing but the entry changes.
    Connect(Connect),
}

/// A client that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// Claude Code, for all projects of the user.
    ClaudeCode,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Cursor.
    Cursor,
    /// Visual Studio Code, for the default profile.
    Vscode,
    /// Codex CLI and its IDE extension.
    Codex,
    /// Gemini CLI.
    Gemini,
}

/// Which client, and what it is told.
#[derive(Args)]
struct Target {
    /// The client.
    #[arg(value_enum)]
    client: Client,
    /// Configuration file that the server is started with; default: the operator's own, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the entry.
    #[arg(long, default_value = "llmc")]
    name: String,
    /// The client's file; default: the one of this user. For one project that is `.mcp.json` (Claude Code),
    /// `.cursor/mcp.json`, `.vscode/mcp.json`, `.codex/config.toml` or `.gemini/settings.json` in it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Further arguments of `llmc serve`, after `--`, such as `-- --root work=/home/me/project:rw`.
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// `llmc client print`
#[derive(Args)]
pub(super) struct Print {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// `llmc client connect`
#[derive(Args)]
pub(super) struct Connect {
    #[command(flatten)]
    target: Target,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Print(print) => print.run(),
            Self::Connect(connect) => connect.run(),
        }
    }
}

impl Target {
    fn entry(&self) -> anyhow::Result<Entry> {
        anyhow::ensure!(
            !self.name.is_empty()
                && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            "name `{}` must be made of letters, digits, `-` and `_`",
            self.name
        );
        let program = std::env::current_exe().context("failed to find the place of this program")?;
        let mut arguments = vec!["serve".to_owned()];
        let file = self.config.clone().or_else(|| config::user_file().filter(|file| file.exists()));
        if let Some(file) = &file {
            let file = std::path::absolute(file)?;
            anyhow::ensure!(
                file.is_file(),
                "configuration `{}` does not exist; `llmc init` writes one",
                file.display()
            );
            arguments.extend(["--config".to_owned(), text(&file)?]);
        } else if self.arguments.is_empty() {
            anyhow::bail!(
                "there is no configuration, so the server would grant nothing; write one with `llmc init`, or say what \
                 to grant: `llmc client connect CLIENT -- --root work=/absolute/path`"
            );
        }
        arguments.extend(self.arguments.iter().cloned());
        check_arguments(&arguments)?;
        Ok(Entry { name: self.name.clone(), program: text(&program)?, arguments })
    }

    fn file(&self) -> anyhow::Result<PathBuf> {
        match &self.file {
            Some(file) => Ok(std::path::absolute(file)?),
            None => self.client.file().context("HOME is not set; name the client's file with --file"),
        }
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("`{}` is not UTF-8", path.display()))
}

/// What a client would start must start; its working directory is not this one.
fn check_arguments(arguments: &[String]) -> anyhow::Result<()> {
    let all = std::iter::once("llmc".to_owned()).chain(arguments.iter().cloned()).map(OsString::from);
    let cli = Cli::try_parse_from(all).map_err(|error| {
        anyhow::anyhow!(
            "`llmc {}`: {}",
            arguments.join(" "),
            error.to_string().lines().next().unwrap_or_default()
        )
    })?;
    let Verb::Serve(serve) = cli.command else {
        anyhow::bail!("the arguments are not those of `llmc serve`")
    };
    for (name, root) in &serve.flags().roots {
        anyhow::ensure!(
            root.path.is_absolute(),
            "root `{name}`: write an absolute path, because the client starts the server in a folder of its own"
        );
    }
    Ok(())
}

impl Client {
    /// The file of this user, as each client's documentation names it for Linux.
    fn file(self) -> Option<PathBuf> {
        let home = || std::env::home_dir().filter(|home| home.is_absolute());
        let variable =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = || variable("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
        Some(match self {
            // https://code.claude.com/docs/en/mcp: user scope
            Self::ClaudeCode => variable("CLAUDE_CONFIG_DIR").or_else(home)?.join(".claude.json"),
            // https://modelcontextprotocol.io/docs/develop/connect-local-servers
            Self::ClaudeDesktop => config()?.join("Claude/claude_desktop_config.json"),
            // https://cursor.com/docs/context/mcp
            Self::Cursor => home()?.join(".cursor/mcp.json"),
            // https://code.visualstudio.com/docs/copilot/reference/mcp-configuration: user profile
            Self::Vscode => config()?.join("Code/User/mcp.json"),
            // https://developers.openai.com/codex/mcp
            Self::Codex => {
                variable("CODEX_HOME").or_else(|| Some(home()?.join(".codex")))?.join("config.toml")
            }
            // https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md
            Self::Gemini => home()?.join(".gemini/settings.json"),
        })
    }

    fn shape(self) -> entry::Shape {
        match self {
            Self::ClaudeCode => entry::Shape::Json { key: "mcpServers", has_type: true },
            Self::ClaudeDesktop | Self::Cursor | Self::Gemini => {
                entry::Shape::Json { key: "mcpServers", has_type: false }
            }
            Self::Vscode => entry::Shape::Json { key: "servers", has_type: true },
            Self::Codex => entry::Shape::Toml { key: "mcp_servers" },
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
        }
    }
}

impl Print {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (entry, file) = (self.target.entry()?, self.target.file()?);
        let shape = self.target.client.shape();
        let json = json!({
            "client": self.target.client.title(),
            "file": file,
            "name": entry.name,
            "entry": entry.json(shape),
        });
        let text = shape.whole(&entry)?;
        if !self.output.is_json() {
            note(&format!("for {}, in `{}`:", self.target.client.title(), file.display()));
        }
        self.output.print(&json, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Connect {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Target { client, .. } = self.target;
        let (entry, path) = (self.target.entry()?, self.target.file()?);
        let before = file::read(&path)?;
        let old = before.as_deref().unwrap_or_default();
        let new = client.shape().edited(old, &entry).map_err(|problem| {
            let paste = client.shape().whole(&entry).unwrap_or_default();
            anyhow::anyhow!("`{}`: {problem}; add this by hand:\n{paste}", path.display())
        })?;
        let is_changed = before.is_none() || new != old;
        let diff = similar::TextDiff::from_lines(old, &new);
        let diff = diff.unified_diff().context_radius(2).to_string();
        let backup = match (is_changed && !self.dry_run, before.is_some()) {
            (true, true) => Some(file::back_up(&path)?),
            _ => None,
        };
        if is_changed && !self.dry_run {
            file::write(&path, before.as_deref(), &new)?;
        }
        let json = json!({
            "client": client.title(),
            "file": path,
            "changed": is_changed,
            "written": is_changed && !self.dry_run,
            "backup": backup,
            "diff": diff,
        });
        let text = match (is_changed, self.dry_run) {
            (false, _) => format!("`{}` has this entry already\n", path.display()),
            (true, true) => format!(
                "`{}` would change:\n{}\n",
                path.display(),
                Paint::for_stdout().diff(&lock::shown(&diff))
            ),
            (true, false) => {
                let kept = backup
                    .map_or(String::new(), |backup| format!(", the old file is `{}`", backup.display()));
                format!("wrote `{}`{kept}; start {} again to use it\n", path.display(), client.title())
            }
        };
        self.output.print(&json, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Largest file of a client that is edited.
const MAX_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_must_start_a_server_anywhere() {
        let check = |arguments: &[&str]| {
            check_arguments(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(&["serve", "--root", "work=/a:rw", "--program", "git"]), Ok(()));
        assert!(check(&["serve", "--root", "work=a"]).unwrap_err().contains("absolute path"));
        assert!(check(&["serve", "--rot", "work=/a"]).unwrap_err().contains("--rot"));
    }
}
