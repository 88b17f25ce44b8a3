//! `cargo test`, `pytest` and `npm test`: failures first, what passed as a number.

use llmc_core::prelude::*;

use super::Asked;
use crate::answer::{Found, Show};
use crate::program::{self, Ran};

/// Lines at the end that are shown where the form of an output is not known.
const LAST_LINES: usize = 15;
/// Lines that are shown after a line that tells of a failure.
const AFTER_FAILURE: usize = 6;

/// What a test run came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    passed: u64,
    failed: u64,
    body: String,
}

pub(super) fn cargo(asked: &Asked<'_>, _: &[&str]) -> ToolResult<Option<Found>> {
    run(asked, "cargo test", of_cargo)
}

pub(super) fn pytest(asked: &Asked<'_>, _: &[&str]) -> ToolResult<Option<Found>> {
    run(asked, "pytest", of_pytest)
}

pub(super) fn npm(asked: &Asked<'_>, _: &[&str]) -> ToolResult<Option<Found>> {
    run(asked, "npm test", of_npm)
}

fn run(asked: &Asked<'_>, cmd: &str, read: fn(&Ran) -> Option<Report>) -> ToolResult<Option<Found>> {
    let mut ran = program::run(asked, asked.argv)?;
    let Some(report) = read(&ran).filter(|_| ran.error.is_none()) else {
        return Ok(Some(Found::of_program(cmd, ran, None)));
    };
    // The whole is one text behind the handle: what is shown first, then all that was printed.
    let lines = report.body.lines().count();
    let whole = format!("{}\n{}\n{}", report.body, ran.stdout, ran.stderr);
    let (stdout, stderr) = (std::mem::take(&mut ran.stdout), std::mem::take(&mut ran.stderr));
    let mut found = Found::of_program(cmd, ran, Some(whole));
    found.plain_tokens = crate::tokens::estimate(&stdout) + crate::tokens::estimate(&stderr);
    found.header.passed = Some(report.passed);
    found.header.failed = Some(report.failed);
    found.show = Show::Lines(lines);
    Ok(Some(found))
}

/// Failed tests with what they printed, errors of the compiler, and the results of test programs that failed.
fn of_cargo(ran: &Ran) -> Option<Report> {
    let mut report = Report::default();
    let mut in_failures = false;
    for line in ran.stdout.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            in_failures = false;
            report.passed += count_before(result, " passed");
            report.failed += count_before(result, " failed");
            if !result.starts_with("ok") {
                push(&mut report.body, line);
            }
        } else if line == "failures:" {
            in_failures = true;
        } else if in_failures && !line.trim().is_empty() {
            push(&mut report.body, line);
        }
    }
    let is_known = ran.stdout.contains("test result: ");
    let mut in_error = false;
    for line in ran.stderr.lines() {
        in_error = line.starts_with("error") || in_error && !line.trim().is_empty();
        if in_error {
            push(&mut report.body, line);
        }
    }
    (is_known || !report.body.is_empty()).then_some(report)
}

/// From the heading of the failures on; without failures the last line.
fn of_pytest(ran: &Ran) -> Option<Report> {
    let last = ran.stdout.lines().rfind(|line| !line.trim().is_empty())?;
    let passed = count_before(last, " passed");
    let failed = count_before(last, " failed") + count_before(last, " error");
    if passed + failed == 0 && !last.contains("no tests ran") {
        return None;
    }
    let is_heading =
        |line: &&str| line.starts_with("===") && (line.contains(" FAILURES ") || line.contains(" ERRORS "));
    let body = match ran.stdout.lines().position(|line| is_heading(&line)) {
        Some(at) if failed > 0 => ran.stdout.lines().skip(at).map(|line| format!("{line}\n")).collect(),
        _ => format!("{last}\n"),
    };
    Some(Report { passed, failed, body })
}

/// Jest, mocha, `node --test` and their like: lines that tell of failures, what follows them, and the end.
fn of_npm(ran: &Ran) -> Option<Report> {
    let mut report = Report::default();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for line in &lines {
        let text = line.trim();
        // `Tests: 1 failed, 3 passed` of jest, `3 passing` of mocha, `# pass 3` of node.
        if text.starts_with("Tests:")
            || text.ends_with(" passing")
            || text.contains(" passing (")
            || text.ends_with(" failing")
        {
            report.passed += count_before(text, " passed") + count_before(text, " passing");
            report.failed += count_before(text, " failed") + count_before(text, " failing");
        }
        for (start, failed) in [("# pass ", false), ("# fail ", true), ("ℹ pass ", false), ("ℹ fail ", true)]
        {
            let number = text.strip_prefix(start).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
            *if failed { &mut report.failed } else { &mut report.passed } += number;
        }
    }
    let tells_of_failure = |line: &&str| {
        let line = line.trim_start();
        line.starts_with(['✕', '✗', '✖', '●', '×'])
            || line.starts_with("not ok")
            || line.starts_with("FAIL")
            || line.contains("Error:")
            || line.contains("AssertionError")
    };
    let end = lines.len().saturating_sub(LAST_LINES);
    let mut until = 0;
    for (at, line) in lines.iter().enumerate() {
        if ran.exit != 0 && tells_of_failure(line) {
            until = at + AFTER_FAILURE;
        }
        if at < until || at >= end {
            push(&mut report.body, line);
        }
    }
    let known = report.passed + report.failed > 0;
    known.then_some(report)
}

