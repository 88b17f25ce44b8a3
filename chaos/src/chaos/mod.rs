//! Random faults under mixed load, in a throw-away namespace.
//!
//! - [`nest`]: the surroundings, and the proof that they are not the machine.
//! - [`ground`], [`clock`]: file systems, configurations, servers, and what time they think it is.
//! - [`load`], [`job`], [`ledger`]: clients, what they call, what they wrote. [`rude`], [`slow`]: those without manners.
//! - [`storm`]: the faults.
//! - [`score`], [`after`], [`report`]: what came of it.

mod after;
mod clock;
mod ground;
mod job;
mod ledger;
mod load;
mod nest;
mod report;
mod rude;
mod score;
mod slow;
mod storm;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use llmc_proof::Part;
use serde_json::json;

use self::ground::{CALL_TIMEOUT_MS, FILLED, GRACE_MS, Ground};
use self::ledger::Ledger;
use self::load::{START, Shared, Slot};
use self::nest::Nest;
use self::report::Seen;
use self::storm::Storm;
use crate::build::Build;
use crate::dice::Dice;
use crate::http::Http;
use crate::processes::{Process, descriptors, resident_kib};
use crate::stdio::Stdio;

/// The name of the server over HTTP, which is there all the time.
const HTTP: &str = "http";

/// What is said where servers made no control groups.
const NO_GROUPS: &str = "control groups: none is delegated to the user in the namespace, so servers made none that could \
                         be left behind";

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(500);

/// Files that are told of each file system.
const LARGEST: usize = 6;

/// What is asked for.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How long it storms.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The same seed rolls the same calls and faults; from the clock if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Servers over stdio, each with a client, beside the one over HTTP.
    #[arg(long, default_value_t = 2)]
    servers: u64,
    /// Clients over HTTP.
    #[arg(long, default_value_t = 3)]
    http_clients: u64,
    /// What a busy machine may add to the longest time of a call, in milliseconds: waiting for the processor,
    /// and writing the record, which several servers do in turns.
    #[arg(long, default_value_t = 4_000)]
    slack_ms: u64,
}

impl Options {
    /// All of them, as they are given.
    fn arguments(&self, seed: u64) -> [String; 5] {
        [
            format!("--minutes={}", self.minutes),
            format!("--seed={seed}"),
            format!("--servers={}", self.servers),
            format!("--http-clients={}", self.http_clients),
            format!("--slack-ms={}", self.slack_ms),
        ]
    }
}

