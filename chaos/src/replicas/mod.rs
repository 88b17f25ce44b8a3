//! Three servers behind nginx: what begins at one goes on at another, and one may be killed under load.
//!
//! - [`fleet`]: the servers, what they share, and the balancer.
//! - [`redis`]: a database, where they share one instead of a file.
//! - [`moves`]: outputs, questions and consents that change servers.
//! - [`load`]: calls while a server is killed, and how many a second.

mod fleet;
mod load;
mod moves;
mod redis;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use llmc_proof::{Claim, Part, Table};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use self::fleet::{Fleet, Nginx, gone};
use self::load::{Lost, Seen};
use self::redis::Redis;
use crate::answer::Answer;
use crate::build::Build;
use crate::claims::{claim, none};
use crate::http::Http;
use crate::processes::{descendants, descriptors, proportional_kib, resident_kib};

/// Servers behind the balancer.
const SERVERS: usize = 3;

/// Idle connections that are held, if the limit on open files allows it.
const IDLE: u64 = 2_000;

/// What a program has open beside idle connections, at most.
const OTHER_DESCRIPTORS: u64 = 400;

/// Calls that are made beside idle connections.
const CALLS_BESIDE: u64 = 50;

/// What is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the load lasts during which a server is killed, in seconds; as long for all measurements of throughput.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Clients at the same time.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// Where the servers keep what they share; for `redis` they have to be built with that feature.
    #[arg(long, value_enum, default_value = "file")]
    store: Store,
}

/// Where servers keep what they share.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    /// An SQLite file.
    File,
    /// A Redis database.
    Redis,
}

/// Everything that runs, and what was seen.
struct Trial<'a> {
    options: &'a Options,
    fleet: Fleet,
    nginx: Nginx,
    token: String,
    claims: Vec<Claim>,
    tables: Vec<Table>,
    /// Idle connections that are held.
    idle: u64,
    /// Answered calls whose traces must be in the audit.
    traces: Vec<String>,
}

/// Tries it, and tells what held.
pub(crate) fn run(stage: &Path, build: Build, options: &Options) -> Result<Part> {
    let Some(program) = Nginx::find() else {
        bail!("nginx is not installed; `apt-get install nginx-light` brings it")
    };
    let idle = IDLE.min(raise_descriptors()?.saturating_sub(OTHER_DESCRIPTORS));
    let redis = match options.store {
        Store::File => None,
        Store::Redis => Some(Redis::start()?),
    };
    let fleet = Fleet::start(stage, SERVERS, redis)?;
    let addresses: Vec<_> = fleet.replicas.iter().map(|replica| replica.address).collect();
    let nginx = Nginx::start(&program, &addresses)?;
    let token = fleet.token.clone();
    let (claims, tables, traces) = Default::default();
    let mut trial = Trial { options, fleet, nginx, token, claims, tables, idle, traces };
    trial.everywhere()?;
    trial.outputs()?;
    trial.consents()?;
    trial.introductions()?;
    trial.tokens()?;
    trial.store_is_killed()?;
    let lost = trial.one_is_killed()?;
    trial.throughput()?;
    trial.memory()?;
    trial.idle_clients_of_the_balancer()?;
    trial.audit()?;
    let left = trial.fleet.end()?;
    trial.claims.push(none("all servers end, and nothing of them is left", "nothing", &left));
    let broken = trial.claims.iter().filter(|claim| !claim.held).count();
    Ok(Part {
        name: format!("replicas{}", options.store.ending()),
        title: format!("Scale-out: three servers behind nginx, {}", options.store.shown()),
        command: build.command("replicas", &options.arguments()),
        summary: format!(
            "{} claims, {broken} broken. One of three servers killed under load of {} clients: {lost} calls lost, all of \
             them in flight on it.",
            trial.claims.len(),
            options.clients
        ),
        claims: trial.claims,
        tables: trial.tables,
        left_out: left_out(idle),
        ..Part::default()
    })
}

