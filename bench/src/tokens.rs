//! What code mode saves: tokens of `tools/list`, and of one task done by single calls and by code.
//!
//! Every number is counted over what a running server sent or was sent, with `o200k_base`. Further tools are real
//! ones too: the file tools again, behind prefixes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use llmc_proof::{Claim, Part, Table};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::part::{bars, lines, met, row, table};
use crate::report::Target;
use crate::servers::locate;

/// How many tools are added to the shipped ones.
const FURTHER: [usize; 3] = [0, 50, 200];

/// The file tools. Further tools are copies of them behind prefixes, denied down to the wanted number.
pub(crate) const FS_TOOLS: [&str; 14] = [
    "append_file",
    "copy_path",
    "create_dir",
    "delete_path",
    "edit_file",
    "find_files",
    "list_dir",
    "move_path",
    "read_file",
    "read_files",
    "search_files",
    "stat",
    "tree",
    "write_file",
];

/// `tools/list` in code mode beside all tools, with the most further tools.
const TARGET: f64 = 0.1;

/// Where this is counted.
#[derive(Args)]
pub(crate) struct Options {
    /// The tree of the task; this workspace by default.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// The word of the task.
    #[arg(long, default_value = "Duration")]
    word: String,
}

/// What was counted.
#[derive(Serialize)]
pub(crate) struct Report {
    lists: Vec<List>,
    ways: Vec<Way>,
    /// Files that mention the word.
    files: usize,
    word: String,
}

/// `tools/list` with so many further tools.
#[derive(Serialize)]
struct List {
    further: usize,
    /// Tools in mode `all`, and tokens of their list.
    all: (usize, usize),
    /// The same in mode `code`.
    code: (usize, usize),
}

/// A way to do the task.
#[derive(Serialize)]
struct Way {
    name: &'static str,
    calls: usize,
    /// Tokens of `tools/list`.
    list: usize,
    /// Tokens that the model writes: names and arguments.
    arguments: usize,
    /// Tokens of the text of results, which every client shows its model.
    text: usize,
    /// Tokens of the structured content, which some clients show instead of the text or beside it.
    structured: usize,
}

/// Counts everything.
///
/// # Errors
/// If a server does not answer as it should, or the ways do not come to the same answer.
pub(crate) fn measure(stage: &Path, options: &Options) -> Result<Report> {
    let servers = Servers::new(stage, options)?;
    let mut lists = Vec::new();
    for further in FURTHER {
        let count = |tools: Vec<Value>| (tools.len(), tokens(&Value::Array(tools).to_string()));
        let all = count(servers.start("all", further)?.tools()?);
        let code = count(servers.start("code", further)?.tools()?);
        ensure!(
            all.0 == lists.first().map_or(all.0, |list: &List| list.all.0 + further),
            "a tool is missing"
        );
        lists.push(List { further, all, code });
    }
    let task = Task { word: &options.word };
    let mut each = Talk::new("a call for each file", servers.start("all", 0)?)?;
    let wanted = task.call_by_call(&mut each)?;
    let mut joined = Talk::new("two calls, joined by the model", servers.start("all", 0)?)?;
    ensure!(task.by_two_lists(&mut joined)?.1 == wanted.1, "two calls come to another answer");
    let mut code = Talk::new("one run of code, all tools listed", servers.start("all", 0)?)?;
    ensure!(task.by_code(&mut code)? == wanted.1, "code comes to another answer");
    let mut found = Talk::new("code mode, tools looked up first", servers.start("code", 0)?)?;
    found.ask("search_tools", &json!({"query": "search text in files, file size", "limit": 5}))?;
    for name in ["search_files", "stat"] {
        found.ask("describe_tool", &json!({"name": name}))?;
    }
    ensure!(task.by_code(&mut found)? == wanted.1, "code mode comes to another answer");
    let ways = [each, joined, code, found].map(|talk| talk.way).into();
    Ok(Report { lists, ways, files: wanted.0, word: options.word.clone() })
}

/// The ten largest source files that mention a word, with their sizes.
struct Task<'a> {
    word: &'a str,
}

type Sizes = Vec<(String, u64)>;

