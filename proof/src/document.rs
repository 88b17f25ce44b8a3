//! The document that is committed: what of a whole run means something on any machine.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use llmc_proof::report::{Report, markdown};

use crate::run::Options;

/// Where it is, in the sources.
pub(crate) const DOCUMENT: &str = "docs/proof.md";

/// Writes the document if every part is one of a whole run, in whatever order and at whatever commits they were made;
/// else says which are not.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(report: &Report, options: &Options) -> Result<()> {
    let mut short: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for part in &report.parts {
        if let Some(why) = part.falls_short() {
            short.entry(why).or_default().push(&part.name);
        }
    }
    if !short.is_empty() {
        println!("\n`{DOCUMENT}` stays as it is, because some parts are not of a whole run:");
        for (why, names) in short {
            println!("  {why}: {}", names.join(", "));
        }
        return Ok(());
    }
    let path = options.root.join(DOCUMENT);
    let text = without_places(markdown(report, &options.shown()), options);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Where the sources and what is built of them lie is nothing to readers.
fn without_places(text: String, options: &Options) -> String {
    let text = text.replace(&*options.target.to_string_lossy(), "target");
    text.replace(&format!("{}/", options.root.display()), "")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use llmc_proof::{Claim, Made, Part};

    use super::*;
    use crate::plan::{STEPS, Step};

    fn part(name: &str) -> Part {
        let claim = Claim { what: "it holds".into(), held: true, ..Claim::default() };
        Part { name: name.into(), claims: vec![claim], ..Part::default() }
    }

    /// A source tree whose parts were all made by whole runs.
    fn whole(folder: &Path) -> (Options, Report) {
        let options = Options {
            root: folder.join("sources"),
            stage: folder.join("t/stage"),
            stage_tests: folder.join("t/stage-tests"),
            target: folder.join("t"),
            release: true,
            quick: false,
            only: Vec::new(),
        };
        std::fs::create_dir_all(options.root.join("docs")).unwrap();
        let made = Made { release: true, full: true, ..Made::default() };
        let made = |step: &Step| Part { made: Some(made.clone()), ..part(step.name) };
        (options, Report::new(STEPS.iter().map(made).collect()))
    }

    #[test]
    fn the_document_is_written_of_whole_parts_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (options, mut report) = whole(folder.path());
        let path = options.root.join(DOCUMENT);
        let good = report.parts[3].made.clone();
        for made in [
            None,
            Some(Made { release: false, ..good.clone().unwrap() }),
            Some(Made { full: false, ..good.clone().unwrap() }),
        ] {
            report.parts[3].made = made;
            write(&report, &options).unwrap();
            assert!(!path.exists(), "{:?}", report.parts[3].made);
        }
        report.parts[3].made = good;
        let mut missing = report.parts.clone();
        missing[5] = Part::not_run(STEPS[5].name, STEPS[5].title, "c", "nobody asked for it");
        let missing = Report::new(missing);
        write(&missing, &options).unwrap();
        assert!(!path.exists(), "a part is not there");
        report.parts[3].claims[0].what =
            format!("{0}/proof/x and {1}/y", options.target.display(), options.root.display());
        write(&report, &options).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("target/proof/x and y") && !text.contains(&*folder.path().to_string_lossy()));
    }
}
