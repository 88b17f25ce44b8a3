//! Latency and throughput, in rounds: within a round the two servers take turns, so that a slow moment of the
//! machine meets both.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::client::{Call, Client};
use crate::cpu::{Cpus, Watch};
use crate::hop::Echo;
use crate::processes::{Usage, tree};
use crate::servers::{Running, Servers};
use crate::stats::{Pair, Percentiles};
use crate::steps::{StepTimes, Steps};
use crate::turns::{SLICE, latencies};

/// Calls under way at the same time when throughput is measured.
pub(crate) const IN_FLIGHT: usize = 32;

/// Calls over which the use of CPUs is counted.
const COUNTED: usize = 500;

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Slices of each tool and server in a round.
    pub(crate) slices: usize,
    /// Time of each tool and server in a round under [`IN_FLIGHT`] calls.
    pub(crate) flood: Duration,
    /// Starts of each server.
    pub(crate) starts: usize,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 11, slices: 12, flood: Duration::from_millis(400), starts: 25 };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, slices: 3, flood: Duration::from_millis(100), starts: 5 };
}

/// One at a time, everything on one CPU.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) foreign_share: f64,
    /// In the order of [`crate::servers::TOOLS`].
    pub(crate) tools: [Pair<Percentiles>; 2],
    /// What a `hello` call costs.
    pub(crate) cost: Pair<Cost>,
    pub(crate) floor: Floor,
}

/// What one call costs the machine.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    /// Without the client.
    pub(crate) cpu_us: f64,
    /// The part of the server's own process.
    pub(crate) server_cpu_us: f64,
    /// That of the client, what it does between two calls included.
    pub(crate) client_cpu_us: f64,
    /// Switches from one thread to another.
    pub(crate) switches: f64,
}

/// Microseconds of what no server can do without.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Floor {
    /// Two blocking processes, over pipes.
    pub(crate) pipes: f64,
    /// Two blocking processes, over a Unix socket.
    pub(crate) socket: f64,
    /// The first process blocks, the second is on tokio; over pipes.
    pub(crate) async_pipes: f64,
    /// A third one, blocking, behind that over a Unix socket.
    pub(crate) relay: f64,
    pub(crate) async_pipes_cost: Cost,
    pub(crate) relay_cost: Cost,
    pub(crate) steps: StepTimes,
}

/// [`IN_FLIGHT`] at a time, on all CPUs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) foreign_share: f64,
    /// Calls per second, in the order of [`crate::servers::TOOLS`].
    pub(crate) tools: [Pair<f64>; 2],
}

/// The rounds themselves, and the servers that went through them on all CPUs.
pub(crate) struct Rounds {
    pub(crate) latency: Vec<Latency>,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) loaded: Running,
}

/// Measures all rounds.
pub(crate) fn measure(servers: &Servers, cpus: &Cpus, plan: Plan) -> Result<Rounds> {
    // Servers and echoes keep the CPUs that they are born with.
    cpus.pin()?;
    let mut pinned = Pinned {
        servers: servers.start()?,
        pipes: Echo::over_pipes()?,
        socket: Echo::over_socket()?,
        async_pipes: Echo::over_pipes_async()?,
        relay: Echo::relayed()?,
        steps: Steps::new(&servers.tools)?,
    };
    cpus.unpin()?;
    let mut free = servers.start()?;

    let is_watched = std::io::stderr().is_terminal();
    let (mut latency, mut throughput) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        if is_watched {
            eprint!("\rround {round} of {} ", plan.rounds);
        }
        cpus.pin()?;
        latency.push(pinned.latency(cpus, plan)?);
        cpus.unpin()?;
        throughput.push(free.throughput(cpus, plan)?);
    }
    if is_watched {
        eprintln!();
    }
    Ok(Rounds { latency, throughput, loaded: free })
}

/// Everything that lives on the one CPU.
struct Pinned {
    servers: Running,
    pipes: Echo,
    socket: Echo,
    async_pipes: Echo,
    relay: Echo,
    steps: Steps,
}

