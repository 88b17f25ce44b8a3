//! The report: all parts on one page that needs nothing beside itself, the same as JSON, and its figures that mean
//! something on any machine as Markdown.

mod chart;
mod date;
mod markdown;
mod page;
mod scale;
mod text;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

pub use markdown::markdown;
pub use page::page;

use crate::{Claim, Part};

/// The part that says where all this happened; it stands on top.
pub const MACHINE: &str = "machine";

/// All parts, in the order in which they are shown.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many claims held.
    pub held: usize,
    /// How many did not.
    pub failed: usize,
    /// What it consists of.
    pub parts: Vec<Part>,
}

impl Report {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        let claims = || parts.iter().flat_map(|part| &part.claims);
        let held = claims().filter(|claim| claim.held).count();
        Self { held, failed: claims().count() - held, parts }
    }

    /// Whether all parts were run, and all their claims held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.parts.iter().all(Part::holds)
    }

    /// Claims that did not hold, each with its part.
    pub fn failures(&self) -> impl Iterator<Item = (&Part, &Claim)> {
        let of = |part| std::iter::repeat(part);
        self.parts.iter().flat_map(move |part| of(part).zip(&part.claims)).filter(|(_, claim)| !claim.held)
    }

    /// The states of the sources that its parts are of, as far as they are known.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for made in self.parts.iter().filter_map(|part| part.made.as_ref()) {
            let sources = made.sources.to_string();
            if !named.contains(&sources) {
                named.push(sources);
            }
        }
        named
    }

    /// Writes `report.html` and `report.json` into the folder; returns the path of the first.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let html = folder.join("report.html");
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (path, text) in [(&html, page(self)), (&folder.join("report.json"), json)] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(html)
    }
}

/// All parts of a folder by their names; none if there is no such folder.
///
/// # Errors
/// If one cannot be read.
pub fn read_all(folder: &Path) -> Result<Vec<Part>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Part::read(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_claims_and_wants_every_part() {
        let claim = |held| Claim { what: "it holds".into(), held, ..Claim::default() };
        let good = Part { name: "good".into(), claims: vec![claim(true)], ..Part::default() };
        let bad = Part { name: "bad".into(), claims: vec![claim(true), claim(false)], ..Part::default() };
        let report = Report::new(vec![good.clone()]);
        assert!(report.holds() && (report.held, report.failed) == (1, 0));
        let report = Report::new(vec![good.clone(), bad]);
        assert!(!report.holds() && (report.held, report.failed) == (2, 1));
        assert_eq!(report.failures().map(|(part, _)| &*part.name).collect::<Vec<_>>(), ["bad"]);
        assert!(!Report::new(vec![good, Part::not_run("x", "X", "x", "gone")]).holds());
    }

    #[test]
    fn a_report_is_written_and_parts_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("parts");
        assert!(read_all(&parts).unwrap().is_empty(), "no folder, no parts");
        for name in ["b", "a"] {
            Part { name: name.into(), ..Part::default() }.write(&parts).unwrap();
        }
        fs::write(parts.join("half.part"), "{").unwrap();
        let read = read_all(&parts).unwrap();
        assert_eq!(read.iter().map(|part| &*part.name).collect::<Vec<_>>(), ["a", "b"]);
        let html = Report::new(read).write(folder.path()).unwrap();
        assert!(fs::read_to_string(html).unwrap().starts_with("<!doctype html>"));
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
        assert_eq!(json["parts"][1]["name"], "b");
    }
}
