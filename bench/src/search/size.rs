//! What an index of a million lines costs, and what it costs to ask it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

use super::asking::Searcher;
use super::rivals::Ripgrep;
use super::trees::{Amount, folder, large};
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

/// Numbers about one large tree.
#[derive(Debug, Serialize)]
pub(super) struct Size {
    pub(super) amount: Amount,
    pub(super) index_seconds: f64,
    pub(super) database_bytes: u64,
    /// Peak memory of the plugin's host.
    pub(super) host_peak_kib: u64,
    /// `reindex` when nothing has changed.
    pub(super) unchanged_ms: f64,
    /// Over MCP, with packing, the look at the files left out by its age.
    pub(super) query_us: Percentiles,
    /// `rg --count` for the same words as one literal, its start included.
    pub(super) rg_us: Option<Percentiles>,
}

impl Size {
    pub(super) fn measure(stage: &Path, lines: u64) -> Result<Self> {
        let (tree, amount) = large(&folder(stage)?, lines)?;
        let mut searcher = Searcher::start_empty(stage, &tree)?;
        let begun = Instant::now();
        let status = searcher.reindex()?;
        let index_seconds = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        searcher.reindex()?;
        let unchanged_ms = begun.elapsed().as_secs_f64() * 1e3;
        let mut times = Vec::new();
        for _ in 0..TURNS {
            // So that what follows finds it fresh.
            searcher.reindex()?;
            for name in NAMES {
                let arguments = json!({"query": name, "max_tokens": 2_000});
                let (took, _) = searcher.client.timed("search_code", &arguments)?;
                times.push(took.as_secs_f64() * 1e6);
            }
        }
        let host_peak_kib = peak(searcher.client.process())?;
        let rg = Ripgrep::find();
        let mut rg_times = Vec::new();
        for name in NAMES {
            if let Some(rg) = &rg {
                rg_times.push(rg.time(&tree, name)?.as_secs_f64() * 1e6);
            }
        }
        drop(searcher);
        fs::remove_dir_all(&tree)?;
        Ok(Self {
            amount,
            index_seconds,
            database_bytes: status["bytes"].as_u64().unwrap_or(0),
            host_peak_kib,
            unchanged_ms,
            query_us: Percentiles::of(times),
            rg_us: (!rg_times.is_empty()).then(|| Percentiles::of(rg_times)),
        })
    }
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