impl Pinned {
    fn latency(&mut self, cpus: &Cpus, plan: Plan) -> Result<Latency> {
        let processes = self.servers.processes()?;
        let watch = Watch::start(Some(cpus.chosen), &processes)?;
        let tools = [self.servers.latency(0, plan)?, self.servers.latency(1, plan)?];
        let echoes = plan.slices * SLICE;
        let p50 = |echo: &mut Echo| anyhow::Ok(Percentiles::of(echo.round_trips(echoes)?).p50);
        let floor = Floor {
            pipes: p50(&mut self.pipes)?,
            socket: p50(&mut self.socket)?,
            async_pipes: p50(&mut self.async_pipes)?,
            relay: p50(&mut self.relay)?,
            async_pipes_cost: of_echo(&mut self.async_pipes)?,
            relay_cost: of_echo(&mut self.relay)?,
            steps: self.steps.measure()?,
        };
        let cost = self.servers.cost()?;
        Ok(Latency { foreign_share: watch.foreign_share(cpus)?, tools, cost, floor })
    }
}

impl Running {
    /// All processes of both servers.
    fn processes(&self) -> Result<Vec<u32>> {
        let Pair { llmc, baseline } = &self.clients;
        Ok([tree(llmc.process())?, tree(baseline.process())?].concat())
    }

    fn latency(&mut self, tool: usize, plan: Plan) -> Result<Pair<Percentiles>> {
        let Pair { llmc, baseline } = self.clients.as_mut();
        let [llmc, baseline] = latencies(plan.slices, |side| match side {
            0 => llmc.call(&self.calls.llmc[tool]),
            _ => baseline.call(&self.calls.baseline[tool]),
        })?;
        Ok(Pair { llmc, baseline })
    }

    fn cost(&mut self) -> Result<Pair<Cost>> {
        let Pair { llmc, baseline } = self.clients.as_mut();
        Ok(Pair {
            llmc: of_calls(llmc, &self.calls.llmc[0])?,
            baseline: of_calls(baseline, &self.calls.baseline[0])?,
        })
    }

    fn throughput(&mut self, cpus: &Cpus, plan: Plan) -> Result<Throughput> {
        let processes = self.processes()?;
        let watch = Watch::start(None, &processes)?;
        let mut tools = [Pair::default(); 2];
        for (tool, rates) in tools.iter_mut().enumerate() {
            let Pair { llmc, baseline } = self.clients.as_mut();
            rates.llmc = llmc.flood(&self.calls.llmc[tool], IN_FLIGHT, plan.flood)?;
            rates.baseline = baseline.flood(&self.calls.baseline[tool], IN_FLIGHT, plan.flood)?;
        }
        Ok(Throughput { foreign_share: watch.foreign_share(cpus)?, tools })
    }
}

fn of_calls(client: &mut Client, call: &Call) -> Result<Cost> {
    cost(client.process(), || (0..COUNTED).try_for_each(|_| client.call(call).map(drop)))
}

fn of_echo(echo: &mut Echo) -> Result<Cost> {
    cost(echo.process(), || echo.round_trips(COUNTED).map(drop))
}

/// What each of [`COUNTED`] calls costs a server, all that it has started, and the thread that calls it.
fn cost(server: u32, calls: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let processes = tree(server)?;
    let server = [server];
    let (before, server_before) = (Usage::of(&processes)?, Usage::of(&server)?);
    let client_before = own_cpu();
    calls()?;
    let client = own_cpu().saturating_sub(client_before);
    let (after, server_after) = (Usage::of(&processes)?, Usage::of(&server)?);
    let per_call = |before: u64, after: u64| after.saturating_sub(before) as f64 / COUNTED as f64;
    Ok(Cost {
        cpu_us: per_call(before.cpu_ns, after.cpu_ns) / 1e3,
        server_cpu_us: per_call(server_before.cpu_ns, server_after.cpu_ns) / 1e3,
        client_cpu_us: client.as_secs_f64() * 1e6 / COUNTED as f64,
        switches: per_call(before.switches, after.switches),
    })
}

/// CPU time of this thread. `/proc` tells that of a running one as of the last tick.
fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