impl Task<'_> {
    fn search(&self) -> Value {
        json!({"pattern": self.word, "literal": true, "word": true, "glob": ["*.rs"], "output": "files", "limit": 1000})
    }

    fn mentioned(&self, talk: &mut Talk) -> Result<Vec<String>> {
        let found = talk.ask("search_files", &self.search())?;
        let files = found["files"].as_array().context("`search_files` names files")?;
        ensure!(found["truncated"] != true && files.len() > 10, "choose another word: {} files", files.len());
        let path = |file: &Value| file["path"].as_str().map(str::to_owned).context("a file has a path");
        files.iter().map(path).collect()
    }

    /// One `search_files`, and `stat` for each file that it names.
    fn call_by_call(&self, talk: &mut Talk) -> Result<(usize, Sizes)> {
        let paths = self.mentioned(talk)?;
        let count = paths.len();
        let size = |talk: &mut Talk, path: String| {
            let bytes = talk.ask("stat", &json!({"path": path}))?["size_bytes"].as_u64();
            anyhow::Ok((path, bytes.context("a file has a size")?))
        };
        let sizes = paths.into_iter().map(|path| size(talk, path)).collect::<Result<_>>()?;
        Ok((count, largest(sizes)))
    }

    /// One `search_files`, and `find_files` for the sizes of all source files, a page at a time.
    fn by_two_lists(&self, talk: &mut Talk) -> Result<(usize, Sizes)> {
        let paths = self.mentioned(talk)?;
        let mut sizes = Vec::new();
        let mut offset = json!(0);
        while !offset.is_null() {
            let page = json!({"pattern": "*.rs", "min_bytes": 0, "limit": 1000, "offset": offset});
            let found = talk.ask("find_files", &page)?;
            let entries = found["entries"].as_array().context("`find_files` names entries")?;
            sizes.extend(entries.iter().filter_map(|entry| {
                let path = entry["path"].as_str()?.to_owned();
                paths.contains(&path).then_some((path, entry["size_bytes"].as_u64()?))
            }));
            offset = found["next_offset"].clone();
        }
        Ok((paths.len(), largest(sizes)))
    }

    fn by_code(&self, talk: &mut Talk) -> Result<Sizes> {
        let code = format!(
            "from llmc import tools\n\
             found = tools.search_files(pattern={:?}, literal=True, word=True, glob=[\"*.rs\"], output=\"files\", limit=1000)\n\
             sizes = [(f[\"path\"], tools.stat(path=f[\"path\"])[\"size_bytes\"]) for f in found[\"files\"]]\n\
             sorted(sizes, key=lambda f: (-f[1], f[0]))[:10]",
            self.word
        );
        let done = talk.ask("execute_code", &json!({"code": code}))?;
        serde_json::from_value(done["result"].clone()).context("code returns paths and sizes")
    }
}

fn largest(mut sizes: Sizes) -> Sizes {
    sizes.sort_by(|(a, a_bytes), (b, b_bytes)| b_bytes.cmp(a_bytes).then(a.cmp(b)));
    sizes.truncate(10);
    sizes
}

/// A conversation whose tokens are counted.
struct Talk {
    client: Client,
    way: Way,
}

impl Talk {
    fn new(name: &'static str, mut client: Client) -> Result<Self> {
        let list = tokens(&Value::Array(client.tools()?).to_string());
        Ok(Self { client, way: Way { name, calls: 0, list, arguments: 0, text: 0, structured: 0 } })
    }

    /// Makes a call that must succeed; its structured content.
    fn ask(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let result = self.client.ask(tool, arguments)?;
        ensure!(result["isError"] != true, "`{tool}` answered {result}");
        let text =
            result["content"].as_array().into_iter().flatten().filter_map(|block| block["text"].as_str());
        self.way.calls += 1;
        self.way.arguments += tokens(&json!({"name": tool, "arguments": arguments}).to_string());
        self.way.text += text.map(tokens).sum::<usize>();
        self.way.structured += tokens(&result["structuredContent"].to_string());
        Ok(result["structuredContent"].clone())
    }
}

impl Way {
    /// What passes through a model whose client shows it the text of results.
    fn total(&self) -> usize {
        self.list + self.arguments + self.text
    }
}

/// Servers over one tree.
struct Servers {
    stage: PathBuf,
    tree: PathBuf,
    folder: TempDir,
}

impl Servers {
    fn new(stage: &Path, options: &Options) -> Result<Self> {
        let workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tree = options.tree.clone().unwrap_or_else(workspace);
        let tree = tree.canonicalize().with_context(|| format!("there is no tree `{}`", tree.display()))?;
        Ok(Self { stage: locate(stage)?, tree, folder: tempfile::tempdir()? })
    }

    /// The built-in plugins, and as many further tools.
    fn start(&self, mode: &str, further: usize) -> Result<Client> {
        let file = self.folder.path().join(format!("{mode}-{further}.toml"));
        fs::write(&file, self.config(mode, further)?)?;
        let mut command = Command::new(self.stage.join("bin/llmc"));
        command.arg("serve").arg("--config").arg(file).args(["--log", "error"]);
        Client::start(&mut command)
    }

