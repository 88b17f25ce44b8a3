//! What is looked at when the storm is over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::statvfs;
use rustix::process::{WaitOptions, waitpid};
use serde_json::{Value, json};

use super::ground::{Ground, NOTE, exported};
use super::load::START;
use crate::answer::Answer;
use crate::http::Http;
use crate::processes::{Process, all, number, parent, state};
use crate::stdio::Stdio;

/// How long everything may take to work again: a host that failed often is started again after a while only.
const PATIENCE: Duration = Duration::from_secs(90);

const LOOK: Duration = Duration::from_millis(200);

/// Every tool once, in an order in which each finds what it needs, below a folder of its own.
fn every_tool(folder: &str) -> Vec<(&'static str, Value)> {
    let path = |name: &str| format!("{folder}/{name}");
    vec![
        ("hello", json!({"name": "Ada"})),
        ("create_dir", json!({"path": folder})),
        ("write_file", json!({"path": path("a"), "content": "one\n", "overwrite": true})),
        ("append_file", json!({"path": path("a"), "content": "two\n"})),
        ("edit_file", json!({"path": path("a"), "edits": [{"old": "two\n", "new": "three\n"}]})),
        ("copy_path", json!({"from": path("a"), "to": path("b")})),
        ("move_path", json!({"from": path("b"), "to": path("c")})),
        ("read_file", json!({"path": path("c")})),
        ("read_files", json!({"paths": [path("a"), path("c")]})),
        ("list_dir", json!({"path": folder})),
        ("tree", json!({"path": folder})),
        ("stat", json!({"path": path("a")})),
        ("find_files", json!({"pattern": "a", "path": folder})),
        ("search_files", json!({"pattern": "three", "path": folder})),
        ("delete_path", json!({"path": folder, "recursive": true})),
        ("run_command", json!({"argv": ["cat", NOTE]})),
        ("execute_code", json!({"code": "from llmc import tools\ntools.hello(name='Ada')"})),
        ("execute_code", json!({"code": "6 * 7", "language": "javascript"})),
        ("start_process", json!({"argv": ["cat"]})),
        ("list_processes", json!({})),
        ("search_code", json!({"query": "chaos_marker"})),
        ("where_used", json!({"name": "chaos_marker"})),
        ("index_status", json!({})),
        ("te_run", json!({"argv": ["ls", "fixed"]})),
    ]
}

/// Calls every tool until each has worked, and tells which did not in time.
pub(super) fn failing(name: &str, mut call: impl FnMut(&str, &Value) -> Result<Answer>) -> Vec<String> {
    let mut failing = Vec::new();
    let begun = Instant::now();
    for (tool, arguments) in every_tool(&format!("after-{name}")) {
        loop {
            let answer = call(tool, &arguments);
            if matches!(answer, Ok(Answer::Done(_))) {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let seen = answer.map_or_else(|error| format!("{error:#}"), |answer| answer.shown());
                failing.push(format!("`{tool}` of `{name}`: {seen}"));
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
    failing
}

/// Over stdio, by a new server.
pub(super) fn failing_over_stdio(name: &str, mut stdio: Stdio) -> Vec<String> {
    let mut failing = failing(name, |tool, arguments| stdio.call(tool, arguments, START));
    if let Err(error) = stdio.leave(START) {
        failing.push(format!("`{name}`: {error:#}"));
    }
    failing
}

/// Over HTTP, by the server that was there all the time.
pub(super) fn failing_over_http(name: &str, ground: &Ground) -> Vec<String> {
    let mut http = Http::new(ground.socket(name), None, START);
    failing(name, |tool, arguments| Ok(http.call(tool, arguments, None)?.answer()))
}

/// Removes what a killed writer may leave by its documented way, a further change in that directory, and tells what is
/// left all the same.
pub(super) fn left_files(ground: &Ground, mut write: impl FnMut(&str) -> Result<()>) -> Vec<String> {
    let root = ground.path("work");
    let mut temporary = Vec::new();
    walk(&root, &mut temporary);
    let folders: BTreeSet<PathBuf> =
        temporary.iter().filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let mut left = Vec::new();
    for folder in folders {
        let below = folder.strip_prefix(&root).unwrap_or(&folder).join("tidied");
        if let Err(error) = write(&below.to_string_lossy()) {
            left.push(format!("`{}` cannot be written: {error:#}", below.display()));
        }
    }
    temporary.clear();
    walk(&root, &mut temporary);
    left.extend(temporary.iter().map(|file| format!("`{}`", file.display())));
    left
}

/// Files in the scratch folder, and sockets, once no server runs.
pub(super) fn left_scratch(ground: &Ground) -> Vec<String> {
    let entries = fs::read_dir(ground.path("scratch")).into_iter().flatten().flatten();
    let mut left: Vec<String> = entries.map(|entry| format!("`{}`", entry.path().display())).collect();
    let etc = fs::read_dir(ground.path("etc")).into_iter().flatten().flatten().map(|entry| entry.path());
    let sockets = etc.filter(|path| path.extension().is_some_and(|end| end == "socket"));
    left.extend(sockets.map(|path| format!("`{}`", path.display())));
    left
}

/// MiB of a file system, and what is free of it.
pub(super) fn room(ground: &Ground, name: &str) -> Result<[u64; 2]> {
    let disk = statvfs(ground.path(name))?;
    Ok([disk.f_blocks, disk.f_bavail].map(|blocks| (blocks * disk.f_frsize) >> 20))
}

/// The largest files below a folder, and their bytes.
pub(super) fn largest(ground: &Ground, name: &str, most: usize) -> Vec<(String, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![ground.path(name)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => files.push((entry.path(), metadata.len())),
                Err(_) => {}
            }
        }
    }
    files.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let root = ground.path("");
    let shown = |path: &Path| path.strip_prefix(&root).unwrap_or(path).display().to_string();
    files.into_iter().take(most).map(|(path, bytes)| (shown(&path), bytes)).collect()
}

/// Names of temporary files below a folder.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, found);
        } else if entry.file_name().to_string_lossy().contains(".llmc-") {
            found.push(path);
        }
    }
}