/// The number directly before a word; 0 if there is none.
fn count_before(text: &str, word: &str) -> u64 {
    let Some(at) = text.find(word) else { return 0 };
    let digits = text[..at].bytes().rev().take_while(u8::is_ascii_digit).count();
    text[at - digits..at].parse().unwrap_or(0)
}

fn push(body: &mut String, line: &str) {
    body.push_str(line);
    body.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(stdout: &str, stderr: &str, exit: i32) -> Ran {
        Ran { stdout: stdout.into(), stderr: stderr.into(), exit, ..Ran::default() }
    }

    #[test]
    fn cargo_tells_failures_first() {
        let stdout = "running 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ok\n\nfailures:\n\n---- b stdout ----\n\
                      thread 'b' panicked at src/lib.rs:3:5:\nleft: 1\n\nfailures:\n    b\n\n\
                      test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured\n\
                      running 1 test\ntest d ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        let report = of_cargo(&ran(stdout, "warning: unused\n   Compiling x\n", 101)).unwrap();
        assert_eq!((report.passed, report.failed), (3, 1));
        assert!(report.body.contains("left: 1") && report.body.contains("    b\n"), "{}", report.body);
        assert!(!report.body.contains("... ok") && !report.body.contains("warning"), "{}", report.body);
        let stderr =
            "warning: x\n\nerror[E0308]: mismatched types\n --> src/lib.rs:1:1\n\nerror: could not compile\n";
        let report = of_cargo(&ran("", stderr, 101)).unwrap();
        assert!(
            report.body.starts_with("error[E0308]") && !report.body.contains("warning"),
            "{}",
            report.body
        );
        assert_eq!(of_cargo(&ran("", "Finished\n", 0)), None);
    }

    #[test]
    fn pytest_and_npm_too() {
        let stdout = "=== test session starts ===\ncollected 3 items\nt.py .F.\n=== FAILURES ===\n___ test_b ___\nE assert 1 == 2\n\
                      === short test summary info ===\nFAILED t.py::test_b\n=== 1 failed, 2 passed in 0.1s ===\n";
        let report = of_pytest(&ran(stdout, "", 1)).unwrap();
        assert_eq!((report.passed, report.failed), (2, 1));
        assert!(report.body.starts_with("=== FAILURES") && report.body.contains("assert 1 == 2"));
        let report = of_pytest(&ran("collected 2\n..\n2 passed in 0.1s\n", "", 0)).unwrap();
        assert_eq!(report, Report { passed: 2, failed: 0, body: "2 passed in 0.1s\n".into() });
        assert_eq!(of_pytest(&ran("usage: pytest\n", "", 4)), None);

        let passing: String = (0..50).map(|n| format!("  ✓ works {n}\n")).collect();
        let stdout = format!(
            "{passing}  ✕ breaks\n    Expected: 1\n{passing}Tests: 1 failed, 100 passed, 101 total\n"
        );
        let report = of_npm(&ran(&stdout, "", 1)).unwrap();
        assert_eq!((report.passed, report.failed), (100, 1));
        assert!(report.body.contains("Expected: 1") && report.body.lines().count() < 30, "{}", report.body);
        assert_eq!(of_npm(&ran("> tsc\n", "", 2)), None);
    }

    #[test]
    fn numbers_are_read_where_they_stand() {
        assert_eq!(count_before("1 failed, 23 passed in 1s", " passed"), 23);
        assert_eq!(count_before("all passed", " passed"), 0);
        assert_eq!(count_before("", " passed"), 0);
    }

    proptest::proptest! {
        #[test]
        fn no_output_makes_them_fail(text in "(test result: |failures:|error| passed| failed|# pass |Tests:|=== FAILURES ===|diff --git | b/|@@|[+-]|[12u?#] |[0-9]{1,22}|\\PC|\\n|\\t){0,40}") {
            let ran = ran(&text, &text, 1);
            for read in [of_cargo, of_pytest, of_npm] {
                read(&ran);
            }
            super::super::diff::files(&text).iter().for_each(|file| drop(file.line()));
            super::super::status::summary(&text);
        }
    }
}