impl Store {
    /// Tells parts of the report apart.
    fn ending(self) -> &'static str {
        match self {
            Self::File => "",
            Self::Redis => "-redis",
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::File => "with a file of what they share and an audit in SQLite",
            Self::Redis => "with a Redis database of what they share and an audit in lines of JSON",
        }
    }
}

impl Options {
    /// What repeats it.
    fn arguments(&self) -> String {
        let store = if self.store == Store::Redis { " --store redis" } else { "" };
        let Self { seconds, clients, .. } = self;
        format!("--seconds {seconds} --clients {clients}{store}")
    }
}

/// Lets this program, and all that it starts, have as many descriptors open as it may; tells how many.
fn raise_descriptors() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

fn left_out(idle: u64) -> Vec<String> {
    let few = (idle < IDLE)
        .then(|| format!("more than {idle} idle connections: the hard limit on open files allows no more"));
    let always = [
        "what lives in one server by its nature: processes of `start_process`, tasks, and questions to clients of \
         earlier revisions, which wait on the stream of their call; these need a balancer that sends a client to the same \
         server (docs/scaling.md)",
        "several machines: the servers share one kernel and one disk, so ratios of throughput say what a further process \
         brings there and not what a further machine does",
    ];
    always.map(str::to_owned).into_iter().chain(few).collect()
}

