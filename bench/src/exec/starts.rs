//! `execute_code("print(1)")` end to end, in turns with a bare `python3 -I -S -c 'print(1)'`.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::code::{Setup, is_parked, run};
use super::python::Python;
use crate::client::Client;
use crate::stats::Pair;
use crate::turns::turns;

/// What a client does between two runs: more than it takes to fork another interpreter, which begins 4 ms after a
/// run has begun.
const PAUSE: Duration = Duration::from_millis(15);

/// Runs of a slice that are not counted.
const WARM_UP: usize = 3;

/// A way to start.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Most, as a ratio to the bare process, if that is promised.
    pub(super) limit: Option<f64>,
    server: Server,
    pause: Duration,
    code: &'static str,
    language: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Warm,
    Cold,
}

const PARKED: Kind = Kind {
    name: "python, parked",
    limit: Some(0.25),
    server: Server::Warm,
    pause: PAUSE,
    code: "print(1)",
    language: "python",
};

/// All of them.
pub(super) const KINDS: [Kind; 4] = [
    PARKED,
    Kind { name: "python, back to back", limit: None, pause: Duration::ZERO, ..PARKED },
    Kind { name: "python, cold", limit: Some(2.0), server: Server::Cold, pause: Duration::ZERO, ..PARKED },
    Kind { name: "javascript", limit: Some(0.3), code: "console.log(1)", language: "javascript", ..PARKED },
];

/// The servers, and the interpreter beside them.
pub(super) struct Starts {
    warm: Client,
    cold: Client,
    python: Python,
    engine: String,
}

impl Starts {
    pub(super) fn new(setup: &Setup) -> Result<Self> {
        let (mut warm, cold) = (setup.warm()?, setup.cold()?);
        let (_, done) = run(&mut warm, &json!({"code": "print(1)"}))?;
        let engine = done["engine"].as_str().unwrap_or_default().to_owned();
        Ok(Self { warm, cold, python: Python::find(&engine)?, engine })
    }

    /// The server whose interpreters wait.
    pub(super) fn warm(&mut self) -> &mut Client {
        &mut self.warm
    }

    /// The interpreter's file.
    pub(super) fn python(&self) -> &Path {
        self.python.file()
    }

    /// What runs, and where it was found.
    pub(super) fn engine(&self) -> String {
        format!("{} (`{}`)", self.engine, self.python.file().display())
    }

    /// Median microseconds in the order of [`KINDS`].
    pub(super) fn round(&mut self, runs: usize) -> Result<[Pair<f64>; KINDS.len()]> {
        let mut medians = [Pair::default(); KINDS.len()];
        for (median, kind) in medians.iter_mut().zip(&KINDS) {
            *median = self.beside_python(kind, runs)?;
        }
        Ok(medians)
    }

    /// Both sides have the same pauses: what a processor forgets meanwhile, it forgets of both.
    fn beside_python(&mut self, kind: &Kind, runs: usize) -> Result<Pair<f64>> {
        let Self { warm, cold, python, .. } = self;
        let llmc = if kind.server == Server::Warm { warm } else { cold };
        let arguments = json!({"code": kind.code, "language": kind.language});
        if kind.server == Server::Warm {
            sleep(PAUSE);
            ensure!(is_parked(llmc)?, "after a pause a run began in a jail that had not waited");
        }
        let [llmc, bare] = turns(2, runs.div_ceil(2), WARM_UP, |side| {
            sleep(kind.pause);
            if side == 0 { print_one(llmc, &arguments) } else { python.run() }
        })?;
        Ok(Pair { llmc: llmc.p50, baseline: bare.p50 })
    }
}

fn print_one(llmc: &mut Client, arguments: &Value) -> Result<Duration> {
    let (took, done) = run(llmc, arguments)?;
    ensure!(done["stdout"] == "1\n", "`print(1)` did {done}");
    Ok(took)
}
