//! The mixed load: which call comes next, and what a success of it looks like.

use serde_json::{Value, json};

use super::ground::{NOTE, NOTE_TEXT};
use super::ledger::{Change, Ledger};
use crate::answer::{Answer, text};
use crate::dice::Dice;

/// Files that a client keeps.
const MAX_FILES: usize = 12;

/// Processes that a client knows of.
const MAX_PROCESSES: usize = 3;

/// A call to be made.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) tool: &'static str,
    pub(super) arguments: Value,
    pub(super) change: Change,
    /// What has to be in the text, or the structured content, of a success.
    expected: Option<String>,
}

/// What one client does.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) ledger: Ledger,
    dice: Dice,
    /// Handles of processes and outputs.
    processes: Vec<String>,
    outputs: Vec<String>,
}

impl Job {
    fn new(tool: &'static str, arguments: Value) -> Self {
        Self { tool, arguments, change: Change::none(), expected: None }
    }

    fn expecting(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// Why a success is none: it says something else than it must.
    pub(super) fn wrong(&self, answer: &Answer) -> Option<String> {
        let Answer::Done(result) = answer else { return None };
        let expected = self.expected.as_ref()?;
        let is_there = text(result).contains(expected) || result["structuredContent"]["result"] == **expected;
        // A program whose process the storm killed says nothing more; how it ended is what its result tells.
        let was_killed = result["structuredContent"]["signal"] == "SIGKILL";
        (!is_there && !was_killed)
            .then(|| format!("`{}` should say {expected:?}: {}", self.tool, answer.shown()))
    }
}

impl Work {
    pub(super) fn new(name: &str, dice: Dice) -> Self {
        let (processes, outputs) = Default::default();
        Self { ledger: Ledger::new(name), dice, processes, outputs }
    }

    pub(super) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// The next call.
    pub(super) fn next(&mut self) -> Job {
        match self.dice.below(100) {
            0..30 => self.look(),
            30..60 => self.write(),
            60..70 => Job::new("hello", json!({"name": "Ada"})).expecting("Hello, Ada!"),
            70..78 => self.command(),
            78..90 => self.code(),
            90..93 => Job::new("search_code", json!({"query": "chaos_marker"})),
            93..96 => Job::new("te_run", json!({"argv": ["grep", "-rn", "quick brown", "fixed"]})),
            _ => self.process(),
        }
    }

    fn look(&mut self) -> Job {
        match self.dice.below(8) {
            0..3 => Job::new("read_file", json!({"path": NOTE})).expecting("lazy dog"),
            3 => Job::new("list_dir", json!({"path": "fixed"})).expecting("note.txt"),
            4 => Job::new("stat", json!({"path": NOTE})).expecting(NOTE_TEXT.len().to_string()),
            5 => Job::new("find_files", json!({"pattern": "note.*", "path": "fixed"})).expecting("note.txt"),
            6 => Job::new("search_files", json!({"pattern": "quick.*fox", "path": "fixed"})).expecting("fox"),
            _ => Job::new("tree", json!({"path": "fixed"})).expecting("note.txt"),
        }
    }

    fn write(&mut self) -> Job {
        let free = self.ledger.free();
        let old = self.dice.one_of(&free).cloned();
        match (old, self.dice.below(10)) {
            (Some(path), 8 | 9) if free.len() > MAX_FILES / 2 => self.remove(path),
            (Some(path), 0..3) => self.append(path),
            (Some(path), 3..6) => self.edit(path),
            (Some(path), 6) => self.relocate(path),
            (Some(path), _) if free.len() >= MAX_FILES => self.write_to(path),
            _ => {
                let path = self.ledger.new_path();
                self.write_to(path)
            }
        }
    }

    fn write_to(&mut self, path: String) -> Job {
        let end = if self.dice.percent(10) { 200_000 } else { 4_000 };
        let text = format!("version 1\n{}", self.dice.text(20, end));
        let arguments = json!({"path": path, "content": text, "overwrite": true});
        let change = self.ledger.begin(vec![(path, Some(text))]);
        Job { change, ..Job::new("write_file", arguments) }
    }

    fn append(&mut self, path: String) -> Job {
        let more = self.dice.text(10, 2_000);
        let whole = format!("{}{more}", self.ledger.text(&path).cloned().unwrap_or_default());
        let arguments = json!({"path": path, "content": more});
        let change = self.ledger.begin(vec![(path, Some(whole))]);
        Job { change, ..Job::new("append_file", arguments) }
    }

    fn edit(&mut self, path: String) -> Job {
        let text = self.ledger.text(&path).cloned().unwrap_or_default();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let new = format!("version {}", self.dice.below(1_000_000) + 2);
        let after = format!("{new}\n{rest}");
        let edits = json!([{"old": format!("{first}\n"), "new": format!("{new}\n")}]);
        let arguments = json!({"path": path, "edits": edits});
        let change = self.ledger.begin(vec![(path, Some(after))]);
        Job { change, ..Job::new("edit_file", arguments) }
    }

    fn relocate(&mut self, path: String) -> Job {
        let (to, text) = (self.ledger.new_path(), self.ledger.text(&path).cloned());
        let arguments = json!({"from": path, "to": to});
        let change = self.ledger.begin(vec![(path, None), (to, text)]);
        Job { change, ..Job::new("move_path", arguments) }
    }

    fn remove(&mut self, path: String) -> Job {
        let arguments = json!({"path": path});
        let change = self.ledger.begin(vec![(path, None)]);
        Job { change, ..Job::new("delete_path", arguments) }
    }

