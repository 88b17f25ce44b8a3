//! Transcripts are what a terminal shows today.

use std::fs;
use std::path::{Path, PathBuf};

use crate::session::play;
use crate::{compared, docs};

/// Transcripts whose names begin so build a plugin, which takes longer.
const AUTHOR: &str = "author";

/// Those whose output depends on the kernel; their own test tells what is compared.
const MACHINE: &str = "doctor";

fn files(wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(docs().join("transcripts")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| wanted(path.file_name().unwrap().to_str().unwrap())).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn name_of(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

#[track_caller]
fn check(files: Vec<PathBuf>) {
    let differences: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            assert!(text.starts_with("$ "), "{}: a transcript begins with a command", file.display());
            compared(file, &play(name_of(file), &text))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn sessions_of_operators_are_as_they_are_told() {
    check(files(|name| !name.starts_with(AUTHOR) && !name.starts_with(MACHINE)));
}

#[test]
fn sessions_of_authors_are_as_they_are_told() {
    check(files(|name| name.starts_with(AUTHOR)));
}

/// Kernels differ in what they give and in how much; which layers there are, and what each is for, is the program's.
#[test]
fn doctor_is_as_it_is_told() {
    for file in files(|name| name.starts_with(MACHINE)) {
        let text = fs::read_to_string(&file).unwrap();
        let played = play(name_of(&file), &text);
        if of_every_machine(&text) != of_every_machine(&played) {
            assert_eq!(compared(&file, &played), None);
        }
    }
}

/// The lines without what the kernel, the user or the number of attempts decides.
fn of_every_machine(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with(&" ".repeat(9)));
    lines
        .map(|line| {
            let is_layer = ["ok  ", "missing  ", "REQUIRED "].iter().any(|status| line.starts_with(status));
            let line =
                if is_layer { line[9..].to_owned() } else { line.replace(|c: char| c.is_ascii_digit(), "") };
            let end = line.find(" (").into_iter().chain(line.find(": ")).min().unwrap_or(line.len());
            line[..end].to_owned()
        })
        .collect()
}

#[test]
fn machines_are_told_apart_by_nothing_else() {
    let of = |text: &str| of_every_machine(text).join("|");
    assert_eq!(
        of("ok       landlock   files are refused (ABI 7)\nself-test: 154 attempts"),
        of("missing  landlock   files are refused: too old\n         to get it: x\nself-test: 9 attempts")
    );
    assert_ne!(
        of("ok       landlock   files are refused (ABI 7)"),
        of("ok       landlock   files are free (ABI 7)")
    );
}
