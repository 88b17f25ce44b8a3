//! Opening an address in the browser of whoever sits here.
//!
//! `$BROWSER` names programs, separated by colons, the first that works is taken; `%s` stands for the address, which
//! else comes last (as `xdg-open(1)` and `man(1)` read it). Without it `xdg-open` knows, where there is a screen.
//! Nothing goes through a shell.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What still runs after this time is a browser, and no program that failed to start one.
const PATIENCE: Duration = Duration::from_secs(3);

const LOOK: Duration = Duration::from_millis(20);

/// Opens it; returns the program that did.
///
/// # Errors
///
/// Why none did, in words.
pub(super) fn open(url: &str) -> Result<String, String> {
    let candidates = match env::var("BROWSER") {
        Ok(browsers) => browsers.split(':').filter_map(|browser| command(browser, url)).collect(),
        Err(_) if has_screen() => vec![vec!["xdg-open".to_owned(), url.to_owned()]],
        Err(_) => return Err("there is no screen here, and BROWSER is not set".to_owned()),
    };
    let mut problem = "BROWSER names none".to_owned();
    for argv in candidates {
        match start(&argv) {
            Ok(()) => return Ok(argv[0].clone()),
            Err(why) => problem = format!("`{}` {why}", argv[0]),
        }
    }
    Err(problem)
}

fn has_screen() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The words of one entry of `$BROWSER`, with the address in its place.
fn command(browser: &str, url: &str) -> Option<Vec<String>> {
    let mut words = shell_words::split(browser).ok().filter(|words| !words.is_empty())?;
    match words.iter().skip(1).any(|word| word.contains("%s")) {
        true => words.iter_mut().skip(1).for_each(|word| *word = word.replace("%s", url)),
        false => words.push(url.to_owned()),
    }
    Some(words)
}

/// Starts a program, and sees whether it fails at once. A browser goes on without us.
fn start(argv: &[String]) -> Result<(), String> {
    let (program, args) = argv.split_first().ok_or("is no command")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C here is not meant for it.
    let mut child = command.process_group(0).spawn().map_err(|error| format!("was not started: {error}"))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_argument_in_its_place() {
        let of = |browser| command(browser, "http://a/#b c");
        assert_eq!(of("firefox"), Some(vec!["firefox".into(), "http://a/#b c".into()]));
        assert_eq!(
            of("my\\ browser --new %s -x"),
            Some(vec!["my browser".into(), "--new".into(), "http://a/#b c".into(), "-x".into()])
        );
        assert_eq!(of(""), None);
        assert_eq!(of("'"), None);
    }

    #[test]
    fn what_fails_at_once_is_no_browser() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert!(start(&words(&["/no/such/browser"])).unwrap_err().contains("not started"));
        assert!(start(&words(&["/bin/false"])).unwrap_err().contains("exit status"));
        assert_eq!(start(&words(&["/bin/true"])), Ok(()));
    }
}
