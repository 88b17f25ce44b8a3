//! Tries the cases of a file and compares.

use std::fmt::Write as _;

use crate::case::{self, Case, Command, Step};
use crate::ground::{Done, Ground};

/// Tries every case of `cases/NAME.md`.
#[track_caller]
pub(crate) fn file(name: &str) {
    let path = case::folder().join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = case::parse(&text).unwrap_or_else(|problem| panic!("{name}.md: {problem}"));
    assert!(!cases.is_empty(), "{name}.md has no case");
    let (mut wrong, mut outputs) = (String::new(), Vec::new());
    for case in &cases {
        for (command, done) in tried(name, case) {
            if !is_as_expected(command, &done) {
                write!(wrong, "\n{name}.md, {}\n{}", case.title, difference(command, &done)).unwrap();
                outputs.push((command.place.clone(), lines(done.code, &done.printed)));
            }
        }
    }
    if std::env::var_os("LLMC_BLESS").is_some() {
        std::fs::write(&path, case::blessed(&text, outputs)).unwrap();
        return;
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nread this as a user would; if it is right, `LLMC_BLESS=1 cargo test -p llmc-server --test messages` \
         writes it into the file"
    );
}

/// What the commands of a case did, as far as this machine could prepare it.
fn tried<'a>(name: &str, case: &'a Case) -> Vec<(&'a Command, Done)> {
    let mut ground = Ground::new();
    let mut done = Vec::new();
    for step in &case.steps {
        match step {
            Step::File { name, text } => ground.write(name, text),
            Step::Prepare(script) => {
                if let Err(why) = ground.prepare(script) {
                    println!("NOT CHECKED: {name}.md, {}: {why}", case.title);
                    break;
                }
            }
            Step::Try(command) => done.push((command, ground.run(&command.line))),
        }
    }
    done
}

fn is_as_expected(command: &Command, done: &Done) -> bool {
    command.code == done.code
        && command.printed.len() == done.printed.len()
        && command.printed.iter().zip(&done.printed).all(|(expected, found)| case::fits(expected, found))
}

/// As the file has it.
fn lines(code: i32, printed: &[String]) -> Vec<String> {
    let code = (code != 0).then(|| format!("? {code}"));
    code.into_iter().chain(printed.iter().cloned()).collect()
}

fn difference(command: &Command, done: &Done) -> String {
    let (before, after) =
        (lines(command.code, &command.printed).join("\n"), lines(done.code, &done.printed).join("\n"));
    format!("$ {}\n--- expected\n{before}\n--- printed\n{after}\n", command.line)
}
