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
    /// `{parts}` stands for the folder of the parts, `{profile}` for `--release` or `--debug`.
    pub(crate) full: &'static [&'static str],
    pub(crate) quick: &'static [&'static str],
    /// Says nothing about a build that is not optimised.
    pub(crate) only_release: bool,
}

const fn tests(name: &'static str, title: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, title, work: Work::Tests(words) }
}

const fn own(
    name: &'static str,
    title: &'static str,
    parts: &'static [&'static str],
    full: &'static [&'static str],
    quick: &'static [&'static str],
) -> Step {
    Step { name, title, work: Work::Own(Own { parts, full, quick, only_release: false }) }
}

/// A benchmark, and how it is run when it is quick.
const fn bench(
    name: &'static str,
    title: &'static str,
    parts: &'static [&'static str],
    full: &'static [&'static str],
    quick: &'static [&'static str],
) -> Step {
    Step { name, title, work: Work::Own(Own { parts, full, quick, only_release: true }) }
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
        &["fuzz"],
        &["xtask", "fuzz", "--seconds", "60", "--parts", "{parts}"],
        &["xtask", "fuzz", "--seconds", "5", "--parts", "{parts}"],
    ),
    own(
        "chaos",
        "Chaos",
        &["chaos"],
        &["xtask", "chaos", "{profile}", "--", "--minutes", "10"],
        &["xtask", "chaos", "{profile}", "--", "--minutes", "0.5"],
    ),
    own(
        "soak",
        "Soak",
        &["soak"],
        &["xtask", "soak", "{profile}", "--", "--calls", "1000000"],
        &["xtask", "soak", "{profile}", "--", "--calls", "20000"],
    ),
    own(
        "replicas",
        "Replicas",
        &["replicas"],
        &["xtask", "replicas", "{profile}"],
        &["xtask", "replicas", "{profile}", "--", "--seconds", "5"],
    ),
    bench(
        "bench-calls",
        "Cost of a call",
        &["bench-calls"],
        &["xtask", "bench", "--", "--parts", "{parts}"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}"],
    ),
    bench(
        "bench-commands",
        "Commands",
        &["bench-commands"],
        &["xtask", "bench", "--", "--parts", "{parts}", "commands"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "commands"],
    ),
    bench(
        "bench-exec",
        "Code execution",
        &["bench-exec"],
        &["xtask", "bench", "--", "--parts", "{parts}", "exec"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "exec"],
    ),
    bench(
        "bench-files",
        "File tools, measured",
        &["bench-files"],
        &["xtask", "bench", "--", "--parts", "{parts}", "files"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "files"],
    ),
    bench(
        "bench-http",
        "Calls over HTTP",
        &["bench-http"],
        &["xtask", "bench", "--", "--parts", "{parts}", "http"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "http"],
    ),
    bench(
        "bench-overhead",
        "Cost of records and numbers",
        &["bench-overhead"],
        &["xtask", "bench", "--", "--parts", "{parts}", "overhead"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "overhead"],
    ),
    bench(
        "bench-search",
        "Code search",
        &["bench-search"],
        &["xtask", "bench", "--", "--parts", "{parts}", "search"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "search"],
    ),
    bench(
        "bench-sweep",
        "Payloads, plugins, tools and clients",
        &["bench-sweep"],
        &["xtask", "bench", "--", "--parts", "{parts}", "sweep"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "sweep"],
    ),
    bench(
        "bench-peers",
        "Beside what people would use instead",
        &["bench-peers"],
        &["xtask", "bench", "--", "--parts", "{parts}", "peers"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "peers"],
    ),
    bench(
        "bench-tokens",
        "Tokens",
        &["bench-tokens"],
        &["xtask", "bench", "--", "--parts", "{parts}", "tokens"],
        &["xtask", "bench", "--", "--quick", "--parts", "{parts}", "tokens"],
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
