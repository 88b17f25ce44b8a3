//! What a large index costs, and what it costs to ask it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::asking::Searcher;
use super::ripgrep::Ripgrep;
use super::trees::{Amount, Wanted, copied, folder};
use crate::processes::{children, name};
use crate::stats::Percentiles;

/// Names that are asked for, several times each.
const NAMES: [&str; 12] = [
    "parse_expr",
    "TokenStream",
    "connect timeout",
    "hash map insert",
    "read to end",
    "spawn",
    "Error",
    "from_str",
    "how is memory allocated",
    "atomic compare exchange",
    "utf8 validation",
    "thread local",
];
const TURNS: usize = 20;

/// Looks at files of which none has changed.
const LOOKS: usize = 20;
/// Lines of each of many files.
const FIRST_LINES: usize = 50;

/// Times of one kind of question, in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    /// Inside the plugin: ranking and packing.
    pub(super) inside_us: Percentiles,
    /// Inside the plugin: the look at the files before that.
    pub(super) look_us: Percentiles,
    /// The whole call over MCP.
    pub(super) call_us: Percentiles,
}

/// Numbers about a tree of many lines.
#[derive(Debug, Serialize)]
pub(crate) struct Large {
    pub(super) amount: Amount,
    pub(super) index_seconds: f64,
    pub(super) database_bytes: u64,
    /// Peak memory of the plugin's host when everything was indexed.
    pub(super) host_peak_kib: u64,
    /// Words, and the same texts in quotes.
    pub(super) words: Asked,
    pub(super) quoted: Asked,
    /// `rg --count-matches` for the same texts as literals, its start included.
    pub(super) rg_us: Option<Percentiles>,
}

/// Numbers about a tree of many files.
#[derive(Debug, Serialize)]
pub(crate) struct Many {
    pub(super) amount: Amount,
    pub(super) index_seconds: f64,
    pub(super) database_bytes: u64,
    /// `reindex` over MCP when nothing has changed.
    pub(super) unchanged_us: Percentiles,
    /// `search_code`, each of which looks at the files if that is quick.
    pub(super) words: Asked,
}

impl Large {
    pub(super) fn measure(stage: &Path, lines: u64) -> Result<Self> {
        let wanted = Wanted { lines, files: u64::MAX, lines_of_file: usize::MAX };
        let (tree, amount) = copied(&folder(stage)?, "large", wanted)?;
        let mut searcher = Searcher::start_empty(stage, &tree)?;
        let (index_seconds, status) = indexed(&mut searcher)?;
        let host_peak_kib = peak(searcher.client.process())?;
        let words = asked(&mut searcher, str::to_owned)?;
        let quoted = asked(&mut searcher, |name| format!("\"{name}\""))?;
        drop(searcher);
        let rg = Ripgrep::find();
        let mut rg_times = Vec::new();
        for name in NAMES.iter().flat_map(|name| [name; 3]) {
            if let Some(rg) = &rg {
                rg_times.push(rg.time(&tree, name)?.as_secs_f64() * 1e6);
            }
        }
        fs::remove_dir_all(&tree)?;
        Ok(Self {
            amount,
            index_seconds,
            database_bytes: status["bytes"].as_u64().unwrap_or(0),
            host_peak_kib,
            words,
            quoted,
            rg_us: (!rg_times.is_empty()).then(|| Percentiles::of(rg_times)),
        })
    }
}

impl Many {
    pub(super) fn measure(stage: &Path, files: u64) -> Result<Self> {
        let wanted = Wanted { lines: u64::MAX, files, lines_of_file: FIRST_LINES };
        let (tree, amount) = copied(&folder(stage)?, "many", wanted)?;
        let mut searcher = Searcher::start_empty(stage, &tree)?;
        let (index_seconds, status) = indexed(&mut searcher)?;
        let mut looks = Vec::new();
        for _ in 0..LOOKS {
            let begun = Instant::now();
            searcher.reindex()?;
            looks.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        let words = asked(&mut searcher, str::to_owned)?;
        drop(searcher);
        fs::remove_dir_all(&tree)?;
        Ok(Self {
            amount,
            index_seconds,
            database_bytes: status["bytes"].as_u64().unwrap_or(0),
            unchanged_us: Percentiles::of(looks),
            words,
        })
    }
}

/// Indexes everything; returns how long that took, and the status.
fn indexed(searcher: &mut Searcher) -> Result<(f64, Value)> {
    let begun = Instant::now();
    let status = searcher.reindex()?;
    Ok((begun.elapsed().as_secs_f64(), status))
}

/// Asks for every name several times.
fn asked(searcher: &mut Searcher, query: impl Fn(&str) -> String) -> Result<Asked> {
    let (mut inside, mut look, mut call) = (Vec::new(), Vec::new(), Vec::new());
    for name in (0..TURNS).flat_map(|_| NAMES) {
        let arguments = json!({"query": query(name), "max_tokens": 2_000, "explain": true});
        let (took, answer) = searcher.client.timed("search_code", &arguments)?;
        let steps: Vec<f64> = answer["structuredContent"]["took_us"]
            .as_array()
            .map(|steps| steps.iter().filter_map(Value::as_f64).collect())
            .unwrap_or_default();
        let [looked, ranked, packed] = steps[..] else { anyhow::bail!("`search_code` answered {answer}") };
        inside.push(ranked + packed);
        look.push(looked);
        call.push(took.as_secs_f64() * 1e6);
    }
    let [inside_us, look_us, call_us] = [inside, look, call].map(Percentiles::of);
    Ok(Asked { inside_us, look_us, call_us })
}

/// The most memory that the host ever had, see `proc_pid_status(5)`.
fn peak(server: u32) -> Result<u64> {
    let hosts = children(server)?;
    let host = hosts.into_iter().find(|child| name(*child).is_ok_and(|name| name.starts_with("llmc-host")));
    let status = fs::read_to_string(format!("/proc/{}/status", host.context("the plugin has no host")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .context("the host tells no peak of its memory")
}
