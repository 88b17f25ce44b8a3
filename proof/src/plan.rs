//! The parts of the proof, as a list: a new one is a line here.

/// A part, or several that one program makes.
pub(crate) struct Step {
    /// What `--only` takes; the name of the part, unless `parts` says otherwise.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
}

/// What makes a part.
pub(crate) enum Work {
    /// Looks at the machine and the programs.
    Machine,
    /// A test binary: `cargo test` with these words. What its tests say becomes the part.
    Tests(&'static [&'static str]),
    /// The binary that runs the tables of attacks, and writes what was tried and seen.
    Attacks,
    /// The official conformance suite, which needs Node.js.
    Conformance,
    /// A program that writes its parts itself.
    Own(Own),
}

/// `cargo` with these words writes parts of these names.
pub(crate) struct Own {
    pub(crate) parts: &'static [&'static str],
    /// `{parts}` stands for the folder of the parts.
    pub(crate) full: &'static [&'static str],
    pub(crate) quick: &'static [&'static str],
    /// Added for an optimised build.
    pub(crate) release: &'static [&'static str],
    /// Says nothing about a build that is not optimised.
    pub(crate) only_release: bool,
}

const fn tests(name: &'static str, title: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, title, work: Work::Tests(words) }
}

const fn own(name: &'static str, title: &'static str, own: Own) -> Step {
    Step { name, title, work: Work::Own(own) }
}

/// In the order of the report.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "machine", title: "Machine, versions and layers in force", work: Work::Machine },
    Step { name: "attacks", title: "Attack tables", work: Work::Attacks },
    tests("security", "Security tests", &["-p", "llmc-server", "--test", "security"]),
    tests("jail", "Jails", &["-p", "llmc-sandbox", "--test", "jail"]),
    tests("runner", "The runner", &["-p", "llmc-runner", "--test", "it"]),
    tests("files", "File tools", &["-p", "llmc-server", "--test", "files"]),
    tests("http", "HTTP", &["-p", "llmc-server", "--test", "http"]),
    tests("console", "Console", &["-p", "llmc-server", "--test", "console"]),
    Step { name: "conformance", title: "Conformance to the protocol", work: Work::Conformance },
    own(
        "fuzz",
        "Fuzzing",
        Own {
            parts: &["fuzz"],
            full: &["xtask", "fuzz", "--seconds", "60", "--parts", "{parts}"],
            quick: &["xtask", "fuzz", "--seconds", "5", "--parts", "{parts}"],
            release: &[],
            only_release: false,
        },
    ),
];

/// Those that were asked for; all if none was.
///
/// # Errors
/// The name that no step has.
pub(crate) fn wanted(only: &[String]) -> Result<Vec<&'static Step>, String> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        return Err(unknown.clone());
    }
    Ok(STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

impl Step {
    /// The names of the parts that it makes.
    pub(crate) fn parts(&self) -> Vec<&'static str> {
        match &self.work {
            Work::Own(own) => own.parts.to_vec(),
            _ => vec![self.name],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_part_has_one_step() {
        let names: Vec<&str> = STEPS.iter().flat_map(Step::parts).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        let is_plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(is_plain) && STEPS.iter().all(|step| is_plain(&step.name)));
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(wanted(&[]).unwrap_or_default().len(), STEPS.len());
        let names = ["http".to_owned(), "machine".to_owned()];
        let chosen: Vec<&str> = wanted(&names).unwrap_or_default().iter().map(|step| step.name).collect();
        assert_eq!(chosen, ["machine", "http"]);
        assert_eq!(wanted(&["htp".to_owned()]).err().as_deref(), Some("htp"));
    }
}