    /// Copies of the file tools are denied down to the wanted number.
    fn config(&self, mode: &str, further: usize) -> Result<String> {
        let copies = further.div_ceil(FS_TOOLS.len());
        let names: Vec<String> =
            (0..copies).flat_map(|copy| FS_TOOLS.map(|name| format!("service{copy}_{name}"))).collect();
        let (kept, denied) = names.split_at(further);
        let granted: Vec<&str> = FS_TOOLS.into_iter().chain(kept.iter().map(String::as_str)).collect();
        let mut text = format!(
            "[server]\nmode = {mode:?}\n[policy]\ndeny = {denied:?}\n[roots]\nwork = {{ path = {:?} }}\n\
             [plugins.fs]\nlibrary = \"llmc_tools_fs\"\ngrants = {{ roots = [\"work\"] }}\n\
             [plugins.cmd]\nlibrary = \"llmc_tools_cmd\"\n\
             [plugins.exec]\nlibrary = \"llmc_tools_exec\"\n\
             grants = {{ run = {{ profile = \"code\" }}, tools = {granted:?} }}\n",
            self.tree
        );
        for copy in 0..copies {
            writeln!(text, "[plugins.fs{copy}]\nlibrary = \"llmc_tools_fs\"\nprefix = \"service{copy}\"")?;
        }
        Ok(text)
    }
}

fn tokens(text: &str) -> usize {
    tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len()
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let last = self.lists.last().map(|list| {
            let value = ratio(list.code.1, list.all.1);
            let context = format!("{} tokens, all tools {}", list.code.1, list.all.1);
            let what =
                format!("`tools/list` in code mode with {} further tools, beside all of them", list.further);
            Target::at_most(what, value, "x", TARGET, context).claim()
        });
        let claims: Vec<Claim> = last.into_iter().collect();
        let total = |way: &Way| way.total() as f64;
        let list = |tokens: fn(&List) -> (usize, usize)| {
            let points = self.lists.iter().map(|list| (list.all.0 as f64, tokens(list).1 as f64));
            points.collect::<Vec<_>>()
        };
        Part {
            name: "bench-tokens".into(),
            title: "Tokens of code mode".into(),
            summary: format!("What passes through a model, in tokens of o200k_base: {}.", met(&claims)),
            claims,
            tables: vec![self.list_table(), self.way_table()],
            charts: vec![
                lines(
                    "tools/list",
                    ["tools", "tokens"],
                    vec![("all tools", list(|list| list.all)), ("code mode", list(|list| list.code))],
                ),
                bars(
                    "One task",
                    "tokens",
                    self.ways.iter().map(|way| way.name.to_owned()).collect(),
                    vec![("list, arguments and text", self.ways.iter().map(total).collect())],
                ),
            ],
            ..Part::default()
        }
    }
}

impl Report {
    fn list_table(&self) -> Table {
        let rows = self.lists.iter().map(|List { further, all, code }| {
            let name = if *further == 0 { "shipped tools".to_owned() } else { format!("and {further} more") };
            let counts = [all.0, all.1, code.0, code.1].map(|count| count.to_string());
            row(name, counts.into_iter().chain([format!("{:.3}", ratio(code.1, all.1))]))
        });
        let columns = ["", "all: tools", "tokens", "code: tools", "tokens", "ratio"];
        table("`tools/list`", &columns, rows.collect())
    }

    fn way_table(&self) -> Table {
        let first = self.ways.first().map_or(1, Way::total);
        let rows = self.ways.iter().map(|way| {
            let Way { name, calls, list, arguments, text, structured } = way;
            let counts = [*calls, *list, *arguments, *text, way.total()].map(|count| count.to_string());
            let compared = [format!("{:.2}", ratio(way.total(), first)), structured.to_string()];
            row(*name, counts.into_iter().chain(compared))
        });
        let title = format!(
            "the ten largest of {} source files that mention `{}`, with their sizes",
            self.files, self.word
        );
        let columns = ["", "calls", "list", "args", "text", "total", "ratio", "structured"];
        table(&title, &columns, rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_equals_by_name() {
        let sizes = (0..20).map(|n| (format!("{:02}", 19 - n), u64::from(n != 3))).collect();
        let largest = largest(sizes);
        assert_eq!(largest.len(), 10);
        assert_eq!((largest[0].0.as_str(), largest[9].0.as_str()), ("00", "09"));
    }

    #[test]
    fn further_tools_are_as_many_as_wanted() {
        let options = Options { tree: None, word: String::new() };
        let stage = tempfile::tempdir().unwrap();
        let config = Servers::new(stage.path(), &options).unwrap().config("all", 50).unwrap();
        let config: Vec<&str> = config.lines().collect();
        assert_eq!(config.iter().filter(|line| line.starts_with("prefix = ")).count(), 4);
        let deny = config.iter().find(|line| line.starts_with("deny = ")).unwrap();
        assert_eq!(deny.matches("service3_").count(), 4 * 14 - 50);
    }
}
