//! Calls of many clients through the balancer, while one server is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::json;

use super::fleet::Nginx;
use crate::answer::Answer;

/// A call without a result.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) begun: Instant,
    /// The servers that it was sent to, as the balancer says.
    pub(super) upstream: String,
    pub(super) what: String,
}

/// What many clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) answered: u64,
    /// Answers of each server.
    pub(super) by_server: BTreeMap<String, u64>,
    pub(super) lost: Vec<Lost>,
    /// Files that were acknowledged, with their texts.
    written: Vec<(String, String)>,
    /// Names of answered calls, as their records have them.
    pub(super) traces: Vec<String>,
}

/// Makes calls with so many clients at the same time until `until` returns.
pub(super) fn while_waiting<T>(
    nginx: &Nginx,
    (servers, clients): (usize, u64),
    token: &str,
    name: &str,
    until: impl FnOnce() -> Result<T>,
) -> Result<(Seen, T)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let working: Vec<_> = (0..clients)
            .map(|client| {
                let name = format!("{name}-{client}");
                scope.spawn(move || work(nginx, servers, token, &name, stop))
            })
            .collect();
        let waited = until();
        stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for worker in working {
            all.add(worker.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        Ok((all, waited?))
    })
}

fn work(nginx: &Nginx, servers: usize, token: &str, name: &str, stop: &AtomicBool) -> Seen {
    let mut http = nginx.client(servers, Some(token));
    let mut seen = Seen::default();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (path, text) = (format!("{name}/{number}.txt"), format!("file {number} of {name}\n"));
        let (tool, arguments) = match number % 4 {
            0 => ("write_file", json!({"path": path, "content": text})),
            1 => ("list_dir", json!({"path": "."})),
            _ => ("hello", json!({"name": name})),
        };
        let trace = trace(name, number);
        let begun = Instant::now();
        match http.call(tool, &arguments, Some(&trace)) {
            Ok(reply) => {
                let upstream = reply.header("x-upstream").unwrap_or_default().to_owned();
                match reply.answer() {
                    Answer::Done(_) => {
                        seen.answered += 1;
                        seen.traces.push(trace);
                        *seen.by_server.entry(upstream).or_default() += 1;
                        if tool == "write_file" {
                            seen.written.push((path, text));
                        }
                    }
                    other => seen.lost.push(Lost { begun, upstream, what: other.shown() }),
                }
            }
            Err(error) => {
                seen.lost.push(Lost { begun, upstream: String::new(), what: format!("{error:#}") });
                http = nginx.client(servers, Some(token));
            }
        }
    }
    seen
}

/// 32 hexadecimal digits that no other call has.
fn trace(name: &str, number: u64) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        // FNV-1a.
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}{:016x}", number + 1)
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        for (server, count) in other.by_server {
            *self.by_server.entry(server).or_default() += count;
        }
        self.lost.extend(other.lost);
        self.written.extend(other.written);
        self.traces.extend(other.traces);
    }

    /// Acknowledged files that are not there as they were written, and how many there should be.
    pub(super) fn missing(&self, root: &Path) -> (Vec<String>, usize) {
        let is_there = |(path, text): &&(String, String)| {
            fs::read_to_string(root.join(path)).is_ok_and(|found| found == *text)
        };
        let missing = self.written.iter().filter(|written| !is_there(written));
        (missing.map(|(path, _)| format!("`{path}`")).collect(), self.written.len())
    }
}

/// Calls per second through so many servers.
pub(super) fn rate(
    nginx: &Nginx,
    both: (usize, u64),
    token: &str,
    name: &str,
    time: Duration,
) -> Result<f64> {
    let begun = Instant::now();
    let (seen, ()) = while_waiting(nginx, both, token, name, || {
        std::thread::sleep(time);
        Ok(())
    })?;
    Ok(seen.answered as f64 / begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_told_apart() {
        assert_eq!(trace("a-1", 2).len(), 32);
        assert!(trace("a-1", 2) != trace("a-2", 2) && trace("a-1", 2) != trace("a-1", 3));
    }

    #[test]
    fn a_file_that_is_missing_or_other_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "a").unwrap();
        let written = [("a", "a"), ("b", "b"), ("a", "x")].map(|(path, text)| (path.into(), text.into()));
        let seen = Seen { written: written.to_vec(), ..Seen::default() };
        assert_eq!(seen.missing(root.path()), (vec!["`b`".into(), "`a`".into()], 3));
    }
}
