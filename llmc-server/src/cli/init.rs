//! `llmc init`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{note, print};
use crate::config::{self, Access, FS_TOOLS, NamedMode, Root};
use crate::runner::Granted;

/// Write a commented configuration with the least grants. Asks on a terminal, unless flags say what to grant.
#[derive(Args)]
pub(super) struct Init {
    /// File to write; default: `llmc/config.toml` in the XDG configuration folder. One that exists is never changed.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Grant a directory: PATH (as `work`, read-only), PATH:rw, or NAME=PATH[:ro|:rw]; repeatable.
    #[arg(long = "root", value_name = "[NAME=]PATH[:ro|:rw]", value_parser = config::parse_root)]
    roots: Vec<(String, Root)>,
    /// Let `run_command` run this program: NAME or NAME=/absolute/path; repeatable.
    #[arg(long = "program", value_name = "NAME")]
    programs: Vec<String>,
    /// Tools that clients see: `all`, or `code` for `execute_code` and what finds the others.
    #[arg(long, value_enum, value_name = "MODE", default_value = "all")]
    mode: NamedMode,
    /// Let `execute_code` run Python and JavaScript in jails that see no root; code may call the file tools.
    #[arg(long)]
    code: bool,
    /// Ask nothing: what no flag grants is not granted.
    #[arg(long)]
    yes: bool,
}

/// What is granted.
struct Choice {
    roots: Vec<(String, Root)>,
    programs: Vec<String>,
    mode: NamedMode,
    code: bool,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let file = match &self.config {
            Some(file) => file.clone(),
            None => config::user_file()
                .context("neither HOME nor XDG_CONFIG_HOME is set; name a file with --config")?,
        };
        if file.symlink_metadata().is_ok() {
            anyhow::bail!(
                "`{}` exists, and is left as it is; edit it, use `llmc grant` and `llmc plugin`, or name another file \
                 with --config",
                file.display()
            );
        }
        let choice = self.choice()?;
        let text = choice.text()?;
        config::parse(&file, &text)?;
        write_new(&file, &text).with_context(|| format!("failed to write `{}`", file.display()))?;
        choice.warn(&file);
        let flag = config::flag(Some(&file));
        print(&format!(
            "wrote `{}`\n\nnext\n  llmc doctor{flag}\n      which protections this machine gives\n  llmc plugin \
             lock{flag}\n      pins the plugins as they are now\n  llmc client connect{flag} CLIENT\n      CLIENT: \
             claude-code, claude-desktop, cursor, vscode, codex or gemini\n",
            file.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    fn choice(self) -> anyhow::Result<Choice> {
        let is_said = self.yes || !self.roots.is_empty() || !self.programs.is_empty() || self.code;
        let choice = if is_said {
            let Self { roots, programs, mode, code, .. } = self;
            Choice { roots, programs, mode, code }
        } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
            ask(&mut io::stdin().lock(), &mut io::stderr().lock(), self.mode)?
        } else {
            anyhow::bail!(
                "stdin is no terminal, so nothing can be asked; say what to grant, such as `--root PATH`, or `--yes` \
                 to grant nothing"
            );
        };
        choice.checked()
    }
}

/// Asks a person. An empty answer is the least.
fn ask(from: &mut impl BufRead, to: &mut impl Write, mode: NamedMode) -> anyhow::Result<Choice> {
    let mut answer = |question: &str| -> anyhow::Result<String> {
        write!(to, "{question} ")?;
        to.flush()?;
        let mut line = String::new();
        anyhow::ensure!(from.read_line(&mut line)? > 0, "no answer; nothing was written");
        Ok(line.trim().to_owned())
    };
    let is_yes = |answer: &str| answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes");
    let mut roots = Vec::new();
    let path = answer("Directory that tools may read, such as `.` (empty: none):")?;
    if !path.is_empty() {
        let access = match is_yes(&answer("May they also write there? [y/N]")?) {
            true => Access::Rw,
            false => Access::Ro,
        };
        roots.push(("work".to_owned(), Root { path: home(&path), access }));
    }
    let programs = answer("Programs that `run_command` may start there, such as `git rg` (empty: none):")?;
    let programs = programs.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let code =
        is_yes(&answer("May the model run Python and JavaScript, in jails without files or network? [y/N]")?);
    Ok(Choice { roots, programs, mode, code })
}

/// `~` as a shell would read it.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/").or((path == "~").then_some("")), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

impl Choice {
    fn checked(mut self) -> anyhow::Result<Self> {
        for (index, (name, _)) in self.roots.iter().enumerate() {
            anyhow::ensure!(
                !self.roots[..index].iter().any(|(earlier, _)| earlier == name),
                "two --root are called `{name}`; write NAME=PATH to give each its own name"
            );
        }
        for entry in &self.programs {
            Granted::new("cmd", entry, &BTreeMap::new())?;
        }
        for (name, root) in &mut self.roots {
            root.path = std::path::absolute(&root.path)?;
            anyhow::ensure!(root.path.is_dir(), "root `{name}`: `{}` is no directory", root.path.display());
        }
        anyhow::ensure!(
            self.code || self.mode != NamedMode::Code,
            "`--mode code` is no use without `execute_code`; add `--code`, or leave it out"
        );
        Ok(self)
    }

