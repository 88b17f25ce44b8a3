//! Jails from both sides: every attack is refused, and the honest neighbour of each attack works.
//!
//! The binary is driver and payload at once: a case starts it again with the name of a role, which enters a jail,
//! tries things and reports `name=outcome` lines. A feature that this kernel lacks fails its case with that name.

#![expect(unsafe_code, reason = "attacks are raw system calls")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test without the harness that clippy knows")]

mod attack;
mod host;
mod oneshot;
mod payload;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A case and its name.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if let Some(role) = args.next().filter(|arg| arg.starts_with("role:")) {
        let rest: Vec<String> = args.collect();
        return match role.as_str() {
            host::ROLE => host::role(&rest),
            oneshot::ROLE => oneshot::role(&rest),
            oneshot::ROLE_GROUP => oneshot::group_role(&rest),
            oneshot::ROLE_ENDING => oneshot::ending_role(&rest),
            payload::ROLE => payload::role(&rest),
            other => panic!("no role {other}"),
        };
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let cases: Vec<Case> = [host::CASES, oneshot::CASES, oneshot::GROUP_CASES].concat();
    if std::env::args().any(|arg| arg == "--list") {
        for (name, _) in cases {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let is_wanted =
        |(name, _): &Case| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str()));
    let cases: Vec<Case> = cases.into_iter().filter(is_wanted).collect();
    println!("\nrunning {} tests", cases.len());
    let mut failed = Vec::new();
    let ran = cases.len();
    for (name, case) in cases {
        match catch_unwind(AssertUnwindSafe(case)) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(name);
            }
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    // As cargo's own harness closes, so that whoever counts tests counts these.
    let (passed, failures) = (ran - failed.len(), failed.len());
    println!(
        "\ntest result: {word}. {passed} passed; {failures} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a role reported.
struct Outcomes(BTreeMap<String, String>);

impl Outcomes {
    fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
                .collect(),
        )
    }

    /// The outcome must be one of those listed.
    #[track_caller]
    fn expect(&self, name: &str, wanted: &[&str]) {
        let found = self.0.get(name).map_or("(not reported)", String::as_str);
        assert!(wanted.contains(&found), "{name}: {found}, wanted {wanted:?}");
    }

    #[track_caller]
    fn expect_all(&self, names: &[&str], wanted: &[&str]) {
        for name in names {
            self.expect(name, wanted);
        }
    }
}
