//! A part of the report, as the program that measured it writes it.

use std::fmt;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// One thing that was measured or tried, with everything that the report shows of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Small letters and hyphens; the name of its file and its anchor in the report.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What repeats it.
    pub command: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub began: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// One or two sentences: what came of it.
    pub summary: String,
    /// What had to hold, and whether it did.
    pub claims: Vec<Claim>,
    /// The figures as text.
    pub tables: Vec<Table>,
    /// The figures as pictures.
    pub charts: Vec<Chart>,
    /// What was not tried, and why.
    pub left_out: Vec<String>,
    /// How it was made, as far as `cargo xtask prove` had it made. A program that is started by itself does not know
    /// whether it was asked for everything, and says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

/// How a part was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Of the optimised build.
    pub release: bool,
    /// In its whole length, not cut short for trying out.
    pub full: bool,
    /// What the sources were.
    pub sources: Sources,
}

/// A state of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// None where git does not tell.
    pub commit: Option<String>,
    /// Nothing differs from the commit.
    pub clean: bool,
}

impl fmt::Display for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.commit {
            Some(commit) if self.clean => out.write_str(commit),
            Some(commit) => write!(out, "{commit} with changes"),
            None => out.write_str("no known commit"),
        }
    }
}

/// Something that had to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// A sentence.
    pub what: String,
    /// What was expected, with its unit.
    pub expected: String,
    /// What was seen, with its unit.
    pub seen: String,
    /// Whether it held.
    pub held: bool,
}

/// Rows under columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its heading.
    pub title: String,
    /// One sentence on how to read it; may be empty.
    pub note: String,
    /// Headings, with units.
    pub columns: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// A picture of figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// Its heading.
    pub title: String,
    /// How it is drawn.
    pub shape: Shape,
    /// What x is, with its unit.
    pub x_label: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// Whether x grows by factors.
    pub log_x: bool,
    /// Whether y grows by factors.
    pub log_y: bool,
    /// Names of the places of x, instead of numbers, for bars.
    pub places: Vec<String>,
    /// What is compared.
    pub series: Vec<Series>,
}

/// How a chart is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Points that a line connects.
    #[default]
    Line,
    /// A bar for each place and series.
    Bar,
}

/// One line, or the bars of one colour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// x and y; of bars, x is the index of the place.
    pub points: Vec<(f64, f64)>,
}

/// What the claim of a part says that was asked for and is not there.
const RUN: &str = "the part was run";

impl Part {
    /// Stands for a part that is not there: it shows as failed, with the reason.
    #[must_use]
    pub fn not_run(name: &str, title: &str, command: &str, why: &str) -> Self {
        let claim = Claim { what: RUN.into(), expected: "a result".into(), seen: why.into(), held: false };
        Self {
            name: name.into(),
            title: title.into(),
            command: command.into(),
            summary: format!("Not run: {why}"),
            claims: vec![claim],
            ..Self::default()
        }
    }

    /// Whether there is a result at all.
    #[must_use]
    pub fn was_run(&self) -> bool {
        !self.claims.iter().any(|claim| claim.what == RUN && !claim.held)
    }

    /// Whether every claim held. A part without claims proves nothing, and holds nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.claims.is_empty() && self.held()
    }

    /// Whether every claim held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.claims.iter().all(|claim| claim.held)
    }

    /// Why this does not count as a part of a whole run, if it does not.
    #[must_use]
    pub fn falls_short(&self) -> Option<&'static str> {
        match &self.made {
            None if !self.was_run() => Some("it was not run"),
            None => Some("`cargo xtask prove` has not made it"),
            Some(made) if !made.release => Some("it is of a build that is not optimised"),
            Some(made) if !made.full => Some("it was cut short"),
            Some(_) => None,
        }
    }

    /// Writes `FOLDER/NAME.json`, whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be made or written to.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.json", self.name));
        let write = || -> Result<()> {
            std::fs::create_dir_all(folder)?;
            let half = path.with_extension("part");
            let mut file = std::fs::File::create(&half)?;
            serde_json::to_writer_pretty(&file, self)?;
            file.write_all(b"\n")?;
            Ok(std::fs::rename(&half, &path)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads what [`Part::write`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is no part, or has a row that does not fit its columns.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let part: Self = serde_json::from_slice(&std::fs::read(path)?)?;
            for table in &part.tables {
                let width = table.columns.len();
                if let Some(row) = table.rows.iter().find(|row| row.len() != width) {
                    anyhow::bail!(
                        "table `{}`: {} cells under {width} columns: {row:?}",
                        table.title,
                        row.len()
                    );
                }
            }
            Ok(part)
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        Part {
            name: "chaos".into(),
            claims: vec![Claim { what: "nothing is left".into(), held: true, ..Claim::default() }],
            tables: vec![Table {
                columns: vec!["what".into(), "times".into()],
                rows: vec![vec!["kill".into(), "3".into()]],
                ..Table::default()
            }],
            ..Part::default()
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("parts");
        part().write(&parts).unwrap();
        assert_eq!(Part::read(&parts.join("chaos.json")).unwrap(), part());
        assert_eq!(std::fs::read_dir(&parts).unwrap().count(), 1);
    }

    #[test]
    fn a_part_holds_if_all_its_claims_do() {
        let mut part = part();
        assert!(part.held());
        part.claims.push(Claim { what: "nothing is lost".into(), ..Claim::default() });
        assert!(!part.held());
    }

    #[test]
    fn a_part_that_is_not_there_does_not_hold() {
        let absent = Part::not_run("soak", "Soak", "cargo xtask soak", "there is no such verb");
        assert!(!absent.held() && !absent.was_run());
        assert!(part().was_run() && part().holds());
        assert!(!Part::default().holds(), "a part without claims proves nothing");
    }

    #[test]
    fn a_part_counts_if_it_says_that_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let short = |made: Option<Made>| {
            Part { made, ..part() }.write(folder.path()).unwrap();
            Part::read(&folder.path().join("chaos.json")).unwrap().falls_short()
        };
        let made = |release, full| Some(Made { release, full, sources: Sources::default() });
        assert_eq!(short(made(true, true)), None);
        assert_eq!(short(made(false, true)), Some("it is of a build that is not optimised"));
        assert_eq!(short(made(true, false)), Some("it was cut short"));
        assert_eq!(short(None), Some("`cargo xtask prove` has not made it"));
        assert_eq!(Part::not_run("a", "A", "c", "w").falls_short(), Some("it was not run"));
    }

    #[test]
    fn sources_are_named_as_they_were() {
        let of = |commit: Option<&str>, clean| Sources { commit: commit.map(Into::into), clean }.to_string();
        assert_eq!(of(Some("0a1b"), true), "0a1b");
        assert_eq!(of(Some("0a1b"), false), "0a1b with changes");
        assert_eq!(of(None, false), "no known commit");
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = part();
        part.tables[0].rows.push(vec!["alone".into()]);
        part.write(folder.path()).unwrap();
        let error = Part::read(&folder.path().join("chaos.json")).unwrap_err();
        assert!(format!("{error:#}").contains("1 cells under 2 columns"), "{error:#}");
    }
}
