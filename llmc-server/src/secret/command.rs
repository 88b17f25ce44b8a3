//! A secret from a command, such as that of a password manager.
//!
//! The server itself starts it, once, before anything else: a secret manager has to reach what no jail may reach. No
//! model, client or plugin has a say in it: the command stands in the configuration, there is no shell, and its
//! environment is empty.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

/// How long it may take; a person may have to unlock something.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it prints, up to `max_bytes`.
///
/// # Errors
///
/// What went wrong, without a word of its output.
pub(super) fn output(command: &[String], max_bytes: u64) -> io::Result<Zeroizing<String>> {
    within(command, max_bytes, PATIENCE)
}

fn within(command: &[String], max_bytes: u64, patience: Duration) -> io::Result<Zeroizing<String>> {
    let failed = |what: &str| io::Error::other(what.to_owned());
    let (program, arguments) = command.split_first().ok_or_else(|| failed("the command is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| failed("it has no output"))?;
    let (sender, answer) = channel();
    std::thread::Builder::new().name("secret".into()).spawn(move || {
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(usize::try_from(max_bytes + 1).unwrap_or_default()));
        let read = stdout.take(max_bytes + 1).read_to_end(&mut bytes);
        // Nobody waits any more when it took too long.
        let _ = sender.send(read.map(|_| bytes));
    })?;
    let read = answer.recv_timeout(patience);
    // What it started and left behind is ended, too. Nobody has waited for it, so its number is still its own.
    let status = match &read {
        Ok(Ok(bytes)) if bytes.len() as u64 <= max_bytes => child.wait(),
        _ => Err(io::Error::other("")),
    };
    if status.is_err() {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
    }
    let bytes = read.map_err(|_| failed(&format!("it took longer than {} s", patience.as_secs())))??;
    if bytes.len() as u64 > max_bytes {
        return Err(failed(&format!("it printed more than {max_bytes} bytes")));
    }
    let status = status?;
    if !status.success() {
        return Err(failed(&format!("it ended with {status}")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("it did not print UTF-8 text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &[&str]) -> io::Result<String> {
        let command: Vec<String> = command.iter().map(|part| (*part).to_owned()).collect();
        within(&command, 1024, Duration::from_secs(1)).map(|text| text.to_string())
    }

    #[test]
    fn what_it_prints_is_the_secret_and_it_gets_nothing() {
        assert_eq!(run(&["/bin/echo", "a b", "$HOME"]).unwrap(), "a b $HOME\n");
        assert_eq!(run(&["/usr/bin/env"]).unwrap(), "", "its environment is empty");
        assert_eq!(run(&["/bin/cat"]).unwrap(), "", "its stdin is empty");
    }

    #[test]
    fn what_goes_wrong_is_told_without_its_output() {
        let of = |command: &[&str]| run(command).unwrap_err().to_string();
        assert!(of(&["/bin/sh", "-c", "echo hush; exit 3"]).contains("exit status: 3"));
        assert!(of(&["/bin/sh", "-c", "echo hush; sleep 60"]).contains("took longer"));
        assert!(of(&["/bin/cat", "/dev/zero"]).contains("more than 1024"));
        assert!(of(&["/bin/printf", "\\377\\377\\377\\377\\377\\377\\377\\377"]).contains("UTF-8"));
        assert!(run(&["/no/such/program"]).is_err() && run(&[]).is_err());
        assert!(!of(&["/bin/sh", "-c", "echo hush; exit 3"]).contains("hush"));
    }
}
