//! The same grants in a real host jail: `llmc call` with a configuration made from those of the harness.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::fake_host::FakeHost;
use crate::{Envelope, Tool};

/// Names the program `llmc`; without it, the one on `PATH` is used.
const PROGRAM: &str = "LLMC";

/// A plugin behind a real server: its built library is loaded by a host that is jailed by its grants.
///
/// Every call starts a server of its own, so nothing stays from one call to the next but what the plugin wrote.
/// Removed with all its files when dropped.
pub struct Jail {
    folder: PathBuf,
}

/// A call that was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} [{kind}]")]
pub struct Refused {
    /// What kind of failure it is, such as `denied`, `invalid_arguments`, `timed_out` or `plugin_failed`.
    pub kind: String,
    /// What a client would be told.
    pub message: String,
}

impl Jail {
    pub(super) fn new<T: Tool>(host: &FakeHost) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if !host.tools.is_empty() || !host.programs.is_empty() {
            return Err(io::Error::other(
                "a jail has no played tools or programs; test what uses them with `Harness::call`",
            ));
        }
        let library = library_of(std::any::type_name::<T>())?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("llmc-jail-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let jail = Self { folder };
        fs::write(jail.config_file(), jail.config(host, &library)?)?;
        Ok(jail)
    }

    /// Calls a tool as the person at the command line would.
    ///
    /// # Errors
    /// What the server refused, or why the plugin failed. A tool that reports an error itself is `Ok`, with
    /// [`Envelope::is_error`] set.
    ///
    /// # Panics
    /// If `llmc` cannot be started: `LLMC=/path/to/llmc` names it.
    pub fn call<T: Tool>(&self, arguments: Value) -> Result<Envelope, Refused> {
        let output = self.start(T::NAME, &arguments).unwrap_or_else(|error| {
            panic!("failed to start `llmc`: {error}; name it with `{PROGRAM}=/path/to/llmc`")
        });
        if let Ok(envelope) = serde_json::from_slice(&output.stdout) {
            return Ok(envelope);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("llmc: ");
        let parts = said.strip_suffix(']').and_then(|said| said.rsplit_once(" ["));
        let (message, kind) = parts.unwrap_or((said, "not_started"));
        Err(Refused { kind: kind.to_owned(), message: message.to_owned() })
    }

    fn start(&self, tool: &str, arguments: &Value) -> io::Result<std::process::Output> {
        let mut llmc = Command::new(program());
        llmc.args(["--log", "error", "call", "--json", "--config"]).arg(self.config_file()).args([tool, "-"]);
        llmc.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = llmc.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A server that does not come to read it says why on stderr.
            let _ = stdin.write_all(arguments.to_string().as_bytes());
        }
        child.wait_with_output()
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("llmc.toml")
    }

    fn config(&self, host: &FakeHost, library: &Path) -> io::Result<String> {
        let mut text = String::new();
        let mut line = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        line(format!("server.state = {}", quoted(self.folder.join("state").display())));
        for root in host.roots() {
            let access = if root.access.is_writable() { "rw" } else { "ro" };
            let path = quoted(fs::canonicalize(&root.path)?.display());
            line(format!("roots.{} = {{ path = {path}, access = \"{access}\" }}", root.name));
        }
        if let Some(root) = host.roots().first() {
            let protected: Vec<_> = root.protected.iter().map(quoted).collect();
            line(format!("policy.protected_paths = [{}]", protected.join(", ")));
        }
        for (name, value) in &host.secrets {
            let file = self.folder.join(format!("secret-{name}"));
            fs::write(&file, value)?;
            line(format!("secrets.{name} = {{ file = {} }}", quoted(file.display())));
        }
        line("[plugins.plugin]".to_owned());
        line(format!("library = {}", quoted(library.display())));
        let roots: Vec<_> = host.roots().iter().map(|root| quoted(&root.name)).collect();
        let secrets: Vec<_> = host.secrets.keys().map(quoted).collect();
        line(format!(
            "grants = {{ roots = [{}], secrets = [{}], state = {} }}",
            roots.join(", "),
            secrets.join(", "),
            host.state.is_some()
        ));
        if !host.config.is_null() {
            line(format!("config = {}", toml(&host.config)));
        }
        Ok(text)
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        // A folder that stays in the temporary folder is no reason to fail a test.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| PathBuf::from("llmc"), PathBuf::from)
}

/// The library that the tests are about: built by cargo beside this test program, and named after the crate of the
/// tool.
fn library_of(type_name: &str) -> io::Result<PathBuf> {
    let name = type_name.split("::").next().unwrap_or(type_name);
    let program = std::env::current_exe()?;
    let folders = program.ancestors().skip(1).take(2);
    let files: Vec<PathBuf> = folders.map(|folder| folder.join(format!("lib{name}.so"))).collect();
    let changed = |file: &&PathBuf| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    let newest = files.iter().filter(|file| file.is_file()).max_by_key(changed);
    newest.cloned().ok_or_else(|| {
        io::Error::other(format!(
            "the library of crate `{name}` is not built: `cargo build` makes `{}`; its crate type has to be `cdylib`",
            files.last().map_or_else(String::new, |file| file.display().to_string())
        ))
    })
}

/// A TOML string; JSON has the same escapes but leaves one control character alone.
fn quoted(text: impl ToString) -> String {
    Value::from(text.to_string()).to_string().replace('\u{7f}', "\\u007f")
}

/// A TOML value. What is `null` in JSON is left out.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<_> =
                fields.map(|(key, value)| format!("{} = {}", quoted(key), toml(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_toml() {
        let value = json!({"a": [1, 2.5, true], "b c": {"d": "x\"\n\u{7f}"}, "gone": null});
        assert_eq!(toml(&value), r#"{ "a" = [1, 2.5, true], "b c" = { "d" = "x\"\n\u007f" } }"#);
    }

    #[test]
    fn a_crate_without_a_library_is_named() {
        let error = library_of("nowhere::Tool").unwrap_err().to_string();
        assert!(error.starts_with("the library of crate `nowhere` is not built"), "{error}");
    }
}
