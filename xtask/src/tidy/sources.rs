//! What every text file and every Rust file must and must not hold.

use std::env;
use std::path::Path;

use super::{Problem, TextFile};
use crate::rust_text::{self, Kind};

/// The places where `unsafe` may stand; a review of memory safety reads these and nothing else.
const UNSAFE_PLACES: &[&str] = &[
    "llmc-core/src/export.rs",
    "llmc-core/src/fd.rs",
    "llmc-host/src/loader.rs",
    "llmc-sandbox/src/sys/",
    // Functions with names for an interpreter.
    "llmc-zygote/src/lib.rs",
    // Attacks on the jail are raw system calls.
    "llmc-sandbox/tests/jail/",
    // Takes a layer of protection away between fork and exec.
    "llmc-server/tests/security/without.rs",
    "plugins/stress/",
];

const MAX_LINES: usize = 700;

/// Words that say a thing is not done. In quotes they are only spoken of.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// Hosts that a registry answers on: cargo knows them, the tree must not. Split, so that this file does not.
const REGISTRY_HOSTS: &[&str] = &[concat!("static.", "crates.io"), concat!("index.", "crates.io")];

/// Checks all files.
pub(super) fn check(files: &[TextFile], root: &Path) -> Vec<Problem> {
    let machine = machine_paths(root, env::home_dir().as_deref());
    let mut problems = Vec::new();
    for file in files {
        problems.extend(unfinished(file));
        problems.extend(of_this_machine(file, &machine));
        if file.path.ends_with(".rs") {
            problems.extend(module_docs(file));
            problems.extend(misplaced_unsafe(file));
        }
        if file.path.ends_with(".rs") || file.path.ends_with(".py") {
            problems.extend(length(file));
        }
    }
    problems
}

fn unfinished(file: &TextFile) -> Vec<Problem> {
    let meant = |line: &str, word: &str| words(line, word).any(|at| !line[..at].ends_with(QUOTES));
    let lines = lines_with(file, |line| UNFINISHED.iter().find(|word| meant(line, word)));
    let problem =
        |(line, word)| Problem::at(&file.path, line, format!("`{word}`: finish it, or open an issue"));
    lines.into_iter().map(problem).collect()
}

/// Paths that exist only where this repository is being worked on.
fn machine_paths(root: &Path, home: Option<&Path>) -> Vec<String> {
    // A root of one part, such as `/src`, would be met by chance.
    let root = Some(root).filter(|root| root.components().count() > 2).map(|root| root.display().to_string());
    // A name in `/home` is somebody's; `/root` is on every machine, but what Rust keeps there is not.
    let home = home.filter(|home| home.components().count() > 1).map(|home| home.display().to_string());
    let homes = home.into_iter().flat_map(|home| match &*home {
        "/root" => vec![format!("{home}/.cargo"), format!("{home}/.rustup")],
        _ => vec![format!("{home}/")],
    });
    root.into_iter().chain(homes).collect()
}

fn of_this_machine(file: &TextFile, machine: &[String]) -> Vec<Problem> {
    let found = |line: &str| {
        let path = machine.iter().find(|path| has_path(line, path)).map(String::as_str);
        path.or_else(|| REGISTRY_HOSTS.iter().find(|host| line.contains(*host)).copied()).map(str::to_owned)
    };
    let problem = |(line, text)| {
        let message = format!(
            "`{text}` means something on this machine only; write it relative, or take it from outside"
        );
        Problem::at(&file.path, line, message)
    };
    lines_with(file, found).into_iter().map(problem).collect()
}

fn module_docs(file: &TextFile) -> Option<Problem> {
    let first = file.text.lines().find(|line| !line.trim().is_empty());
    let documented = first.is_some_and(|line| line.starts_with("//!"));
    (!documented).then(|| Problem::at(&file.path, 1, "begin with `//!` and say what the file is for"))
}

fn misplaced_unsafe(file: &TextFile) -> Vec<Problem> {
    if UNSAFE_PLACES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut line = 1;
    for (kind, part) in rust_text::split(&file.text) {
        for (number, text) in part.lines().enumerate() {
            if kind == Kind::Code && words(text, "unsafe").next().is_some() {
                let message =
                    "`unsafe` belongs in the places named in xtask/src/tidy/sources.rs; move it there";
                problems.push(Problem::at(&file.path, line + number, message));
            }
        }
        line += part.matches('\n').count();
    }
    problems
}

