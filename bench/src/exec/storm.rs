//! Commands that keep every processor busy: what another client of the same server notices of them, and how long it
//! takes until all of their processes are gone once their call is cancelled.

use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Serialize;
use serde_json::json;

use super::code::Setup;
use super::ground;
use super::pool::runner;
use super::reader::Reader;
use crate::client::Client;
use crate::processes::{name, tree};
use crate::stats::Percentiles;

/// Longest time until a command is under way, or gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a storm may last if nobody cancels it.
const TIMEOUT_MS: u64 = 60_000;
/// Between two looks at the processes; they cost time that the kernel could use to end them.
const LOOK: Duration = Duration::from_millis(1);

const SPIN: &str = "i=0; while [ $i -lt 30 ]; do (while :; do :; done) & i=$((i+1)); done; wait";
const BOMB: &str = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass";

/// A kind of storm.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    argv: [&'static str; 3],
    /// Processes that are waited for.
    processes: usize,
}

/// All of them.
pub(super) const KINDS: [Kind; 2] = [
    Kind { name: "30 spinning", argv: ["sh", "-c", SPIN], processes: 31 },
    // No shell: one whose fork fails may leave, and the storm would be over by itself.
    Kind { name: "fork bomb", argv: ["python3", "-c", BOMB], processes: 31 },
];

/// What one storm did.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Blow {
    /// Of `read_file` of another client, with nothing else under way.
    pub(super) idle_us: Percentiles,
    /// The same until the storm was over.
    pub(super) storm_us: Percentiles,
    /// From the cancellation until no process was left.
    pub(super) gone_ms: f64,
    /// Processes below the runner at the cancellation.
    pub(super) processes: usize,
}

/// A server for storms.
pub(super) struct Storms {
    llmc: Client,
    /// Where other clients find it.
    socket: PathBuf,
    runner: u32,
    /// Why one is not let loose, in the order of [`KINDS`].
    refused: [Option<String>; KINDS.len()],
}

impl Storms {
    pub(super) fn new(setup: &Setup, python: &Path) -> Result<Self> {
        let (mut llmc, socket) = setup.commands(python)?;
        let result = llmc.timed("run_command", &json!({"argv": ["python3", "-c", ""]}))?.1;
        let runner = runner(llmc.process())?;
        let mut storms = Self { llmc, socket, runner, refused: [None, None] };
        if result["isError"] == true || result["structuredContent"]["exit_code"] != 0 {
            let why = format!("commands do not run here: {}", result["content"][0]["text"]);
            storms.refused = [Some(why.clone()), Some(why)];
        } else {
            storms.refused[1] = storms.probe()?.err().map(|why| format!("not let loose: {why:#}"));
        }
        Ok(storms)
    }

    /// What is not measured, and why.
    pub(super) fn left_out(&self) -> Vec<String> {
        let refused = KINDS.iter().zip(&self.refused);
        refused.filter_map(|(kind, why)| Some(format!("{}: {}", kind.name, why.as_ref()?))).collect()
    }

    /// One of each, in the order of [`KINDS`].
    pub(super) fn round(&mut self, reads: usize) -> Result<[Option<Blow>; KINDS.len()]> {
        let mut blows = [None; KINDS.len()];
        for (number, blow) in blows.iter_mut().enumerate() {
            if self.refused[number].is_none() {
                *blow = Some(self.blow(&KINDS[number], reads)?);
            }
        }
        Ok(blows)
    }

    /// Whether a command that does nothing is where a bomb can do no harm.
    fn probe(&mut self) -> Result<Result<()>> {
        let id = self.begin(["sh", "-c", "sleep 30"])?;
        self.wait_for(|below| below.iter().any(|process| is_sleep(*process)))?;
        let below = tree(self.runner)?;
        let proved = below.iter().find(|process| is_sleep(**process)).map(|process| ground::prove(*process));
        self.llmc.cancel(id)?;
        self.wait_for(|below| below.len() == 1)?;
        Ok(proved.unwrap_or_else(|| Err(anyhow!("the command ended before it was looked at"))))
    }

    fn blow(&mut self, kind: &Kind, reads: usize) -> Result<Blow> {
        // A connection of its own each time: one that is idle for long is closed.
        let mut other = Reader::connect(&self.socket)?;
        let idle = other.times(|number| number < reads)?;
        let id = self.begin(kind.argv)?;
        self.wait_for(|below| below.len() > kind.processes).context(kind.name)?;
        let mut times = other.times(|number| number < reads)?;
        let mut below = tree(self.runner)?;
        below.retain(|process| *process != self.runner);
        let processes = below.len();
        ensure!(processes >= kind.processes, "{}: only {processes} processes are left", kind.name);
        let cancelled = Instant::now();
        self.llmc.cancel(id)?;
        let watch = thread::spawn(move || until_gone(&below, cancelled));
        times.extend(other.times(|_| !watch.is_finished())?);
        let gone = watch.join().map_err(|_| anyhow!("the watch over a storm failed"))??;
        let left = tree(self.runner)?;
        ensure!(left == [self.runner], "{}: processes are left: {left:?}", kind.name);
        let (idle_us, storm_us) = (Percentiles::of(idle), Percentiles::of(times));
        Ok(Blow { idle_us, storm_us, gone_ms: gone.as_secs_f64() * 1e3, processes })
    }

    fn begin(&mut self, argv: [&str; 3]) -> Result<u64> {
        let arguments = json!({"argv": argv, "timeout_ms": TIMEOUT_MS});
        self.llmc.send("run_command", &arguments)
    }

    /// Waits until the processes below the runner, itself included, are as they should be.
    fn wait_for(&self, are_there: impl Fn(&[u32]) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !are_there(&tree(self.runner)?) {
            ensure!(begun.elapsed() < PATIENCE, "a command does not come to what it should, or does not end");
            sleep(LOOK);
        }
        Ok(())
    }
}

fn is_sleep(process: u32) -> bool {
    name(process).is_ok_and(|name| name == "sleep")
}

/// The time since then at which none of the processes is left. Process 1 of a jail is the last: the kernel ends
/// everything in its namespace before, whether it was seen here or not.
fn until_gone(processes: &[u32], since: Instant) -> Result<Duration> {
    while processes.iter().any(|process| Path::new(&format!("/proc/{process}")).exists()) {
        if since.elapsed() > PATIENCE {
            bail!("processes are left {PATIENCE:?} after the call was cancelled");
        }
        sleep(LOOK);
    }
    Ok(since.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_been_awaited() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let (id, begun) = (child.id(), Instant::now());
        let watch = thread::spawn(move || until_gone(&[id], begun));
        child.wait().unwrap();
        assert!(watch.join().unwrap().unwrap() < PATIENCE);
    }
}
