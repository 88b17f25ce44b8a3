//! Runs all rows on two threads, each with a server of its own.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use serde_json::Value;

use crate::checks;
use crate::ground::Ground;
use crate::report::{Entry, Verdict};
use crate::row::{Profile, Row, Section};
use crate::trial::{self, Shown};

const THREADS: usize = 2;

/// What stands in the lesser tier, whatever stands before it in a whole jail.
const LESSER_WALLS: &str = "Landlock, seccomp and limits, without namespaces";

/// Runs the wanted rows; entries in the order of their numbers.
pub(crate) fn run_all(sections: &[Section], is_wanted: impl Fn(u32) -> bool) -> Vec<Entry> {
    let rows = sections.iter().flat_map(|section| section.row.iter().map(move |row| (section, row)));
    let queue: Mutex<VecDeque<(&Section, &Row)>> =
        Mutex::new(rows.filter(|(_, row)| is_wanted(row.number)).collect());
    let entries = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut worker = Worker::default();
                loop {
                    let Some((section, row)) = queue.lock().unwrap().pop_front() else { break };
                    for &profile in &row.profiles {
                        let entry = worker.enter(section, row, profile);
                        entries.lock().unwrap().push(entry);
                    }
                }
            });
        }
    });
    let mut entries = entries.into_inner().unwrap();
    entries.sort_by_key(|entry: &Entry| (entry.number, entry.profile.name()));
    entries
}

/// A thread's servers for rows with ordinary limits: one for each configuration and tier.
#[derive(Default)]
struct Worker {
    grounds: BTreeMap<(Option<String>, bool), Ground>,
}

impl Worker {
    fn enter(&mut self, section: &Section, row: &Row, profile: Profile) -> Entry {
        let tried = match &row.check {
            Some(check) => check.replace('_', " ").into(),
            None => row.attempt.as_ref().map(|trial| trial.tried(profile)).unwrap_or_default(),
        };
        let entry = |attempt: Shown, neighbour: Value, verdict| Entry {
            number: row.number,
            section: section.name.clone(),
            origin: section.origin.clone(),
            tried: tried.clone(),
            title: row.title.clone(),
            source: row.source.clone().unwrap_or_else(|| section.origin.clone()),
            profile,
            expected: attempt.expected,
            seen: attempt.seen,
            neighbour,
            wall: if profile == Profile::Landlock { LESSER_WALLS.into() } else { row.wall.clone() },
            verdict,
        };
        if let Some(lacking) = row.needs.iter().find_map(|need| need.lacking()) {
            return entry(Shown::default(), Value::Null, Verdict::NotChecked(lacking.into()));
        }
        // A row that panics costs its own entry only, and the server that it may have confused.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run(row, profile)));
        let (attempt, neighbour) = outcome.unwrap_or_else(|panic| {
            self.grounds.remove(&key(row, profile));
            (Shown { differs: vec![reason(&*panic)], ..Shown::default() }, Shown::default())
        });
        let points: Vec<String> = attempt
            .differs
            .iter()
            .cloned()
            .chain(neighbour.differs.into_iter().map(|point| format!("neighbour: {point}")))
            .collect();
        let verdict = if points.is_empty() { Verdict::AsExpected } else { Verdict::Differs(points) };
        if !matches!(verdict, Verdict::AsExpected) {
            self.grounds.remove(&key(row, profile));
        }
        entry(attempt, neighbour.seen, verdict)
    }

    fn run(&mut self, row: &Row, profile: Profile) -> (Shown, Shown) {
        if let Some(check) = row.check.as_deref().and_then(checks::find) {
            return check();
        }
        let mut own = None;
        let is_lesser = profile == Profile::Landlock;
        let start = || Ground::new(row.ground.as_deref(), is_lesser, &row.limits, &row.env);
        let ground = if row.limits.is_empty() && row.env.is_empty() {
            self.grounds.entry(key(row, profile)).or_insert_with(start)
        } else {
            own.insert(start())
        };
        let [attempt, neighbour] = [&row.attempt, &row.neighbour].map(|trial| {
            trial.as_ref().map(|trial| trial::run(ground, row, trial, profile)).unwrap_or_default()
        });
        if let Some(ground) = own {
            ground.server.stop();
        }
        (attempt, neighbour)
    }
}

fn key(row: &Row, profile: Profile) -> (Option<String>, bool) {
    (row.ground.clone(), profile == Profile::Landlock)
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
