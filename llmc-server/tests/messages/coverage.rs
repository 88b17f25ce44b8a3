//! That no message is forgotten: each verb has a case of an error, and each exit code of the help a case.

use std::collections::{BTreeMap, BTreeSet};

use crate::FILES;
use crate::case::{self, Command, Step};
use crate::programs::Program;

/// All commands of all cases.
fn commands() -> Vec<Command> {
    let cases = FILES.iter().flat_map(|name| {
        let text = std::fs::read_to_string(case::folder().join(format!("{name}.md"))).unwrap();
        case::parse(&text).unwrap()
    });
    let steps = cases.flat_map(|case| case.steps);
    steps.filter_map(|step| if let Step::Try(command) = step { Some(command) } else { None }).collect()
}

#[test]
fn every_verb_has_a_case_of_an_error_and_every_exit_code_a_case() {
    let commands = commands();
    for program in ["llmc", "ruta", "te"].map(Program::ask) {
        let name = program.name;
        assert!(
            !program.verbs.is_empty() && program.codes.len() > 2,
            "the help of `{name}` was not read: {program:?}"
        );
        let mut failures: BTreeMap<&Vec<String>, usize> =
            program.verbs.iter().map(|verb| (verb, 0)).collect();
        let mut codes = BTreeSet::new();
        let is_of_it = |command: &&Command| command.line.split_whitespace().any(|word| word == name);
        for command in commands.iter().filter(is_of_it) {
            codes.insert(command.code);
            if let Some(verb) = program.verb_of(&command.line).filter(|_| command.code != 0) {
                *failures.entry(verb).or_default() += 1;
            }
        }
        let without: Vec<String> =
            failures.iter().filter(|(_, count)| **count == 0).map(|(verb, _)| verb.join(" ")).collect();
        assert!(
            without.is_empty(),
            "`{name}` has verbs whose errors nobody has seen: {}; add cases to llmc-server/tests/messages/cases",
            without.join(", ")
        );
        let unseen: Vec<_> = program.codes.difference(&codes).collect();
        assert!(
            unseen.is_empty(),
            "no case of `{name}` ends with the exit codes {unseen:?} that its help lists"
        );
        let untold: Vec<_> = codes.difference(&program.codes).collect();
        assert!(
            untold.is_empty() || program.hands_on,
            "cases of `{name}` end with the exit codes {untold:?} that its help does not list"
        );
    }
}
