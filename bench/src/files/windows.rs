//! A window at the end of a file of 1 GiB beside the same window of one of 1 MiB: whoever reads a little of a large
//! file must not pay for its size. Both files are sparse and hold text at their beginning and end alone.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;

use super::Setup;
use crate::client::{Call, Client};
use crate::cpu::Cpus;
use crate::processes::{name, peak_kib, tree};
use crate::servers::LINE;
use crate::turns::latencies;

/// What is read, in the order in which it is reported.
pub(super) const NAMES: [&str; 2] = ["offset_bytes", "tail_lines"];

/// The process that reads.
const HOST: &str = "llmc-host:fs";

const WINDOW_BYTES: usize = 4096;
/// Text at each end, in bytes: more than is looked at to find the window.
const TEXT_BYTES: usize = 256 << 10;

/// The same of both files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sizes<T> {
    /// Of 1 GiB.
    pub(super) large: T,
    /// Of 1 MiB.
    pub(super) small: T,
}

const BYTES: Sizes<u64> = Sizes { large: 1 << 30, small: 1 << 20 };

/// A server and what is read from it.
pub(super) struct Windows {
    llmc: Client,
    calls: Sizes<[Call; 2]>,
    /// Most memory that the host had when it had read windows of the small file, then when it had read those of the
    /// large one, in KiB.
    pub(super) peak_kib: Sizes<u64>,
}

impl Windows {
    /// Starts llmc on the CPU of latencies and reads every window `reads` times, those of the small file first.
    ///
    /// # Errors
    /// If it does not answer with the text that is there.
    pub(super) fn new(setup: &Setup, cpus: &Cpus, reads: usize) -> Result<Self> {
        let work = setup.work();
        let files = Sizes { large: "large.txt", small: "small.txt" };
        write(&work.join(files.large), BYTES.large)?;
        write(&work.join(files.small), BYTES.small)?;
        cpus.pin()?;
        let llmc = Client::start(&mut setup.llmc(&work));
        cpus.unpin()?;
        let mut llmc = llmc?;
        let mut read = |file: &str, size: u64| {
            let calls = prepare(&mut llmc, file, size)?;
            for call in calls.iter().cycle().take(reads * calls.len()) {
                llmc.call(call)?;
            }
            anyhow::Ok((calls, peak_kib(host(&llmc)?)?))
        };
        let (small, small_peak) = read(files.small, BYTES.small)?;
        let (large, large_peak) = read(files.large, BYTES.large)?;
        let peak_kib = Sizes { large: large_peak, small: small_peak };
        Ok(Self { llmc, calls: Sizes { large, small }, peak_kib })
    }

    /// The server.
    pub(super) fn server(&self) -> u32 {
        self.llmc.process()
    }

    /// Microseconds of the median call for each window, in the order of [`NAMES`].
    pub(super) fn round(&mut self, slices: usize) -> Result<[Sizes<f64>; 2]> {
        Ok([self.latency(0, slices)?, self.latency(1, slices)?])
    }

    fn latency(&mut self, window: usize, slices: usize) -> Result<Sizes<f64>> {
        let Sizes { large, small } = &self.calls;
        let [large, small] =
            latencies(slices, |side| self.llmc.call([&large[window], &small[window]][side]))?;
        Ok(Sizes { large: large.p50, small: small.p50 })
    }
}

impl Sizes<u64> {
    /// How much more it is for the large file.
    pub(super) fn growth(self) -> u64 {
        self.large.saturating_sub(self.small)
    }
}

fn host(llmc: &Client) -> Result<u32> {
    let processes = tree(llmc.process())?;
    let host = processes.into_iter().find(|process| name(*process).is_ok_and(|name| name == HOST));
    host.with_context(|| format!("llmc has no process `{HOST}`"))
}

fn prepare(llmc: &mut Client, file: &str, size: u64) -> Result<[Call; 2]> {
    let (text, lines) = (window(), WINDOW_BYTES / LINE.len());
    let wanted = [
        json!({"path": file, "offset_bytes": size - text.len() as u64}),
        json!({"path": file, "tail_lines": lines}),
    ];
    let mut calls = Vec::new();
    for arguments in wanted {
        let (call, answer) = llmc.prepare("read_file", &arguments, LINE.trim_end())?;
        let found = &answer["structuredContent"]["text"];
        ensure!(*found == *text, "`read_file` with {arguments} answered {answer}");
        calls.push(call);
    }
    calls.try_into().ok().context("there are two windows")
}

/// What both windows hold: whole lines, as many as fit.
fn window() -> String {
    LINE.repeat(WINDOW_BYTES / LINE.len())
}

fn write(path: &Path, size: u64) -> Result<()> {
    let file = File::create(path)?;
    let text = LINE.repeat(TEXT_BYTES / LINE.len());
    file.set_len(size)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.write_all_at(text.as_bytes(), size - text.len() as u64)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_end_with_the_window_and_take_little_room() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        for size in [BYTES.large, BYTES.small] {
            let path = folder.path().join("file");
            write(&path, size).unwrap();
            let (file, window) = (File::open(&path).unwrap(), window());
            let mut end = vec![0; window.len()];
            file.read_exact_at(&mut end, size - window.len() as u64).unwrap();
            assert_eq!(end, window.as_bytes());
            let facts = file.metadata().unwrap();
            assert!(facts.len() == size && facts.blocks() * 512 <= 1 << 20, "{facts:?}");
        }
    }

    #[test]
    fn less_memory_is_no_growth() {
        assert_eq!(Sizes { large: 5, small: 3 }.growth(), 2);
        assert_eq!(Sizes { large: 3, small: 5 }.growth(), 0);
    }
}