    /// The file.
    fn text(&self) -> anyhow::Result<String> {
        let mut text = HEAD.replace("{mode}", if self.mode == NamedMode::Code { "code" } else { "all" });
        for (name, root) in &self.roots {
            let path = root.path.to_str().context("the path is not UTF-8")?;
            let access = if root.access == Access::Rw { ", access = \"rw\"" } else { "" };
            writeln!(text, "{name} = {{ path = {}{access} }}", quoted(path))?;
        }
        let roots = list(self.roots.iter().map(|(name, _)| name.as_str()));
        text.push_str(&FS.replace("{roots}", &roots));
        if self.programs.is_empty() {
            text.push_str(NO_CMD);
        } else {
            let programs = list(self.programs.iter().map(String::as_str));
            text.push_str(&CMD.replace("{roots}", &roots).replace("{programs}", &programs));
        }
        if self.code {
            let can_write = self.roots.iter().any(|(_, root)| root.access == Access::Rw);
            let is_wanted = |tool: &&str| can_write || READING.contains(tool);
            let mut tools: Vec<&str> = FS_TOOLS.into_iter().filter(is_wanted).collect();
            // What clients do not see would be out of reach of everybody.
            if self.mode == NamedMode::Code && !self.programs.is_empty() {
                tools.push("run_command");
            }
            text.push_str(&EXEC.replace("{tools}", &list(tools.into_iter())));
        } else {
            text.push_str(NO_EXEC);
        }
        text.push_str(TAIL);
        text.push_str(&self.audit(audit_file().as_deref()));
        Ok(text)
    }

    /// The audit, where no tool can write; without such a place a hint.
    fn audit(&self, file: Option<&Path>) -> String {
        let is_in_root = |file: &Path| {
            let folder = file.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok());
            let writable = self.roots.iter().filter(|(_, root)| root.access == Access::Rw);
            let writable: Vec<PathBuf> =
                writable.filter_map(|(_, root)| root.path.canonicalize().ok()).collect();
            folder.is_none_or(|folder| writable.iter().any(|root| folder.starts_with(root)))
        };
        match file.filter(|file| !is_in_root(file)).and_then(Path::to_str) {
            Some(file) => AUDIT.replace("{path}", &quoted(file)),
            None => NO_AUDIT.to_owned(),
        }
    }

    fn warn(&self, file: &Path) {
        let Ok(file) = std::fs::canonicalize(file) else { return };
        let holds = |root: &Root| {
            root.access == Access::Rw
                && std::fs::canonicalize(&root.path).is_ok_and(|root| file.starts_with(root))
        };
        if let Some((name, _)) = self.roots.iter().find(|(_, root)| holds(root)) {
            note(&format!(
                "the configuration lies in root `{name}`, where tools may write: programs could change it; better keep \
                 it elsewhere"
            ));
        }
    }
}

/// In the state folder of the XDG Base Directory Specification.
fn audit_file() -> Option<PathBuf> {
    crate::tokens::state_folder().map(|folder| folder.join("llmc/audit.db"))
}

/// Writes a file that must not exist yet, for its owner alone.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).inspect_err(|_| {
        // Half a configuration must not stay; that it cannot be removed changes nothing about the error.
        let _ = std::fs::remove_file(file);
    })
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", names.map(quoted).collect::<Vec<_>>().join(", "))
}

/// File tools that change nothing.
const READING: [&str; 7] =
    ["find_files", "list_dir", "read_file", "read_files", "search_files", "stat", "tree"];

const HEAD: &str = "\
# What llmc may do. What is not granted here is refused. `llmc config explain KEY` tells what a key means.

[server]
# \"all\" shows every tool to clients; \"code\" shows five of them, and `execute_code` calls the others.
mode = \"{mode}\"
# Refuse to start when `llmc.lock` (which `llmc plugin lock` writes beside this file) is missing:
# require_lock = true

# Directories, opened once at start-up; read-only unless access = \"rw\".
[roots]
";

const FS: &str = "
# Reads and searches files; in roots with access = \"rw\" it also writes.
[plugins.fs]
library = \"llmc_tools_fs\"
grants = { roots = {roots} }
";

