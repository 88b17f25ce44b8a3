//! What test programs printed, counted.

use std::mem;

/// More failures than this are no matter of a busy machine.
const MAX_REPEATED: usize = 3;

/// Test programs whose tests attack what was built.
const ATTACKS: [&str; 3] = ["tests/security", "tests/attempts", "tests/jail"];

/// What the test programs reported so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Names of what failed, with the program that it is of.
    names: Vec<(String, String)>,
    /// As cargo names it.
    program: String,
    /// A program has begun and not yet said how it ended.
    running: bool,
}

impl Tally {
    pub(super) fn read(&mut self, line: &str) {
        if line.starts_with("running ") && (line.ends_with(" test") || line.ends_with(" tests")) {
            self.end();
            self.running = true;
        }
        if let Some(program) =
            line.strip_prefix("     Running ").or_else(|| line.strip_prefix("   Doc-tests "))
        {
            program.clone_into(&mut self.program);
        }
        if let Some(name) = failed(line) {
            self.names.push((self.program.clone(), name.to_owned()));
        }
        if let Some((passed, failed)) = result(line) {
            self.passed += passed;
            self.failed += failed;
            self.running = false;
        }
    }

    /// A program that died before its result line counts as one failed test.
    pub(super) fn end(&mut self) {
        self.failed += u64::from(mem::take(&mut self.running));
    }

    /// Names of the tests that failed, if it makes sense to run them again: they are few, all are known by name, and none
    /// is an attack.
    pub(super) fn to_repeat(&self) -> Option<Vec<String>> {
        let is_known = self.names.len() as u64 == self.failed;
        let is_attack = |program: &str| ATTACKS.iter().any(|attack| program.starts_with(attack));
        let may = is_known
            && (1..=MAX_REPEATED).contains(&self.names.len())
            && !self.names.iter().any(|(program, _)| program.is_empty() || is_attack(program));
        may.then(|| self.names.iter().map(|(_, name)| name.clone()).collect())
    }
}

/// Reads `test NAME ... FAILED`.
fn failed(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = counts.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally.end();
        tally
    }

    fn tally(output: &str) -> (u64, u64) {
        let tally = read(output);
        (tally.passed, tally.failed)
    }

    #[test]
    fn results_are_summed() {
        let output = "running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\n\
            running 1 test\ntest result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(tally(output), (5, 1));
    }

    #[test]
    fn a_program_that_dies_counts_as_failed() {
        let died_first = "running 2 tests\nrunning 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored";
        assert_eq!(tally(died_first), (1, 1));
        assert_eq!(tally("running 4 tests\ntest a ... ok"), (0, 1));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(tally("test result: who knows\nrunning late"), (0, 0));
    }

    #[test]
    fn a_few_failures_that_are_no_attacks_are_tried_again() {
        let program = |path: &str, failures: usize| {
            let names: String = (0..failures).map(|index| format!("test t{index} ... FAILED\n")).collect();
            format!(
                "     Running {path} (target/x)\nrunning 9 tests\ntest good ... ok\n{names}\
                 test result: FAILED. 1 passed; {failures} failed; 0 ignored\n"
            )
        };
        let repeated = |output: &str| read(output).to_repeat();
        assert_eq!(repeated(&program("tests/it/main.rs", 2)), Some(vec!["t0".into(), "t1".into()]));
        assert_eq!(repeated(&program("tests/it/main.rs", 0)), None);
        assert_eq!(repeated(&program("tests/it/main.rs", 4)), None);
        for attack in ["tests/security/main.rs", "tests/attempts/main.rs", "tests/jail/main.rs"] {
            assert_eq!(repeated(&program(attack, 1)), None);
            assert_eq!(repeated(&(program("tests/it/main.rs", 1) + &program(attack, 1))), None);
        }
        // Something failed that has no name.
        let died = program("tests/it/main.rs", 1) + "     Running tests/http/main.rs (x)\nrunning 2 tests\n";
        assert_eq!(repeated(&died), None);
    }
}
