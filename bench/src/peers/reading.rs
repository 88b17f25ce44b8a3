//! Reading a file of 4 KB: llmc, a plain server on its SDK, the reference server for Node, and one in Rust.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::Plan;
use super::install::{NodeServer, Peers, RUST};
use crate::client::{Call, Client};
use crate::cpu::{Cpus, Watch};
use crate::files;
use crate::memory::pss_mib;
use crate::processes::tree;
use crate::program::Program;
use crate::report::Chosen;
use crate::rounds::IN_FLIGHT;
use crate::servers::{NOTE, Servers, TOOLS, note};
use crate::stats::{Percentiles, median};
use crate::turns::turns_of;

/// The tool of both peers.
const PEER_TOOL: &str = "read_text_file";

/// What is promised beside a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Promise {
    Nothing,
    /// A call takes no longer. It has no jail to build, so it starts at once.
    Call,
    Everything,
}

/// Everything about reading.
#[derive(Debug, Serialize)]
pub(super) struct Reading {
    /// The first is llmc.
    pub(super) names: Vec<String>,
    /// In the order of the names, as all that follows.
    pub(super) promises: Vec<Promise>,
    /// Of each process and what it started, after the load; or why it
    /// cannot be read.
    pub(super) pss_mib: Result<Vec<f64>, String>,
    pub(super) pinned: Chosen<PinnedRound>,
    pub(super) free: Chosen<FreeRound>,
}

/// One call in flight, everything on one CPU.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PinnedRound {
    pub(super) foreign_share: f64,
    pub(super) latency_us: Vec<Percentiles>,
}

/// Everything on all CPUs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FreeRound {
    pub(super) foreign_share: f64,
    pub(super) calls_per_second: Vec<f64>,
    /// From the start of the process to `tools/list`, and to the first file; medians of the round.
    pub(super) start_ms: Vec<[f64; 2]>,
}

/// A server that reads files.
enum Reader {
    Llmc,
    Plain,
    Node(NodeServer),
    Rust(Program),
}

impl Reader {
    fn name(&self) -> String {
        match self {
            Self::Llmc => "llmc".to_owned(),
            Self::Plain => "in-process rmcp".to_owned(),
            Self::Node(server) => format!("Node reference {} ({})", server.version, server.node.version),
            Self::Rust(program) => {
                let version = program.version.strip_prefix(RUST).unwrap_or(&program.version).trim();
                format!("{RUST} {version}")
            }
        }
    }

    fn promise(&self) -> Promise {
        match self {
            Self::Llmc | Self::Plain => Promise::Nothing,
            Self::Node(_) => Promise::Everything,
            Self::Rust(_) => Promise::Call,
        }
    }

    /// As its README starts it.
    fn command(&self, servers: &Servers) -> Command {
        match self {
            Self::Llmc => servers.llmc(&[]),
            Self::Plain => servers.baseline(),
            Self::Node(server) => {
                let mut command = Command::new(&server.node.file);
                command.arg(&server.script).arg(servers.work()).stderr(Stdio::null());
                command
            }
            Self::Rust(program) => files::serving(program, &servers.work()),
        }
    }

    fn request(&self, servers: &Servers) -> (&'static str, Value) {
        match self {
            Self::Llmc | Self::Plain => (TOOLS[1], json!({"path": NOTE})),
            Self::Node(_) | Self::Rust(_) => (PEER_TOOL, json!({"path": servers.work().join(NOTE)})),
        }
    }

    /// A running server, with the file read once.
    fn start(&self, servers: &Servers) -> Result<(Client, Call)> {
        let mut client = Client::start(&mut self.command(servers))?;
        let (tool, arguments) = self.request(servers);
        let (call, answer) = client.prepare(tool, &arguments, "")?;
        let text = answer["content"][0]["text"].as_str().unwrap_or_default();
        ensure!(text.contains(&note()), "{}: `{tool}` leaves out a part of the file: {text}", self.name());
        Ok((client, call))
    }

    /// Milliseconds from the start of the process to the answers of `tools/list` and of the first file.
    fn time_start(&self, servers: &Servers) -> Result<[f64; 2]> {
        let (mut command, (tool, arguments)) = (self.command(servers), self.request(servers));
        let begun = Instant::now();
        let mut client = Client::start(&mut command)?;
        client.tools()?;
        let listed = begun.elapsed();
        client.prepare(tool, &arguments, "")?;
        Ok([listed, begun.elapsed()].map(|time| time.as_secs_f64() * 1e3))
    }
}