impl Trial<'_> {
    /// Clients of each server, directly.
    fn direct(&self, token: &str) -> Vec<Http> {
        self.fleet.replicas.iter().map(|replica| replica.client(Some(token))).collect()
    }

    fn hold(&mut self, what: &str, expected: &str, seen: &str, held: bool) {
        println!("{} {what}", if held { "held  " } else { "BROKEN" });
        self.claims.push(claim(what, expected, seen, held));
    }

    /// Calls reach all servers.
    fn everywhere(&mut self) -> Result<()> {
        let mut http = self.nginx.client(SERVERS, Some(&self.token));
        let mut reached = std::collections::BTreeSet::new();
        for _ in 0..4 * SERVERS {
            let reply = http.call("hello", &json!({"name": "Ada"}), None)?;
            reached.insert(reply.header("x-upstream").unwrap_or_default().to_owned());
        }
        let seen = format!("{} servers", reached.len());
        self.hold(
            "the balancer spreads calls over all servers",
            "3 servers",
            &seen,
            reached.len() == SERVERS,
        );
        Ok(())
    }

    /// Outputs are read on anywhere, by their owner alone.
    fn outputs(&mut self) -> Result<()> {
        let mut clients = self.direct(&self.token);
        let handle = moves::keep(&mut clients[0])?;
        let is_whole = moves::read_on(&mut clients[1..], &handle)?;
        let what = "an output that one server kept is read on at the two others in turn";
        self.hold(what, "every byte", if is_whole { "every byte" } else { "something else" }, is_whole);
        let other = self.fleet.run(&["token", "create", "other"])?;
        let mut refused = true;
        for client in &mut self.direct(&other) {
            refused &= moves::is_refused(client, &handle)?;
        }
        let seen = if refused { "refused by all" } else { "read" };
        self.hold("with another token no server reads it", "refused by all", seen, refused);
        let mut through = [self.nginx.client(SERVERS, Some(&self.token))];
        let handle = moves::keep(&mut through[0])?;
        let is_whole = moves::read_on(&mut through, &handle)?;
        let seen = if is_whole { "every byte" } else { "something else" };
        self.hold("the same through the balancer", "every byte", seen, is_whole);
        Ok(())
    }

    /// A question of one server is answered to another one, once.
    fn consents(&mut self) -> Result<()> {
        let mut clients = self.direct(&self.token);
        let asked = moves::ask(&self.fleet, &mut clients[0], "first.txt")?;
        let answer = asked.consent(&mut clients[1])?;
        let is_done = matches!(answer, Answer::Done(_)) && !self.fleet.work().join("first.txt").exists();
        let what = "a call that one server asked consent for runs at another one";
        self.hold(what, "it is done", &answer.shown(), is_done);
        std::fs::write(self.fleet.work().join("first.txt"), "again")?;
        let mut accepted = Vec::new();
        for client in &mut clients {
            if !matches!(asked.consent(client)?, Answer::Failed { .. }) {
                accepted.push("accepted".to_owned());
            }
        }
        let is_there = self.fleet.work().join("first.txt").exists();
        let what = "a consent that one server took is taken by no server again";
        self.hold(
            what,
            "refused by all",
            &format!("{} accepted it", accepted.len()),
            accepted.is_empty() && is_there,
        );
        self.race()
    }

    /// All servers are handed one consent at the same time.
    fn race(&mut self) -> Result<()> {
        let mut clients = self.direct(&self.token);
        let mut wrong = Vec::new();
        for round in 0..10 {
            let asked = moves::ask(&self.fleet, &mut clients[round % SERVERS], "race.txt")?;
            let answers: Vec<Answer> = std::thread::scope(|scope| {
                let asked = &asked;
                let sent: Vec<_> =
                    clients.iter_mut().map(|client| scope.spawn(move || asked.consent(client))).collect();
                let answers =
                    sent.into_iter().map(|answer| answer.join().ok().context("a client panicked")?);
                answers.collect::<Result<_>>()
            })?;
            let refused = |answer: &&Answer| matches!(answer, Answer::Failed { kind, .. } if kind == "invalid_state" || kind.starts_with("code"));
            if answers.iter().filter(refused).count() != SERVERS - 1 {
                wrong.push(answers.iter().map(Answer::shown).collect::<Vec<_>>().join(" | "));
            }
        }
        let what = "of three servers that are handed one consent at the same time one takes it, ten times";
        self.claims.push(none(what, "one each time", &wrong));
        Ok(())
    }

    /// What a client of an earlier revision said of itself holds at every server.
    fn introductions(&mut self) -> Result<()> {
        let mut clients = self.direct(&self.token);
        let session = clients[0].introduce()?;
        let mut unknown = Vec::new();
        for client in &mut clients {
            let status = client.ping(&session)?;
            if status != 200 {
                unknown.push(format!("status {status}"));
            }
        }
        self.claims.push(none(
            "what a client said of itself to one server is known to all",
            "known",
            &unknown,
        ));
        Ok(())
    }

    /// Tokens count, and stop counting, everywhere at once.
    fn tokens(&mut self) -> Result<()> {
        let made = self.fleet.run(&["token", "create", "short"])?;
        let statuses = |token: &str| -> Result<Vec<u16>> {
            let hello = json!({"name": "Ada"});
            let clients = self.direct(token);
            clients.into_iter().map(|mut client| Ok(client.call("hello", &hello, None)?.status)).collect()
        };
        let before = statuses(&made)?;
        self.fleet.run(&["token", "revoke", "short"])?;
        let after = statuses(&made)?;
        let held = before == [200; SERVERS] && after == [401; SERVERS];
        let seen = format!("{before:?}, then {after:?}");
        self.hold(
            "a token is taken by all servers, and by none once it is revoked",
            "200, then 401",
            &seen,
            held,
        );
        Ok(())
    }

    /// Where there is a database, it is killed under load and comes back.
    fn store_is_killed(&mut self) -> Result<()> {
        if self.fleet.redis.is_none() {
            return Ok(());
        }
        let mut clients = self.direct(&self.token);
        let handle = moves::keep(&mut clients[0])?;
        let used = moves::ask(&self.fleet, &mut clients[0], "used.txt")?;
        let taken = used.consent(&mut clients[0])?;
        anyhow::ensure!(matches!(taken, Answer::Done(_)), "no consent counts: {}", taken.shown());
        let asked = moves::ask(&self.fleet, &mut clients[0], "kept.txt")?;
        let (options, nginx, token, fleet) = (self.options, &self.nginx, &self.token, &mut self.fleet);
        let both = (SERVERS, options.clients);
        let (seen, accepted) = load::while_waiting(nginx, both, token, "without", || {
            fleet.redis.as_mut().map_or(Ok(()), Redis::kill)?;
            let mut accepted = Vec::new();
            for client in &mut clients {
                match asked.consent(client)? {
                    Answer::Failed { .. } => {}
                    other => accepted.push(other.shown()),
                }
            }
            std::thread::sleep(Duration::from_secs(2));
            fleet.redis.as_mut().map_or(Ok(()), Redis::launch)?;
            Ok(accepted)
        })?;
        let what = "while the database is gone, no server takes a consent";
        self.claims.push(none(what, "refused by all", &accepted));
        let is_there = self.fleet.work().join("kept.txt").exists();
        let shown = if is_there { "it is there" } else { "it is gone" };
        self.hold("what that would have deleted is there", "it is there", shown, is_there);
        let lost: Vec<String> = seen.lost.iter().map(|lost| lost.what.clone()).collect();
        let what = format!("all {} calls that need nothing of it are answered meanwhile", seen.answered);
        self.claims.push(none(&what, "none lost", &lost));
        self.traces.extend(seen.traces);
        self.after_the_store(&handle, &used)
    }

    fn after_the_store(&mut self, handle: &str, used: &moves::Asked) -> Result<()> {
        let mut clients = self.direct(&self.token);
        let mut accepted = Vec::new();
        for client in &mut clients {
            if !matches!(used.consent(client)?, Answer::Failed { .. }) {
                accepted.push("accepted".to_owned());
            }
        }
        let what = "when it is back, a consent that was used before is taken by no server";
        self.claims.push(none(what, "refused by all", &accepted));
        let asked = moves::ask(&self.fleet, &mut clients[1], "fresh.txt")?;
        let answer = asked.consent(&mut clients[2])?;
        let is_done = matches!(answer, Answer::Done(_)) && !self.fleet.work().join("fresh.txt").exists();
        self.hold("a new one counts again", "it is done", &answer.shown(), is_done);
        let is_whole = moves::read_on(&mut clients, handle)?;
        let seen = if is_whole { "every byte" } else { "something else" };
        self.hold("an output that was kept before is read on", "every byte", seen, is_whole);
        Ok(())
    }

    /// A server is killed under load. Returns how many calls were lost.
    fn one_is_killed(&mut self) -> Result<usize> {
        let (first, killed) = (self.fleet.replicas[0].address.to_string(), 0);
        let mut clients = self.direct(&self.token);
        let handle = moves::keep(&mut clients[killed])?;
        let asked = moves::ask(&self.fleet, &mut clients[killed], "survivor.txt")?;
        let half = Duration::from_secs(self.options.seconds.div_ceil(2));
        let (options, nginx, token, fleet) = (self.options, &self.nginx, &self.token, &mut self.fleet);
        let both = (SERVERS, options.clients);
        let (seen, (gone_at, below)) = load::while_waiting(nginx, both, token, "killed", || {
            std::thread::sleep(half);
            let killed = fleet.kill(killed)?;
            std::thread::sleep(half);
            Ok(killed)
        })?;
        let not_its: Vec<String> = seen
            .lost
            .iter()
            .filter(|lost: &&Lost| !lost.upstream.contains(&first) || lost.begun > gone_at)
            .map(|lost| format!("{} (sent to {:?})", lost.what, lost.upstream))
            .collect();
        let what =
            "every call without a result was in flight on the killed server: sent to it, before it was gone";
        self.claims.push(none(what, "no other", &not_its));
        let most = usize::try_from(options.clients)?;
        let counted = format!("{} of {}", seen.lost.len(), seen.answered);
        let what = "at most as many calls are lost as there are clients, each with one call at a time";
        self.hold(what, &format!("at most {most}"), &counted, seen.lost.len() <= most);
        let (missing, count) = seen.missing(&self.fleet.work());
        self.claims.push(none(
            &format!("all {count} acknowledged files are there"),
            "none missing",
            &missing,
        ));
        self.claims.push(none("nothing of the killed server is left", "no process", &gone(&below)));
        self.after_the_kill(&handle, &asked)?;
        self.shares(&seen);
        self.traces.extend(seen.traces);
        Ok(seen.lost.len())
    }

    fn after_the_kill(&mut self, handle: &str, asked: &moves::Asked) -> Result<()> {
        let mut others = self.direct(&self.token).split_off(1);
        let is_whole = moves::read_on(&mut others, handle)?;
        let seen = if is_whole { "every byte" } else { "something else" };
        self.hold(
            "an output that the killed server kept is read on at the others",
            "every byte",
            seen,
            is_whole,
        );
        let answer = asked.consent(&mut others[0])?;
        let is_done = matches!(answer, Answer::Done(_)) && !self.fleet.work().join("survivor.txt").exists();
        let what = "a question that the killed server asked is answered to another one";
        self.hold(what, "it is done", &answer.shown(), is_done);
        self.fleet.revive(0)?;
        let address = self.fleet.replicas[0].address.to_string();
        let back = || {
            let mut http = self.nginx.client(SERVERS, Some(&self.token));
            let reply = http.call("hello", &json!({"name": "Ada"}), None)?;
            Ok::<_, anyhow::Error>(reply.header("x-upstream") == Some(&address))
        };
        let mut is_back = false;
        for _ in 0..200 {
            is_back = back()?;
            if is_back {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let seen = if is_back { "it gets calls" } else { "it gets none" };
        self.hold("started again, it gets calls again", "it gets calls", seen, is_back);
        Ok(())
    }

    fn shares(&mut self, seen: &Seen) {
        let rows = seen.by_server.iter().map(|(server, count)| {
            let tries = server.split(", ").count();
            vec![format!("server {}", self.number(server)), tries.to_string(), count.to_string()]
        });
        self.tables.push(Table {
            title: "Who answered while one server was killed".into(),
            note: "A call that found the killed server gone was sent on: two tries.".into(),
            columns: ["server", "tries", "calls"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
        });
    }

    /// Which server answered last in a list of addresses.
    fn number(&self, upstream: &str) -> String {
        let last = upstream.split(", ").last().unwrap_or_default();
        let at = self.fleet.replicas.iter().position(|replica| replica.address.to_string() == last);
        at.map_or_else(|| "?".to_owned(), |at| (at + 1).to_string())
    }

    /// Calls per second through one, two and three servers, by turns.
    fn throughput(&mut self) -> Result<()> {
        const ROUNDS: u64 = 3;
        let time = Duration::from_secs_f64(self.options.seconds as f64 / (ROUNDS * SERVERS as u64) as f64);
        let mut rates = vec![Vec::new(); SERVERS];
        for round in 0..ROUNDS {
            for servers in 1..=SERVERS {
                let name = format!("rate-{round}-{servers}");
                let both = (servers, self.options.clients);
                rates[servers - 1].push(load::rate(&self.nginx, both, &self.token, &name, time)?);
            }
        }
        let medians: Vec<f64> = rates.into_iter().map(median).collect();
        let rows = medians
            .iter()
            .zip(1..)
            .map(|(rate, servers)| vec![servers.to_string(), format!("{:.2}", rate / medians[0])]);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        self.tables.push(Table {
            title: "Calls per second through so many servers, as a ratio to one".into(),
            note: format!(
                "Medians of {ROUNDS} rounds by turns, {} clients, one call at a time each, on one machine with {processors} \
                 processors that clients and nginx use, too.",
                self.options.clients
            ),
            columns: ["servers", "ratio"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
        });
        Ok(())
    }

    /// What a server and its idle connections cost.
    fn memory(&mut self) -> Result<()> {
        let (replica, idle) = (&self.fleet.replicas[1], self.idle);
        let cost = |pid: u32| proportional_kib(pid).or_else(|| resident_kib(pid)).unwrap_or(0);
        let tree: u64 = descendants(replica.pid()).iter().map(|process| cost(process.pid)).sum();
        let (before, open_before) = (cost(replica.pid()), descriptors(replica.pid()));
        let held = idlers(idle, || replica.client(Some(&self.token)))?;
        let (after, open) = (cost(replica.pid()), descriptors(replica.pid()));
        let each = after.saturating_sub(before) as f64 / idle as f64;
        let refused = calls_beside(&mut replica.client(Some(&self.token)))?;
        drop(held);
        self.claims.push(none(
            &format!("a server with {idle} idle connections answers {CALLS_BESIDE} calls of another client"),
            "all answered",
            &refused,
        ));
        if let (Some(before), Some(open)) = (open_before, open) {
            let more = open.saturating_sub(before);
            let what = format!("a server holds {idle} idle connections");
            self.hold(&what, &format!("at least {idle} descriptors more"), &more.to_string(), more >= idle);
        }
        let row = |what: &str, kib: String| vec![what.to_owned(), kib];
        self.tables.push(Table {
            title: "Memory".into(),
            note: "Shared pages counted in parts, where the kernel shows that; after the load.".into(),
            columns: ["of", "KiB"].map(str::to_owned).to_vec(),
            rows: vec![
                row("the server", before.to_string()),
                row("its hosts and its runner together", tree.to_string()),
                row(&format!("an idle connection, of {idle}"), format!("{each:.1}")),
            ],
        });
        Ok(())
    }

    /// Very many clients that say nothing for a while cost the servers behind a balancer nothing.
    fn idle_clients_of_the_balancer(&mut self) -> Result<()> {
        let (idle, token) = (self.idle, &self.token);
        let open =
            || -> Option<u64> { self.fleet.replicas.iter().map(|replica| descriptors(replica.pid())).sum() };
        let before = open();
        let held = idlers(idle, || self.nginx.client(SERVERS, Some(token)))?;
        let refused = calls_beside(&mut self.nginx.client(SERVERS, Some(token)))?;
        let after = open();
        drop(held);
        self.claims.push(none(
            &format!("a balancer with {idle} idle clients passes on {CALLS_BESIDE} calls of another client"),
            "all answered",
            &refused,
        ));
        if let (Some(before), Some(after)) = (before, after) {
            self.tables.push(Table {
                title: format!("Connections of the servers for {idle} idle clients of the balancer"),
                note: "By the descriptors that all three have open more; each client had asked once.".into(),
                columns: ["clients", "descriptors more"].map(str::to_owned).to_vec(),
                rows: vec![vec![idle.to_string(), after.saturating_sub(before).to_string()]],
            });
        }
        Ok(())
    }

    /// One audit of all servers, which verifies and misses nothing.
    fn audit(&mut self) -> Result<()> {
        let said = self.fleet.run(&["audit", "verify"]);
        let (held, said) = match &said {
            Ok(said) => (true, said.clone()),
            Err(error) => (false, format!("{error:#}")),
        };
        self.hold("the audit of all servers is one chain, and it verifies", "good", &said, held);
        let text = self.fleet.run(&["audit", "export"])?;
        let records = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let traces: std::collections::BTreeSet<&str> =
            records.iter().filter_map(|record| record["trace_id"].as_str()).collect();
        let missing: Vec<String> =
            self.traces.iter().filter(|trace| !traces.contains(trace.as_str())).cloned().collect();
        let what = format!("every one of {} answered calls has a record", self.traces.len());
        self.claims.push(none(&what, "none missing", &missing));
        Ok(())
    }
}

/// So many clients, each with a connection that answered once.
fn idlers(count: u64, new: impl Fn() -> Http) -> Result<Vec<Http>> {
    let idler = |_| {
        let mut client = new();
        let status = client.get("/healthz")?.status;
        anyhow::ensure!(status == 200, "an idle client was answered with status {status}");
        Ok(client)
    };
    (0..count).map(idler).collect()
}

/// Makes calls, and tells which were not answered well.
fn calls_beside(http: &mut Http) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for _ in 0..CALLS_BESIDE {
        let answer = http.call("hello", &json!({"name": "Ada"}), None)?.answer();
        if !matches!(answer, Answer::Done(_)) {
            refused.push(answer.shown());
        }
    }
    Ok(refused)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_idle_connections_are_told() {
        assert_eq!(left_out(IDLE).len() + 1, left_out(600).len());
        assert!(left_out(600).iter().any(|line| line.starts_with("more than 600 idle")));
    }

    #[test]
    fn the_value_in_the_middle_is_taken() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