fn length(file: &TextFile) -> Option<Problem> {
    let lines = file.text.lines().count();
    let message = || format!("{lines} lines, more than {MAX_LINES}; split it by purpose");
    (lines > MAX_LINES).then(|| Problem::new(&file.path, message()))
}

/// The numbers of the lines in which something is found, and what.
fn lines_with<T>(file: &TextFile, find: impl Fn(&str) -> Option<T>) -> Vec<(usize, T)> {
    let lines = file.text.lines().enumerate();
    lines.filter_map(|(number, line)| Some((number + 1, find(line)?))).collect()
}

/// Where the word stands by itself, not as a part of a longer name.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let places = line.match_indices(word).map(|(at, _)| at);
    places.filter(move |at| !line[..*at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
}

/// Whether the path stands there, whole or as the beginning of a longer one.
fn has_path(line: &str, path: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    line.match_indices(path).any(|(at, _)| {
        let after = &line[at + path.len()..];
        !line[..at].ends_with(is_name) && (path.ends_with('/') || !after.starts_with(is_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: impl Into<String>) -> TextFile {
        TextFile { path: path.to_owned(), text: text.into() }
    }

    fn found_lines(problems: impl IntoIterator<Item = Problem>) -> Vec<usize> {
        problems.into_iter().map(|problem| problem.line.unwrap()).collect()
    }

    #[test]
    fn unfinished_work_is_found_by_word() {
        for word in UNFINISHED {
            assert_eq!(found_lines(unfinished(&file("a.md", format!("fine\n// {word}: later")))), [2]);
        }
        assert!(unfinished(&file("a.md", "count(\"TODO\"), `FIXME`, MASTODON")).is_empty());
    }

    #[test]
    fn paths_of_the_machine_are_found() {
        let machine = machine_paths(Path::new("/build/llmc"), Some(Path::new("/somebody")));
        let lines = |text: &str| found_lines(of_this_machine(&file("a.toml", text), &machine));
        assert_eq!(lines("x = 1\nf(\"/build/llmc/target\")\ncd /somebody/x\n"), [2, 3]);
        assert!(
            lines("/build/llmc-two /build/llmc.py /home/somebody/ ../llmc the home /somebody").is_empty()
        );
        assert_eq!(lines(&format!("https://{}/x", REGISTRY_HOSTS[0])), [1]);
    }

    #[test]
    fn the_home_of_root_is_a_fair_target_for_tests_but_not_its_toolchain() {
        let machine = machine_paths(Path::new("/src"), Some(Path::new("/root")));
        let lines = |text: &str| found_lines(of_this_machine(&file("a.rs", text), &machine));
        assert!(lines(&format!("{}/.ssh/id_rsa", "/root")).is_empty());
        assert_eq!(lines(&format!("{}/.cargo/registry", "/root")), [1]);
    }

    #[test]
    fn a_short_root_and_no_home_name_nothing() {
        assert!(machine_paths(Path::new("/src"), Some(Path::new("/"))).is_empty());
    }

    #[test]
    fn a_rust_file_begins_with_its_purpose() {
        assert!(module_docs(&file("a.rs", "//! Adds.\nfn add() {}")).is_none());
        assert!(module_docs(&file("a.rs", "fn add() {}\n//! Adds.")).is_some());
        assert!(module_docs(&file("a.rs", "")).is_some());
    }

    #[test]
    fn unsafe_stays_in_its_places() {
        let text = "//! Docs.\n/* unsafe\n */ fn f() { let s = \"unsafe\n\"; unsafe { g() } }\n#![forbid(unsafe_code)]";
        assert_eq!(found_lines(misplaced_unsafe(&file("llmc-server/src/lib.rs", text))), [4]);
        assert!(misplaced_unsafe(&file("llmc-sandbox/src/sys/mod.rs", text)).is_empty());
        assert!(misplaced_unsafe(&file("a.rs", "// unsafe\nf(\"unsafe\");")).is_empty());
    }

    #[test]
    fn long_files_are_found() {
        assert!(length(&file("a.rs", "\n".repeat(MAX_LINES))).is_none());
        assert!(length(&file("a.rs", "\n".repeat(MAX_LINES + 1))).is_some());
    }
}