/// Processes that are still there, all servers having ended. Orphans come to us, who are process 1 of the namespace.
pub(super) fn left_processes() -> Vec<String> {
    let begun = Instant::now();
    loop {
        let others: Vec<u32> = all().into_iter().filter(|pid| *pid != std::process::id()).collect();
        for pid in &others {
            if state(*pid).is_some_and(|state| state == "Z") && parent(*pid) == Some(std::process::id()) {
                // Nobody else waits for it.
                let _ = waitpid(number(*pid), WaitOptions::NOHANG);
            }
        }
        if others.is_empty() || begun.elapsed() > PATIENCE {
            let left = others.into_iter().filter_map(Process::of);
            return left.map(|process| format!("{} ({})", process.name, process.pid)).collect();
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the audit verifies, and what it says.
pub(super) fn verified(ground: &Ground, config: &Path) -> Result<(bool, String)> {
    let (is_good, said) = ground.llmc(&["audit", "verify", "--config", &config.display().to_string()])?;
    Ok((is_good, said.trim().lines().take(3).collect::<Vec<_>>().join("; ")))
}

/// What the audit tells.
#[derive(Default)]
pub(super) struct Recorded {
    /// When each record was made, in their order, by the clock of its server: milliseconds since 1970.
    pub(super) times: Vec<i64>,
    traces: BTreeSet<String>,
}

/// Reads the audit.
pub(super) fn recorded(ground: &Ground, config: &Path) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    for line in exported(ground, config)?.lines() {
        let record: Value = serde_json::from_str(line)?;
        recorded.times.push(record["time_ms"].as_i64().context("a record without a time")?);
        if let Some(trace) = record["trace_id"].as_str() {
            recorded.traces.insert(trace.to_owned());
        }
    }
    Ok(recorded)
}

impl Recorded {
    /// Answered calls that have no record.
    pub(super) fn lacks(&self, answered: &BTreeSet<String>) -> Vec<String> {
        answered.difference(&self.traces).map(|trace| format!("trace {trace}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_works_later_is_no_failure() {
        let mut calls = 0;
        let failing = failing("x", |tool, _| {
            calls += 1;
            Ok(match (tool, calls) {
                ("hello", 1..3) => Answer::Failed { kind: "busy".into(), text: String::new() },
                _ => Answer::Done(json!({})),
            })
        });
        assert!(failing.is_empty() && calls == every_tool("x").len() + 2, "{failing:?}");
    }

    #[test]
    fn temporary_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/.a.llmc-0123.tmp"), "").unwrap();
        fs::write(folder.path().join("sub/a"), "").unwrap();
        let mut found = Vec::new();
        walk(folder.path(), &mut found);
        assert_eq!(found.len(), 1);
    }
}