const CMD: &str = "
# run_command: starts the listed programs, each in a jail over the roots, without network and without a shell.
[plugins.cmd]
library = \"llmc_tools_cmd\"
grants = { roots = {roots}, run = { profile = \"workspace\", programs = {programs} } }
";

const NO_CMD: &str = "
# No program can be run. `llmc plugin add cmd`, `llmc grant add cmd root work` and `llmc grant add cmd program git` would
# allow `git` over root `work`.
";

const EXEC: &str = "
# execute_code: runs Python and JavaScript in jails that see no root and no network; code may call these tools.
[plugins.exec]
library = \"llmc_tools_exec\"
grants = { run = { profile = \"code\" }, tools = {tools} }
";

const NO_EXEC: &str = "
# No code can be run. This would allow Python and JavaScript in jails that see no root:
# [plugins.exec]
# library = \"llmc_tools_exec\"
# grants = { run = { profile = \"code\" }, tools = [\"read_file\"] }
";

const TAIL: &str = "
# [policy]
# read_only = true              # no tool may change anything, whatever is granted above
# deny = [\"delete_path\"]        # nobody may call these
";

const AUDIT: &str = "
# One record per call, refused or not: `llmc audit tail`, `query`, `verify`.
[audit]
path = {path}
";

const NO_AUDIT: &str = "
# One record per call, refused or not, in a folder that no root with access = \"rw\" holds.
# [audit]
# path = \"/var/lib/llmc/audit.db\"
";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(answers: &str) -> anyhow::Result<(Choice, String)> {
        let mut questions = Vec::new();
        let choice = ask(&mut answers.as_bytes(), &mut questions, NamedMode::All)?.checked()?;
        Ok((choice, String::from_utf8(questions)?))
    }

    #[test]
    fn empty_answers_grant_nothing() {
        let (choice, questions) = asked("\n\n\n").unwrap();
        assert!(choice.roots.is_empty() && choice.programs.is_empty() && !choice.code);
        assert_eq!(questions.matches("(empty: none)").count(), 2, "{questions}");
        assert_eq!(questions.matches("[y/N]").count(), 1, "nothing to write to: {questions}");
        assert!(asked("").is_err(), "a closed stdin is no answer");
    }

    #[test]
    fn answers_become_grants_and_the_file_says_so() {
        let (choice, _) = asked("/usr\ny\ngit, rg\nyes\n").unwrap();
        let text = choice.text().unwrap();
        let config = config::parse(Path::new("/etc/llmc.toml"), &text).unwrap();
        assert_eq!(config.roots["work"], Root { path: "/usr".into(), access: Access::Rw });
        assert_eq!(config.plugins["cmd"].grants.run.as_ref().unwrap().programs, ["git", "rg"]);
        assert_eq!(config.plugins["exec"].grants.tools, FS_TOOLS);
        let (choice, _) = asked("/usr\n\n\ny\n").unwrap();
        let config = config::parse(Path::new("/etc/llmc.toml"), &choice.text().unwrap()).unwrap();
        assert_eq!(config.plugins["exec"].grants.tools, READING);
        assert_eq!(config.plugins.keys().collect::<Vec<_>>(), ["exec", "fs"]);
    }

    #[test]
    fn strange_paths_are_quoted_and_existing_files_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a\"b\n[plugins.evil]");
        std::fs::create_dir(&path).unwrap();
        let root = Root { path: path.clone(), access: Access::Ro };
        let choice = Choice {
            roots: vec![("work".into(), root)],
            programs: Vec::new(),
            mode: NamedMode::All,
            code: true,
        };
        let config = config::parse(Path::new("/etc/llmc.toml"), &choice.text().unwrap()).unwrap();
        assert_eq!((&config.roots["work"].path, config.plugins.len()), (&path, 2));

        let file = folder.path().join("new/folder/llmc.toml");
        write_new(&file, "a").unwrap();
        assert!(write_new(&file, "b").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a");
    }

    #[test]
    fn the_audit_is_where_no_tool_writes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/llmc/audit.db");
        let with_root = |access| Choice {
            roots: vec![("work".into(), Root { path: folder.path().to_owned(), access })],
            programs: Vec::new(),
            mode: NamedMode::All,
            code: false,
        };
        let parsed = |text: &str| config::parse(Path::new("/etc/llmc.toml"), text).unwrap().audit.path;
        assert_eq!(parsed(&with_root(Access::Ro).audit(Some(&file))), Some(file.clone()));
        assert_eq!(parsed(&with_root(Access::Rw).audit(Some(&file))), None);
        assert_eq!(parsed(&with_root(Access::Ro).audit(None)), None);
    }

    #[test]
    fn the_reading_tools_are_file_tools() {
        assert!(READING.iter().all(|tool| FS_TOOLS.contains(tool)));
    }
}
