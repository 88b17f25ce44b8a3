//! Random trees, full of links that lead out, round and back, and random paths through them, against every tool.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::ground::{Call, Ground, SECRET, outcome, setup};
use crate::random::Random;

/// Few names, so that paths often meet something, inside and outside.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const TREES: u64 = 80;
const CALLS_PER_TREE: usize = 80;
/// Calls that are under way together.
const BATCH: usize = 40;
const MAX_LEVELS: usize = 4;

/// The same names outside, each with something secret.
fn plant_outside(folder: &Path) {
    for (index, name) in NAMES.iter().enumerate() {
        if index % 2 == 0 {
            for other in NAMES {
                fs::create_dir_all(folder.join(name).join(other)).unwrap();
                fs::write(folder.join(name).join(other).join("a"), format!("{SECRET} honest")).unwrap();
                fs::write(folder.join(name).join(other).join(SECRET), "").unwrap();
            }
        } else {
            fs::write(folder.join(name), format!("{SECRET} honest")).unwrap();
        }
    }
}

struct Generator<'a> {
    random: Random,
    /// The folder around the root.
    folder: &'a str,
    /// Paths of what was put into the tree.
    made: Vec<String>,
}

impl Generator<'_> {
    fn tree(&mut self, dir: &Path, level: usize) {
        for name in NAMES {
            let path = dir.join(name);
            self.made.push(path.strip_prefix(format!("{}/work", self.folder)).unwrap().display().to_string());
            match self.random.below(10) {
                0..4 if level < MAX_LEVELS => {
                    fs::create_dir(&path).unwrap();
                    self.tree(&path, level + 1);
                }
                0..6 => fs::write(&path, "honest\nlines\n").unwrap(),
                6..9 => symlink(self.target(), &path).unwrap(),
                _ => {}
            }
        }
    }

    /// What a link says.
    fn target(&mut self) -> String {
        let folder = self.folder;
        match self.random.below(10) {
            0 => folder.to_owned(),
            1 => format!("{folder}/work/{}", self.steps(3)),
            2 => format!("{folder}/{}", self.steps(3)),
            3 => "/".to_owned(),
            4 => format!("/{}", self.steps(2)),
            5 => format!("../../{}", self.steps(2)),
            6 => format!("../work/{}", self.steps(2)),
            _ => self.steps(4),
        }
    }

    fn steps(&mut self, most: usize) -> String {
        let count = 1 + self.random.below(most);
        let mut steps = Vec::new();
        for _ in 0..count {
            let dots = self.random.percent(30);
            let step = if dots {
                self.random.pick(&["..", "..", ".", "", "work"])
            } else {
                self.random.pick(&NAMES)
            };
            steps.push(*step);
        }
        let path = steps.join("/");
        if path.is_empty() { ".".to_owned() } else { path }
    }

    fn path(&mut self) -> String {
        let mut steps = self.steps(5);
        if self.random.percent(40) {
            steps.clone_from(self.random.pick(&self.made));
        }
        match self.random.below(12) {
            0 => format!("work:{steps}"),
            1 => format!("{}/work/{steps}", self.folder),
            2 => format!("{}/{steps}", self.folder),
            3 => format!("/work/{steps}"),
            4 => format!("../{steps}"),
            5 => format!("{steps}/"),
            _ => steps.trim_start_matches('/').to_owned(),
        }
    }

    fn call(&mut self) -> Call {
        let (path, mut other) = (self.path(), self.path());
        let yes = self.random.percent(50);
        if self.random.percent(40) {
            other.push_str("-new");
        }
        let arguments: [Call; 15] = [
            ("read_file", json!({"path": path})),
            ("read_file", json!({"path": path, "encoding": "base64"})),
            ("read_files", json!({"paths": [path, other]})),
            ("list_dir", json!({"path": path, "hidden": yes, "with_sizes": true})),
            ("tree", json!({"path": path, "depth": 6})),
            ("stat", json!({"path": path})),
            ("find_files", json!({"path": path, "newest_first": yes})),
            ("search_files", json!({"path": path, "pattern": "honest|secret", "context": 1})),
            ("write_file", json!({"path": path, "content": "honest\n", "overwrite": yes})),
            ("append_file", json!({"path": path, "content": "honest\n"})),
            (
                "edit_file",
                json!({"path": path, "edits": [{"old": "lines", "new": "edited lines"}], "dry_run": yes}),
            ),
            ("create_dir", json!({"path": path})),
            ("move_path", json!({"from": path, "to": other, "overwrite": yes})),
            ("copy_path", json!({"from": path, "to": other})),
            ("delete_path", json!({"path": path, "recursive": yes})),
        ];
        // Deleting is easy and leaves little to look at.
        let index = self.random.below(arguments.len());
        let again = arguments[index].0 == "delete_path" && self.random.percent(60);
        arguments[if again { self.random.below(8) } else { index }].clone()
    }
}

/// Empties the root, which is held open and has to stay.
fn clear(root: &Path) {
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
            .unwrap();
    }
}

/// Whether a result is about something in the root: a path of it that is named must not begin outside.
fn check_names(tool: &str, result: &Value) {
    let named = [&result["path"], &result["entries"][0]["path"], &result["matches"][0]["path"]];
    for path in named.into_iter().filter_map(Value::as_str) {
        assert!(path.starts_with("work:"), "{tool}: {result}");
    }
}

#[test]
fn random_paths_through_random_trees_lead_nowhere() {
    let setup = setup();
    plant_outside(setup.folder.path());
    let mut ground = Ground::start(setup);
    let folder = ground.outside().display().to_string();
    let mut tallies: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for seed in 1..=TREES {
        let mut generator = Generator { random: Random::new(seed), folder: &folder, made: Vec::new() };
        clear(&ground.path(""));
        generator.tree(&ground.path(""), 0);
        let calls: Vec<Call> = (0..CALLS_PER_TREE).map(|_| generator.call()).collect();
        for batch in calls.chunks(BATCH) {
            for ((tool, arguments), called) in batch.iter().zip(ground.batch(batch)) {
                let tally = tallies.entry(tool).or_default();
                match outcome(&called) {
                    Ok(result) => {
                        check_names(tool, &result);
                        tally[0] += 1;
                    }
                    Err(refusal) if refusal.is_outside() => tally[1] += 1,
                    Err(refusal) => {
                        let is_told =
                            refusal.text.contains(&folder) && !arguments.to_string().contains(&folder);
                        assert!(!is_told, "seed {seed}: {tool} {arguments}: {refusal:?}");
                        tally[2] += 1;
                    }
                }
            }
        }
        assert_eq!(ground.secrets_inside(), Vec::<std::path::PathBuf>::new(), "seed {seed}");
        assert_eq!(ground.changes_outside(), Vec::<String>::new(), "seed {seed}");
    }
    eprintln!("done, led out, failed: {tallies:?}");
    for (tool, [done, led_out, _]) in tallies {
        assert!(done > 20 && led_out > 20, "{tool}: {done} calls succeeded and {led_out} led out");
    }
    ground.end();
}
