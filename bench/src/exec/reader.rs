//! Another client than the one whose command is a storm: over HTTP, on a Unix socket of the same server.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::http::{Address, Target, Wire};
use crate::servers::{NOTE, note};

/// A server listens, and a file is read, long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(10);

/// A connection that reads a file again and again.
pub(super) struct Reader {
    runtime: Runtime,
    wire: Wire,
}

impl Reader {
    /// Connects, as soon as the server listens, and reads for the first time.
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let note = note();
        let target = Target {
            address: Address::Unix(socket.to_owned()),
            tool: "read_file".to_owned(),
            arguments: json!({"path": NOTE}),
            expected: note.lines().last().unwrap_or_default().to_owned(),
            has_sessions: false,
        };
        let begun = Instant::now();
        let wire = loop {
            match runtime.block_on(Wire::connect(&target)) {
                Ok(wire) => break wire,
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(error.context(format!("`{}` does not listen", socket.display())));
                }
                Err(_) => sleep(PAUSE),
            }
        };
        let mut reader = Self { runtime, wire };
        reader.read()?;
        Ok(reader)
    }

    /// How long one call of `read_file` takes.
    fn read(&mut self) -> Result<Duration> {
        let Self { runtime, wire } = self;
        let begun = Instant::now();
        let call = async { timeout(PATIENCE, wire.call()).await };
        runtime
            .block_on(call)
            .with_context(|| format!("no answer within {PATIENCE:?}"))?
            .context("`read_file`")?;
        Ok(begun.elapsed())
    }

    /// Microseconds of calls, one after the other as long as `more` says so of their numbers.
    pub(super) fn times(&mut self, more: impl Fn(usize) -> bool) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        while more(times.len()) {
            times.push(self.read()?.as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}
