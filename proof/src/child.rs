//! Runs a program, shows what it says, and keeps it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it said on stdout and stderr.
    pub(crate) lines: Vec<String>,
    /// When it began, in seconds since 1970.
    pub(crate) began: u64,
    pub(crate) seconds: f64,
}

impl Ended {
    /// The last thing that it said, for who asks why there is nothing else.
    pub(crate) fn reason(&self) -> String {
        let is_said = |line: &&String| !line.trim().is_empty();
        let error = self.lines.iter().rev().find(|line| line.trim_start().starts_with("error"));
        let line = error.or_else(|| self.lines.iter().rev().find(is_said));
        format!("{}: {}", self.status, line.map_or("it said nothing", |line| line.trim()))
    }
}

/// Runs it to its end; what it says goes to the terminal and to the file, too.
///
/// # Errors
/// If it cannot be started, or the file cannot be written to.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<Ended> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let (began, start) = (now(), Instant::now());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    // Its ends of the pipe would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("    {line}");
        writeln!(file, "{line}")?;
        lines.push(line);
    }
    Ok(Ended { status: child.wait()?, lines, began, seconds: start.elapsed().as_secs_f64() })
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<_> =
        [program].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// The first line with something in it that a program says, if it can be started and succeeds. Some, such as nginx, tell
/// their version on stderr.
pub(crate) fn first_line(
    program: impl AsRef<std::ffi::OsStr>,
    args: &[&str],
    folder: &Path,
) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output().ok()?;
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let text = String::from_utf8_lossy(said);
    let line = || text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    output.status.success().then(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_wherever_it_is_told() {
        let told = |script: &str| first_line("sh", &["-c", script], Path::new("/"));
        assert_eq!(told("echo 1.2; echo more").as_deref(), Some("1.2"));
        assert_eq!(told("echo 1.3 >&2").as_deref(), Some("1.3"));
        assert_eq!(told("echo; echo 1.4").as_deref(), Some("1.4"));
        assert_eq!(told("true").as_deref(), Some(""));
        assert_eq!(told("echo 1.2; exit 1"), None);
    }

    fn sh(script: &str) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), &folder.path().join("logs/x.log")).unwrap()
    }

    #[test]
    fn both_streams_are_kept_and_the_reason_is_the_error() {
        let ended = sh("echo one; echo 'error: two' >&2; echo three; echo; exit 2");
        assert_eq!(ended.lines, ["one", "error: two", "three", ""]);
        assert_eq!(ended.reason(), "exit status: 2: error: two");
        assert_eq!(sh("echo only").reason(), "exit status: 0: only");
        assert_eq!(sh("exit 1").reason(), "exit status: 1: it said nothing");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&mut Command::new("llmc-no-such-program"), &folder.path().join("log")).err().unwrap();
        assert!(error.to_string().contains("llmc-no-such-program"), "{error}");
        assert_eq!(first_line("llmc-no-such-program", &[], folder.path()), None);
        assert_eq!(first_line("echo", &["one"], folder.path()).as_deref(), Some("one"));
    }
}
