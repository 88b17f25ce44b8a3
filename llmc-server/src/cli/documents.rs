//! The documents speak of commands, flags and keys that there are.
//!
//! Blocks marked `sh` and `console` are read as command lines; blocks of TOML are configurations: whole ones (tested with
//! the built program in `tests/book`), or with `fragment` after the language some keys of one. Other TOML says `other`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// Programs that start the one named after them.
const STARTERS: [&str; 4] = ["docker", "env", "sudo", "systemd-run"];

/// What ends a command of a line.
const ENDS: [&str; 7] = ["|", "||", "&&", ";", "&", ">", "2>"];

/// A block of code.
struct Block {
    /// What stands after the backquotes, such as `toml fragment`.
    info: String,
    /// Its first line in the file, from 1.
    line: usize,
    text: String,
}

/// Everything that is written for users.
fn documents() -> Vec<(PathBuf, Vec<Block>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = vec![root.join("README.md"), root.join("SECURITY.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "plugins"] {
        below(&root.join(folder), &mut files);
    }
    assert!(files.len() > 20, "{} documents", files.len());
    files
        .into_iter()
        .map(|file| {
            let blocks = blocks(&file);
            (file, blocks)
        })
        .collect()
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            files.push(path);
        }
    }
}

/// Included files stand in the place of their line.
fn blocks(file: &Path) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in fs::read_to_string(file).unwrap().lines().enumerate() {
        let line = line.trim_start();
        if let Some(info) = line.strip_prefix("```") {
            open = !open;
            if open {
                blocks.push(Block { info: info.to_owned(), line: number + 2, text: String::new() });
            }
        } else if let Some(block) = blocks.last_mut().filter(|_| open) {
            let included = line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
            let text = included.filter(|name| name.ends_with(".txt")).map_or(format!("{line}\n"), |name| {
                let included = file.parent().unwrap().join(name);
                fs::read_to_string(&included)
                    .unwrap_or_else(|error| panic!("{}: {error}", included.display()))
            });
            block.text.push_str(&text);
        }
    }
    blocks
}

/// The lines of a block that are entered.
fn entered(block: &Block) -> Vec<String> {
    let whole = block.text.replace("\\\n", " ");
    match block.info.as_str() {
        "sh" => whole.lines().map(str::to_owned).collect(),
        "console" => whole.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The arguments of each `llmc` of a line, with the program's name before them.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = shell_words::split(line).unwrap_or_default();
    words
        .split(|word| ENDS.contains(&word.as_str()))
        .filter_map(|words| {
            let words: Vec<&String> =
                words.iter().skip_while(|word| word.contains('=') && !word.starts_with('-')).collect();
            let first = words.first()?.as_str();
            let is_llmc = |word: &str| word == "llmc" || word.ends_with("/bin/llmc");
            // The last of several: users and containers are called so, too.
            let last = words.iter().take_while(|word| ***word != "--").collect::<Vec<_>>();
            let at = match STARTERS.contains(&first) {
                // The last word of `sudo systemctl reload llmc` names no program.
                true => last.iter().rposition(|word| is_llmc(word)).filter(|at| at + 1 < words.len())?,
                false => 0,
            };
            let redirected = |word: &&&String| !word.starts_with("2>") && !word.starts_with('<');
            is_llmc(words[at])
                .then(|| words[at..].iter().filter(redirected).map(|word| (*word).clone()).collect())
        })
        .collect()
}

#[test]
fn commands_of_documents_exist_with_their_flags() {
    let mut problems = Vec::new();
    let mut count = 0;
    for (file, blocks) in documents() {
        for block in &blocks {
            for words in entered(block).iter().flat_map(|line| commands(line)) {
                count += 1;
                let told = matches!(&super::command().try_get_matches_from(&words), Err(error) if error.use_stderr());
                if told {
                    let error =
                        super::command().try_get_matches_from(&words).err().map(|error| error.to_string());
                    let error = error.unwrap_or_default();
                    problems.push(format!(
                        "{}:{}: `{}`: {}",
                        file.display(),
                        block.line,
                        words.join(" "),
                        error.lines().next().unwrap_or_default()
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 60, "only {count} commands were found");
}

#[test]
fn keys_of_documents_exist_with_their_types() {
    let mut problems = Vec::new();
    let mut count = 0;
    for (file, blocks) in documents() {
        for block in &blocks {
            let problem = match block.info.as_str() {
                "toml" | "toml fragment" => {
                    toml::from_str::<Config>(&block.text).err().map(|error| error.to_string())
                }
                "toml other" => {
                    toml::from_str::<toml::Table>(&block.text).err().map(|error| error.to_string())
                }
                "json" => serde_json::from_str::<serde_json::Value>(&block.text)
                    .err()
                    .map(|error| error.to_string()),
                info if info.starts_with("toml") => Some(format!("`{info}` is no mark; see this test")),
                _ => continue,
            };
            count += 1;
            problems.extend(problem.map(|problem| format!("{}:{}: {problem}", file.display(), block.line)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 12, "only {count} blocks were found");
}

#[test]
fn commands_are_found_in_lines() {
    let found = |line: &str| commands(line).into_iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(found("llmc doctor           # which protections"), ["llmc doctor"]);
    assert_eq!(found("cd x && LLMC=a ./bin/llmc tools --json | jq . > out"), ["./bin/llmc tools --json"]);
    assert_eq!(found("sudo -u llmc llmc config check"), ["llmc config check"]);
    assert_eq!(
        found("llmc client connect cursor -- --root llmc"),
        ["llmc client connect cursor -- --root llmc"]
    );
    assert_eq!(found("sudo systemctl reload llmc; cargo build -p llmc-server"), [""; 0]);
    assert!(super::command().try_get_matches_from(["llmc", "serve", "--rot"]).is_err());
}
