//! What the programs say of themselves: their verbs and exit codes.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::support::stage;

/// A program that a person starts by hand.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Every command that does something, such as `["plugin", "lock"]`; one without words for a program without verbs.
    pub(crate) verbs: Vec<Vec<String>>,
    /// Exit codes that `--help` lists.
    pub(crate) codes: BTreeSet<i32>,
    /// Any other exit code is that of the program that it runs.
    pub(crate) hands_on: bool,
}

impl Program {
    /// Asks a program of the stage, down to the last verb.
    pub(crate) fn ask(name: &'static str) -> Self {
        let help = help(name, &[]);
        let mut verbs = Vec::new();
        walk(name, &mut Vec::new(), &help, &mut verbs);
        let hands_on = help.contains("Exit codes are those of the command");
        Self { name, verbs, codes: codes(&help), hands_on }
    }

    /// The verb that a command line uses, if it is one of this program.
    pub(crate) fn verb_of(&self, line: &str) -> Option<&Vec<String>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == self.name)?;
        // Flags of the program itself stand before the verb and have no value here.
        let words: Vec<&str> =
            words[at + 1..].iter().skip_while(|word| word.starts_with('-')).copied().collect();
        let uses =
            |verb: &&Vec<String>| words.len() >= verb.len() && verb.iter().eq(words[..verb.len()].iter());
        self.verbs.iter().find(uses)
    }
}

fn help(name: &str, verb: &[String]) -> String {
    let mut command = Command::new(stage().join("bin").join(name));
    command.args(verb).arg("--help").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "`{name} {}` has no help: {output:?}", verb.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

fn walk(name: &str, verb: &mut Vec<String>, help_of_verb: &str, verbs: &mut Vec<Vec<String>>) {
    let below = subcommands(help_of_verb);
    if below.is_empty() {
        verbs.push(verb.clone());
    }
    for word in below {
        verb.push(word);
        let text = help(name, verb);
        walk(name, verb, &text, verbs);
        verb.pop();
    }
}

/// Names of the list `Commands:`, which stand two spaces from the margin.
fn subcommands(help: &str) -> Vec<String> {
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Numbers that begin a part of the line `Exit codes: 0 success; 1 failure; ...`.
fn codes(help: &str) -> BTreeSet<i32> {
    let list = help.lines().find_map(|line| line.strip_prefix("Exit codes"));
    let parts = list.into_iter().flat_map(|list| list.trim_start_matches(':').split("; "));
    parts.map(str::trim_start).filter_map(|part| part.split(' ').next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_read() {
        let help = "Does.\n\nCommands:\n  one   First\n          with more\n  two-b  Second\n  help  Help\n\nOptions:\n  -h\n";
        assert_eq!(subcommands(help), ["one", "two-b"]);
        assert_eq!(codes("x\nExit codes: 0 fine; 1 bad (a 7; b); 12 worse."), [0, 1, 12].into());
        assert_eq!(codes("Exit codes are those of the command; 2 wrong usage; 124 late."), [2, 124].into());
    }

    #[test]
    fn a_command_line_uses_its_longest_verb() {
        let verbs =
            [vec!["tools"], vec!["plugin", "lock"]].map(|verb| verb.into_iter().map(str::to_owned).collect());
        let program = Program { name: "llmc", verbs: verbs.into(), codes: BTreeSet::new(), hands_on: false };
        assert_eq!(program.verb_of("obedient llmc plugin lock --x").unwrap().join(" "), "plugin lock");
        assert_eq!(program.verb_of("llmc --version"), None);
        assert_eq!(program.verb_of("llmc plugin"), None);
        assert_eq!(program.verb_of("ruta tools"), None);
    }
}