impl Reading {
    pub(super) fn measure(stage: &Path, peers: Peers, cpus: &Cpus, plan: Plan) -> Result<Self> {
        let servers = Servers::new(stage)?;
        let mut readers = vec![Reader::Llmc, Reader::Plain];
        readers.extend(peers.node.map(Reader::Node));
        readers.extend(peers.rust.map(Reader::Rust));
        let start = || readers.iter().map(|reader| reader.start(&servers)).collect::<Result<Vec<_>>>();
        cpus.pin()?;
        let on_one = start();
        cpus.unpin()?;
        let (mut on_one, mut on_all) = (on_one?, start()?);
        let (mut pinned, mut free) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            cpus.pin()?;
            pinned.push(pinned_round(&mut on_one, cpus, plan)?);
            cpus.unpin()?;
            free.push(free_round(&readers, &servers, &mut on_all, cpus, plan)?);
        }
        let memory = on_all.iter().map(|(client, _)| pss_mib(client.process())).collect::<Result<_>>();
        Ok(Self {
            names: readers.iter().map(Reader::name).collect(),
            promises: readers.iter().map(Reader::promise).collect(),
            pss_mib: memory.map_err(|error| format!("{error:#}")),
            pinned: Chosen::new(pinned, |round| round.foreign_share),
            free: Chosen::new(free, |round| round.foreign_share),
        })
    }

    /// Medians of p50 and p99 in microseconds.
    pub(super) fn latency(&self, reader: usize) -> [f64; 2] {
        let of = |value: fn(&Percentiles) -> f64| {
            median(self.pinned.of(move |round: &PinnedRound| value(&round.latency_us[reader])))
        };
        [of(|times| times.p50), of(|times| times.p99)]
    }

    pub(super) fn rate(&self, reader: usize) -> f64 {
        median(self.free.of(move |round: &FreeRound| round.calls_per_second[reader]))
    }

    /// Medians until the tools are listed and until the file is read.
    pub(super) fn start(&self, reader: usize) -> [f64; 2] {
        [0, 1].map(|what| median(self.free.of(move |round: &FreeRound| round.start_ms[reader][what])))
    }

    /// Medians of the rounds' ratios of llmc to another: p50, calls per second, start to `tools/list`.
    pub(super) fn ratios(&self, other: usize) -> [f64; 3] {
        [
            median(
                self.pinned
                    .of(move |round: &PinnedRound| round.latency_us[0].p50 / round.latency_us[other].p50),
            ),
            median(
                self.free
                    .of(move |round: &FreeRound| round.calls_per_second[0] / round.calls_per_second[other]),
            ),
            median(self.free.of(move |round: &FreeRound| round.start_ms[0][0] / round.start_ms[other][0])),
        ]
    }
}

fn pinned_round(all: &mut [(Client, Call)], cpus: &Cpus, plan: Plan) -> Result<PinnedRound> {
    let processes = processes(all)?;
    let watch = Watch::start_in_ticks(Some(cpus.chosen), &processes)?;
    let latency_us = turns_of(all.len(), plan.slices, |side| {
        let (client, call) = &mut all[side];
        client.call(call)
    })?;
    Ok(PinnedRound { foreign_share: watch.foreign_share(cpus)?, latency_us })
}

fn free_round(
    readers: &[Reader],
    servers: &Servers,
    all: &mut [(Client, Call)],
    cpus: &Cpus,
    plan: Plan,
) -> Result<FreeRound> {
    let processes = processes(all)?;
    let watch = Watch::start_in_ticks(None, &processes)?;
    let mut calls_per_second = Vec::new();
    for (client, call) in all {
        calls_per_second.push(client.flood(call, IN_FLIGHT, plan.flood)?);
    }
    let foreign_share = watch.foreign_share(cpus)?;
    let mut starts = vec![Vec::new(); readers.len()];
    for _ in 0..plan.starts {
        for (reader, times) in readers.iter().zip(&mut starts) {
            times.push(reader.time_start(servers)?);
        }
    }
    let middle = |times: &Vec<[f64; 2]>| [0, 1].map(|what| median(times.iter().map(|time| time[what])));
    Ok(FreeRound { foreign_share, calls_per_second, start_ms: starts.iter().map(middle).collect() })
}

fn processes(all: &[(Client, Call)]) -> Result<Vec<u32>> {
    let trees = all.iter().map(|(client, _)| tree(client.process()));
    Ok(trees.collect::<std::io::Result<Vec<_>>>()?.concat())
}
