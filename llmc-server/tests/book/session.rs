//! Plays a transcript: its commands, in one shell, in a home of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::docs;
use crate::support::{stage, target, test_library};
use crate::terminal::Terminal;

/// Stands before the output of each command.
const MARK: char = '\u{1}';

/// Where a reader of the tutorial has its plugin.
const BUILT: &str = "notes/target/release/libnotes.so";

/// The lines of a command: the first after `$ `, further ones after `> `.
struct Entered {
    lines: Vec<String>,
}

/// The same commands with what they print now. `name` is that of the home, which stays where it is from one run to the
/// next, so that cargo has to keep one build of what is made there.
pub(crate) fn play(name: &str, transcript: &str) -> String {
    let commands = commands(transcript);
    let home = target().join("sessions").join(name);
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    let home_path = home.canonicalize().unwrap();
    let mut terminal = Terminal::new(&home_path, &stage().canonicalize().unwrap(), &docs());
    if transcript.contains(BUILT) {
        // The plugin of the tutorial, as if its reader had just built it.
        let file = home_path.join(BUILT);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(test_library("libnotes.so"), file).unwrap();
    }
    let output = Command::new("/bin/sh")
        .args(["-c", &terminal.here(&script(&commands))])
        .env_clear()
        .envs(environment(&home_path))
        .current_dir(&home_path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "the shell failed: {}", String::from_utf8_lossy(&output.stderr));

    let mut outputs = shown.split(MARK);
    assert_eq!(outputs.next(), Some(""), "the shell printed something before the first command");
    let mut text = String::new();
    for (command, output) in commands.iter().zip(outputs) {
        text.push_str(&format!("$ {}\n", command.lines.join("\n> ").replace("> \n", ">\n")));
        text.push_str(&terminal.shown(output));
    }
    assert_eq!(text.matches("\n$ ").count() + 1, commands.len(), "not every command ran: {text}");
    text
}

fn commands(transcript: &str) -> Vec<Entered> {
    let mut commands: Vec<Entered> = Vec::new();
    let mut entering = false;
    for line in transcript.lines() {
        if let Some(line) = line.strip_prefix("$ ") {
            commands.push(Entered { lines: vec![line.to_owned()] });
            entering = true;
        } else if let Some(line) =
            line.strip_prefix("> ").or((line == ">").then_some("")).filter(|_| entering)
        {
            commands.last_mut().unwrap().lines.push(line.to_owned());
        } else {
            entering = false;
        }
    }
    commands
}

/// Each command finds the exit code of the one before it in `$?`.
fn script(commands: &[Entered]) -> String {
    let mut script = "exec 2>&1\n".to_owned();
    for command in commands {
        script.push_str("code=$?; printf '\\001'; (exit $code)\n");
        script.push_str(&command.lines.join("\n"));
        script.push('\n');
    }
    script
}

/// What a user has, and what cargo needs to build without a network.
fn environment(home: &Path) -> Vec<(String, String)> {
    let own = |name: &str, folder: &str| {
        let home = std::env::var("HOME").unwrap_or_default();
        std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}"))
    };
    let cargo = PathBuf::from(env!("CARGO"));
    let path = [stage().join("bin"), cargo.parent().unwrap().to_owned(), "/usr/bin".into(), "/bin".into()];
    let path: Vec<String> = path.iter().map(|folder| folder.display().to_string()).collect();
    let built = target().join("new-plugin");
    fs::create_dir_all(&built).unwrap();
    [
        ("HOME", home.display().to_string()),
        ("PATH", path.join(":")),
        ("LANG", "C.UTF-8".to_owned()),
        ("CARGO_HOME", own("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME", own("RUSTUP_HOME", ".rustup")),
        ("CARGO_NET_OFFLINE", "true".to_owned()),
        ("CARGO_TARGET_DIR", built.display().to_string()),
        ("LLMC", stage().join("bin/llmc").display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[test]
fn a_transcript_is_played_in_one_shell() {
    let played =
        play("shell", "$ cd / && pwd\nold\n$ cat <<END\n> two\n>\n> lines\n> END\n$ false\n$ echo $?\n");
    assert_eq!(
        played,
        "$ cd / && pwd\n/\n$ cat <<END\n> two\n>\n> lines\n> END\ntwo\n\nlines\n$ false\n$ echo $?\n1\n"
    );
}
