//! Every whole configuration of the documents can be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use crate::docs;
use crate::support::stage;

/// Where programs are looked for.
const PROGRAM_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// A block of TOML that is a configuration as it stands.
struct Whole {
    file: PathBuf,
    line: usize,
    text: String,
}

#[test]
fn whole_configurations_pass_the_check() {
    let files = documents(&docs()).into_iter().chain([docs().parent().unwrap().join("README.md")]);
    let blocks: Vec<Whole> = files.flat_map(|file| whole(&file)).collect();
    assert!(blocks.len() > 5, "{} configurations were found", blocks.len());
    let problems: Vec<String> = blocks.iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What `llmc config check` has to say against it.
fn problem(block: &Whole) -> Option<String> {
    let home = tempfile::tempdir().unwrap();
    let text = on_this_machine(&block.text, home.path());
    let file = home.path().join("llmc.toml");
    fs::write(&file, text).unwrap();
    let mut llmc = Command::new(stage().join("bin/llmc"));
    let output = llmc.args(["config", "check", "--config"]).arg(&file).current_dir(&home).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("{}:{}: {said}", block.file.display(), block.line))
}

/// The same with directories that there are, and with a stand-in for programs that are not installed here.
fn on_this_machine(text: &str, home: &Path) -> String {
    let mut text = text.to_owned();
    for place in ["/home/ada", "/srv", "/run/secrets", "/etc/llmc"] {
        let here = home.join(place.trim_start_matches('/'));
        fs::create_dir_all(&here).unwrap();
        text = text.replace(&format!("\"{place}"), &format!("\"{}", here.display()));
    }
    let config: Table = text.parse().unwrap();
    for root in config.get("roots").and_then(Value::as_table).into_iter().flat_map(Table::values) {
        let path = home.join(root["path"].as_str().unwrap());
        if path.starts_with(home) {
            fs::create_dir_all(path).unwrap();
        }
    }
    let plugins = config.get("plugins").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let programs = plugins.filter_map(|plugin| plugin.get("grants")?.get("run")?.get("programs")?.as_array());
    for name in programs.flatten().filter_map(Value::as_str).filter(|name| !name.contains('=')) {
        if !PROGRAM_FOLDERS.iter().any(|folder| Path::new(folder).join(name).exists()) {
            text = text.replace(&format!("\"{name}\""), &format!("\"{name}=/usr/bin/env\""));
        }
    }
    text
}

/// The blocks of a document that are marked `toml` and nothing else.
fn whole(file: &Path) -> Vec<Whole> {
    let text = fs::read_to_string(file).unwrap();
    let mut blocks: Vec<Whole> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match line {
            "```toml" => {
                blocks.push(Whole { file: file.to_owned(), line: number + 1, text: String::new() });
                open = true;
            }
            "```" => open = false,
            line if open => blocks.last_mut().unwrap().text.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    blocks
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        match path.is_dir() {
            true => files.extend(documents(&path)),
            false => {
                files.extend(Some(path).filter(|path| path.extension().is_some_and(|ending| ending == "md")))
            }
        }
    }
    files.sort();
    files
}
