//! How often each target was executed in all runs: a file beside what they found.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

const FILE: &str = "executions.json";
/// Held by who counts: several runs may share a folder.
const LOCK: &str = "executions.lock";

/// Of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Total {
    pub(super) executions: u64,
    pub(super) seconds: f64,
    pub(super) runs: u64,
}

/// Adds a run; what there is with it.
///
/// # Errors
/// If the file cannot be read or written.
pub(super) fn add(work: &Path, name: &str, executions: u64, seconds: f64) -> Result<Total> {
    std::fs::create_dir_all(work).with_context(|| format!("cannot make {}", work.display()))?;
    // Closing it gives the lock back.
    let lock = File::create(work.join(LOCK))?;
    lock.lock()?;
    let path = work.join(FILE);
    let mut totals = read(&path)?;
    let total = totals.entry(name.to_owned()).or_default();
    total.executions += executions;
    total.seconds += seconds;
    total.runs += 1;
    let total = total.clone();
    // In one step, so that no run that is killed takes the others' counts with it.
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(&totals)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(total)
}

fn read(path: &Path) -> Result<BTreeMap<String, Total>> {
    let shown = path.display();
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.with_context(|| format!("cannot read {shown}"))?,
    };
    serde_json::from_slice(&text)
        .with_context(|| format!("{shown} holds no counts of fuzzing; move it away to begin anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up_and_targets_stay_apart() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("fuzz");
        assert_eq!(add(&work, "edit", 10, 1.5).unwrap(), Total { executions: 10, seconds: 1.5, runs: 1 });
        assert_eq!(add(&work, "path", 7, 1.0).unwrap(), Total { executions: 7, seconds: 1.0, runs: 1 });
        assert_eq!(add(&work, "edit", 5, 2.0).unwrap(), Total { executions: 15, seconds: 3.5, runs: 2 });
    }

    #[test]
    fn runs_at_the_same_time_are_all_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        add(folder.path(), "edit", 1, 0.0).unwrap();
                    }
                });
            }
        });
        assert_eq!(add(folder.path(), "edit", 0, 0.0).unwrap().executions, 100);
    }

    #[test]
    fn a_damaged_file_is_not_begun_anew_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let error = add(folder.path(), "edit", 1, 1.0).unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), b"{");
    }
}
