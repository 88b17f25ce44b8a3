//! `read_file` and `list_dir` beside `rust-mcp-filesystem`, a server in Rust that many use: one call in flight,
//! both servers on one CPU.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Setup;
use crate::client::{Call, Client};
use crate::cpu::Cpus;
use crate::program::Program;
use crate::servers::{NOTE, note};
use crate::stats::{Pair, Percentiles};
use crate::turns::latencies;

pub(super) use crate::peers::install::RUST as PEER;

/// What is called, in the order in which it is reported.
pub(super) const NAMES: [&str; 2] = ["read_file of 4 KB", "list_dir of 100"];

/// The tools of the peer that do the same.
const PEER_TOOLS: [&str; 2] = ["read_text_file", "list_directory"];

const FOLDER: &str = "hundred";
const ENTRIES: usize = 100;

/// Both servers and the calls that are made to them.
pub(super) struct Calls {
    clients: Pair<Client>,
    calls: Pair<[Call; 2]>,
}

impl Calls {
    /// Starts both on the CPU of latencies, with every tool called once.
    ///
    /// # Errors
    /// If one of them does not answer with all of the file or the folder.
    pub(super) fn new(setup: &Setup, peer: &Program, cpus: &Cpus) -> Result<Self> {
        let work = setup.work();
        fs::write(work.join(NOTE), note())?;
        fs::create_dir(work.join(FOLDER))?;
        let names: Vec<String> = (0..ENTRIES).map(|number| format!("entry-{number:02}.rs")).collect();
        for name in &names {
            fs::write(work.join(FOLDER).join(name), name)?;
        }
        cpus.pin()?;
        let clients = Client::start(&mut setup.llmc(&work))
            .and_then(|llmc| Ok(Pair { llmc, baseline: Client::start(&mut serving(peer, &work))? }));
        cpus.unpin()?;
        let Pair { mut llmc, mut baseline } = clients?;
        let tools = baseline.tools()?;
        for name in PEER_TOOLS {
            ensure!(tools.iter().any(|tool| tool["name"] == name), "`{PEER}` has no tool `{name}` any more");
        }
        let ours = ["read_file", "list_dir"].into_iter().zip([json!(NOTE), json!(FOLDER)]);
        let theirs = PEER_TOOLS.into_iter().zip([json!(work.join(NOTE)), json!(work.join(FOLDER))]);
        let calls = Pair {
            llmc: prepare(&mut llmc, ours, &names)?,
            baseline: prepare(&mut baseline, theirs, &names)?,
        };
        Ok(Self { clients: Pair { llmc, baseline }, calls })
    }

    /// The two servers.
    pub(super) fn servers(&self) -> [u32; 2] {
        [self.clients.llmc.process(), self.clients.baseline.process()]
    }

    /// Microseconds of each call, in the order of [`NAMES`].
    pub(super) fn round(&mut self, slices: usize) -> Result<[Pair<Percentiles>; 2]> {
        Ok([self.latency(0, slices)?, self.latency(1, slices)?])
    }

    fn latency(&mut self, call: usize, slices: usize) -> Result<Pair<Percentiles>> {
        let Pair { llmc, baseline } = self.clients.as_mut();
        let [llmc, baseline] = latencies(slices, |side| match side {
            0 => llmc.call(&self.calls.llmc[call]),
            _ => baseline.call(&self.calls.baseline[call]),
        })?;
        Ok(Pair { llmc, baseline })
    }
}

/// The peer as its README starts it, for reading; its settings do not come from the environment of whoever measures.
pub(crate) fn serving(peer: &Program, folder: &Path) -> Command {
    let mut command = Command::new(&peer.file);
    command.arg(folder).stderr(Stdio::null());
    for setting in ["ALLOW_WRITE", "DISABLE_TOOLS", "ENABLE_ROOTS"] {
        command.env_remove(setting);
    }
    command
}

/// Reads the note, then lists the folder.
fn prepare<'a>(
    client: &mut Client,
    calls: impl Iterator<Item = (&'a str, Value)>,
    names: &[String],
) -> Result<[Call; 2]> {
    let whole = [vec![note()], names.to_vec()];
    let mut prepared = Vec::new();
    for ((tool, path), parts) in calls.zip(whole) {
        let (call, answer) = client.prepare(tool, &json!({"path": path}), "")?;
        let text = answer["content"][0]["text"].as_str().unwrap_or_default();
        let missing = parts.iter().find(|part| !text.contains(part.as_str()));
        ensure!(missing.is_none(), "`{tool}` leaves out {missing:?}: {text}");
        prepared.push(call);
    }
    prepared.try_into().ok().context("there are two calls")
}