    fn command(&mut self) -> Job {
        match self.dice.below(4) {
            0 => Job::new("run_command", json!({"argv": ["cat", NOTE]})).expecting("lazy dog"),
            1 => Job::new("run_command", json!({"argv": ["sh", "-c", "sleep 0.3; echo up $((6 * 7))"]}))
                .expecting("up 42"),
            2 => {
                let loud = "i=0; while [ $i -lt 3000 ]; do echo line $i of a long output; i=$((i+1)); done";
                Job::new("run_command", json!({"argv": ["sh", "-c", loud], "max_output_bytes": 2000}))
            }
            _ => Job::new(
                "run_command",
                json!({"argv": ["sh", "-c", "(sleep 600 &) ; sleep 600"], "timeout_ms": 1500}),
            ),
        }
    }

    fn code(&mut self) -> Job {
        match self.dice.below(5) {
            0 => {
                let (path, text) = (self.ledger.new_path(), self.dice.text(20, 500));
                let code = format!(
                    "from llmc import tools\ntools.write_file(path={}, content={})\n'written'",
                    json!(path),
                    json!(text)
                );
                let change = self.ledger.begin(vec![(path, Some(text))]);
                Job { change, ..Job::new("execute_code", json!({"code": code})) }.expecting("written")
            }
            1 => {
                let code = format!(
                    "from llmc import tools\n[tools.read_file(path='{NOTE}')['text'] for _ in range(5)][4][:9]"
                );
                Job::new("execute_code", json!({"code": code})).expecting("the quick")
            }
            2 => Job::new("execute_code", json!({"code": "import time\ntime.sleep(0.4)\nstr(6 * 7)"}))
                .expecting("42"),
            3 => {
                let code = "tools.hello({name: 'Bob'})";
                Job::new("execute_code", json!({"code": code, "language": "javascript"}))
                    .expecting("Hello, Bob!")
            }
            _ => Job::new("execute_code", json!({"code": "'y' * 4", "language": "python"})).expecting("yyyy"),
        }
    }

    fn process(&mut self) -> Job {
        let process = self.dice.one_of(&self.processes).cloned();
        let output = self.dice.one_of(&self.outputs).cloned();
        match (process, output, self.dice.below(4)) {
            (_, Some(handle), 0) => Job::new("read_more", json!({"handle": handle})),
            (Some(process), _, 1) => Job::new("read_output", json!({"process": process, "wait_ms": 100})),
            (Some(process), _, _) if self.processes.len() >= MAX_PROCESSES => {
                self.processes.retain(|known| *known != process);
                Job::new("stop_process", json!({"process": process, "grace_ms": 100}))
            }
            _ => {
                let script = "while :; do echo tick; sleep 0.2; done";
                Job::new("start_process", json!({"argv": ["sh", "-c", script], "wait_ms": 100}))
            }
        }
    }

    /// Takes note of a call that was acknowledged.
    pub(super) fn done(&mut self, job: Job, answer: &Answer) {
        if let Some(found) = answer.done() {
            let handle = |name: &str| found[name].as_str().map(str::to_owned);
            if job.tool == "start_process" {
                self.processes.extend(handle("process"));
            }
            self.outputs.extend(handle("stdout_handle"));
            let surplus = self.outputs.len().saturating_sub(4);
            self.outputs.drain(..surplus);
        }
        self.ledger.done(job.change);
    }

    /// Takes note of a call that was not, or that failed.
    pub(super) fn doubtful(&mut self, job: Job) {
        self.ledger.doubtful(job.change);
    }

    /// The server is another one now: handles of the old one lead nowhere.
    pub(super) fn forget_handles(&mut self) {
        self.processes.clear();
        self.outputs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_says_what_it_must_unless_its_program_was_killed() {
        let job = Job::new("run_command", json!({})).expecting("up 42");
        let said = |text: &str, more: Value| {
            Answer::Done(json!({"content": [{"type": "text", "text": text}], "structuredContent": more}))
        };
        assert_eq!(job.wrong(&said("up 42", json!({}))), None);
        assert_eq!(job.wrong(&said("ended by SIGKILL", json!({"signal": "SIGKILL"}))), None);
        for wrong in [said("up 41", json!({})), said("no output", json!({"signal": "SIGSEGV"}))] {
            assert!(job.wrong(&wrong).is_some_and(|why| why.contains("up 42")));
        }
    }

    #[test]
    fn the_load_is_the_same_for_the_same_seed_and_knows_what_it_wrote() {
        let calls = |seed| {
            let mut work = Work::new("w", Dice::new(seed));
            let jobs: Vec<(&str, String)> = (0..300)
                .map(|_| {
                    let job = work.next();
                    let shown = (job.tool, job.arguments.to_string());
                    work.done(job, &Answer::Done(json!({"structuredContent": {}})));
                    shown
                })
                .collect();
            (jobs, work.ledger.counts())
        };
        let (jobs, (files, doubts)) = calls(3);
        assert_eq!((&jobs, (files, doubts)), (&calls(3).0, calls(3).1));
        assert!(files > 0 && doubts == 0);
        for tool in ["write_file", "append_file", "edit_file", "move_path", "delete_path", "execute_code"] {
            assert!(jobs.iter().any(|(made, _)| *made == tool), "{tool}");
        }
    }

    #[test]
    fn a_success_that_says_something_else_is_wrong() {
        let job = Job::new("x", json!({})).expecting("yes");
        let says = |text: &str| Answer::Done(json!({"content": [{"text": text}]}));
        assert!(job.wrong(&says("oh yes")).is_none() && job.wrong(&says("no")).is_some());
        let failed = Answer::Failed { kind: "busy".into(), text: String::new() };
        assert!(job.wrong(&failed).is_none(), "a typed error is an answer");
    }
}