/// What the part inside the namespace is told.
#[derive(Args)]
pub(crate) struct Inside {
    /// The folder in which everything happens.
    #[arg(long)]
    nest: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// Storms, and tells what held.
pub(crate) fn run(stage: &Path, build: Build, options: &Options) -> Result<Part> {
    let seed = options.seed.map_or_else(seed_of_now, Ok)?;
    println!("seed {seed}, {} minutes", options.minutes);
    let nest = Nest::new(stage)?;
    let arguments = options.arguments(seed);
    let (status, groups) = nest.run(&arguments)?;
    let result = nest.path("result").join("chaos.json");
    ensure!(
        result.is_file(),
        "the part inside the namespace ended without a result ({status}); where the kernel gives users no namespaces of \
         their own, this cannot be tried"
    );
    let mut part = Part::read(&result)?;
    part.command = build.command("chaos", &arguments.join(" "));
    let changed = nest.changed_outside()?;
    let of_groups = match groups {
        0 => String::new(),
        seen => format!(", control groups of llmc ({seen} were seen meanwhile)"),
    };
    if groups == 0 {
        part.left_out.push(NO_GROUPS.to_owned());
    }
    let what = format!("outside of the namespace nothing is different: mounts, files{of_groups}");
    part.claims.push(crate::claims::none(&what, "nothing", &changed));
    Ok(part)
}

fn seed_of_now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Storms in the namespace.
pub(crate) fn inside(stage: &Path, inside: &Inside) -> Result<()> {
    nest::prove().context("not in the throw-away namespace")?;
    let Inside { nest, options } = inside;
    let ground = Ground::new(nest, stage)?;
    let with_clocks = ground.clocks_shift();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let bound = Duration::from_millis(CALL_TIMEOUT_MS + GRACE_MS + options.slack_ms);
    let (score, stop) = (score::Score::default(), AtomicBool::new(false));
    let shared = Shared { ground, score, stop, bound, with_clocks };
    let mut seen = Seen { with_clocks, bound, ..Seen::default() };
    let ledgers = weather(&shared, options, &mut seen)?;
    look_around(&shared, options, &ledgers, &mounts, &mut seen)?;
    let part = report::part(&shared, &seen);
    part.write(&nest.with_file_name("result"))
}

/// Load and faults at the same time.
fn weather(shared: &Shared, options: &Options, seen: &mut Seen) -> Result<Vec<Ledger>> {
    let seed = options.seed.context("inside there is a seed")?;
    let mut slots: Vec<Slot> =
        (0..options.servers).map(|number| Slot::new(&format!("stdio{number}"), false)).collect();
    slots.push(Slot::new(HTTP, true));
    for slot in &slots {
        shared.ground.configure(&slot.name, slot.is_http)?;
    }
    let mut server = Serving::start(shared, &mut Dice::for_thread(seed, 99))?;
    let http = slots.last().context("there is a server over HTTP")?;
    http.serves(server.process.pid);
    let dice = |thread| Dice::for_thread(seed, thread);
    let lasts = Duration::from_secs_f64(options.minutes * 60.0);
    seen.lasted = lasts;
    let outcome = thread::scope(|scope| {
        let mut clients = Vec::new();
        for (slot, number) in slots.iter().filter(|slot| !slot.is_http).zip(0..) {
            clients.push(scope.spawn(move || load::over_stdio(shared, slot, dice(number))));
        }
        for number in 0..options.http_clients {
            let name = format!("http{number}");
            clients.push(scope.spawn(move || load::over_http(shared, http, &name, dice(100 + number))));
        }
        let rude = scope.spawn(move || rude::until_stopped(shared, http, dice(200)));
        let slow = scope.spawn(move || slow::until_stopped(shared, http, dice(201)));
        let sampler = scope.spawn(|| samples(shared, server.process.pid));
        let storm = scope.spawn(|| {
            let mut storm = Storm::new(shared, &slots, dice(300));
            let outcome = storm.rage(lasts);
            shared.stop.store(true, Ordering::Relaxed);
            outcome.map(|()| storm.struck)
        });
        let failed = |_| anyhow!("a thread panicked");
        seen.struck = storm.join().map_err(failed)??;
        let rude = rude.join().map_err(failed)?;
        seen.struck.insert("rude HTTP client", rude);
        seen.struck.insert("slow HTTP client", slow.join().map_err(failed)?);
        seen.samples = sampler.join().map_err(failed)?;
        clients.into_iter().map(|client| client.join().map_err(failed)?).collect::<Result<Vec<Ledger>>>()
    });
    seen.server_lived = server.process.lives();
    seen.failing = after::failing_over_http(HTTP, &shared.ground);
    let http = Http::new(shared.ground.socket(HTTP), None, START);
    seen.left_files = after::left_files(&shared.ground, written_by(http));
    server.end()?;
    outcome
}

/// Writes a file.
fn written_by(mut http: Http) -> impl FnMut(&str) -> Result<()> {
    move |path| {
        let reply =
            http.call("write_file", &json!({"path": path, "content": "x", "overwrite": true}), None)?;
        let answer = reply.answer();
        ensure!(answer.done().is_some(), "{}", answer.shown());
        Ok(())
    }
}

/// Looks at everything when all is over.
fn look_around(
    shared: &Shared,
    options: &Options,
    ledgers: &[Ledger],
    mounts: &str,
    seen: &mut Seen,
) -> Result<()> {
    let ground = &shared.ground;
    let mut dice = Dice::new(7);
    for number in 0..options.servers {
        let name = format!("stdio{number}");
        let stdio = Stdio::start(&mut ground.server(&name, &mut dice, shared.with_clocks)?, START)?;
        seen.failing.extend(after::failing_over_stdio(&name, stdio));
    }
    let root = ground.path("work");
    seen.lost = ledgers.iter().flat_map(|ledger| ledger.broken(&root)).collect();
    for ledger in ledgers {
        let (files, doubts) = ledger.counts();
        seen.files += files;
        seen.doubts += doubts;
    }
    seen.left_processes = after::left_processes();
    seen.left_files.extend(after::left_scratch(ground));
    for name in FILLED {
        seen.room.push((name, after::room(ground, name)?));
        seen.largest.extend(after::largest(ground, name, LARGEST));
    }
    let now = fs::read_to_string("/proc/self/mountinfo")?;
    seen.left_mounts = now.lines().filter(|line| !mounts.contains(line)).map(str::to_owned).collect();
    let config = ground.config(HTTP);
    seen.verified = after::verified(ground, &config)?;
    let recorded = after::recorded(ground, &config)?;
    seen.unrecorded = recorded.lacks(&shared.score.counts().recorded);
    seen.records = recorded.times.len();
    seen.clock_jumps = ground.clock.is_some().then(|| clock::jumps(recorded.times));
    Ok(())
}

/// The server over HTTP.
struct Serving {
    child: std::process::Child,
    process: Process,
}

impl Serving {
    fn start(shared: &Shared, dice: &mut Dice) -> Result<Self> {
        let mut command = shared.ground.server(HTTP, dice, shared.with_clocks)?;
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let child = command.spawn()?;
        let begun = Instant::now();
        let mut http = Http::new(shared.ground.socket(HTTP), None, START);
        while !http.get("/readyz").is_ok_and(|reply| reply.status == 200) {
            if begun.elapsed() > START {
                let log = fs::read_to_string(shared.ground.log(HTTP)).unwrap_or_default();
                return Err(anyhow!("the server over HTTP does not get ready; its log:\n{log}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        let process = Process::of(child.id()).context("the server over HTTP has ended")?;
        Ok(Self { child, process })
    }

    fn end(&mut self) -> Result<()> {
        self.process.signal(rustix::process::Signal::TERM);
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < START, "the server over HTTP does not end");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Seconds, memory in KiB and descriptors of a process, until everybody stops.
fn samples(shared: &Shared, pid: u32) -> Vec<(f64, u64, u64)> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        if let Some(kib) = resident_kib(pid) {
            samples.push((begun.elapsed().as_secs_f64(), kib, descriptors(pid).unwrap_or(0)));
        }
        thread::sleep(SAMPLE);
    }
    samples
}
