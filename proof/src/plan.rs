//! The parts of the proof, as a list: a new one is a line here.

/// A part of the proof.
pub(crate) struct Step {
    /// The name of the part, which `--only` takes.
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
    /// A program that writes its part itself.
    Own(Own),
    /// `cargo xtask bench` with these words, which writes its part itself, and says nothing about a build that is not
    /// optimised.
    Bench(&'static [&'static str]),
}

/// `cargo` with these words. `{parts}` stands for the folder of the parts, `{profile}` for `--release` or `--debug`.
pub(crate) struct Own {
    pub(crate) full: &'static [&'static str],
    pub(crate) quick: &'static [&'static str],
}

const fn tests(name: &'static str, title: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, title, work: Work::Tests(words) }
}

const fn own(
    name: &'static str,
    title: &'static str,
    full: &'static [&'static str],
    quick: &'static [&'static str],
) -> Step {
    Step { name, title, work: Work::Own(Own { full, quick }) }
}

const fn bench(name: &'static str, title: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, title, work: Work::Bench(words) }
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
        &["xtask", "fuzz", "--seconds", "60", "--parts", "{parts}"],
        &["xtask", "fuzz", "--seconds", "5", "--parts", "{parts}"],
    ),
    own(
        "chaos",
        "Chaos",
        &["xtask", "chaos", "{profile}", "--", "--minutes", "10"],
        &["xtask", "chaos", "{profile}", "--", "--minutes", "0.5"],
    ),
    own(
        "soak",
        "Soak",
        &["xtask", "soak", "{profile}", "--", "--calls", "1000000"],
        &["xtask", "soak", "{profile}", "--", "--calls", "20000"],
    ),
    own(
        "replicas",
        "Replicas",
        &["xtask", "replicas", "{profile}"],
        &["xtask", "replicas", "{profile}", "--", "--seconds", "5"],
    ),
    own(
        "replicas-redis",
        "Replicas that share a Redis database",
        &["xtask", "replicas", "{profile}", "--", "--store", "redis"],
        &["xtask", "replicas", "{profile}", "--", "--store", "redis", "--seconds", "5"],
    ),
    bench("bench-calls", "Cost of a call", &[]),
    bench("bench-commands", "Commands", &["commands"]),
    bench("bench-exec", "Code execution", &["exec"]),
    bench("bench-files", "File tools, measured", &["files"]),
    bench("bench-http", "Calls over HTTP", &["http"]),
    bench("bench-overhead", "Cost of records and numbers", &["overhead"]),
    bench("bench-search", "Code search", &["search"]),
    bench("bench-sweep", "Payloads, plugins, tools and clients", &["sweep"]),
    bench("bench-peers", "Beside what people would use instead", &["peers"]),
    bench("bench-tokens", "Tokens", &["tokens"]),
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
    /// The words that cargo gets, where the part is written by who makes it.
    pub(crate) fn words(&self, quick: bool) -> Vec<&'static str> {
        match &self.work {
            Work::Own(own) => if quick { own.quick } else { own.full }.to_vec(),
            Work::Bench(what) => {
                let quick: &[&str] = if quick { &["--quick"] } else { &[] };
                [&["xtask", "bench", "--"], quick, &["--parts", "{parts}"], what].concat()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_part_has_one_step() {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        let is_plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(is_plain));
    }

    #[test]
    fn who_writes_a_part_is_told_where() {
        for step in STEPS.iter().filter(|step| matches!(step.work, Work::Own(_) | Work::Bench(_))) {
            for words in [step.words(true), step.words(false)] {
                assert!(words.contains(&"{parts}") || words.contains(&"{profile}"), "{words:?}");
            }
        }
        let sweep = STEPS.iter().find(|step| step.name == "bench-sweep").unwrap();
        assert_eq!(sweep.words(true), ["xtask", "bench", "--", "--quick", "--parts", "{parts}", "sweep"]);
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
