//! Command lines as data: everyday ones, which are allowed, and attacks, which the named rule refuses.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

use std::collections::BTreeMap;

use llmc_rules::{Allow, Changes, Decision, Place, Refusal, shipped};

/// Cases of one program.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// Everyday command lines.
    allowed: Vec<String>,
    /// Command lines by the rule that refuses them.
    refused: BTreeMap<String, Vec<String>>,
}

/// Words of a line; single quotes keep what is between them together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// A command in `/work/src`, where `/work` and `/docs` are granted.
fn decide(set: &str, line: &str) -> Decision {
    let args = words(line).split_off(1);
    shipped(set).unwrap().decide(&args, &Place::new(Some("/work/src"), ["/work", "/docs"]))
}

/// What a refusal says would allow a line has to lift the rule that it names; another rule may still refuse.
fn is_still_refused(set: &str, line: &str, refusal: &Refusal) -> Option<String> {
    let mut changes = Changes::default();
    let mut inside = vec!["/work".to_owned(), "/docs".to_owned()];
    match &refusal.allow {
        Allow::Flag(entry) => changes.allow_flags.push(entry.clone()),
        Allow::Subcommand(entry) => changes.allow_subcommands = Some(vec!["default".into(), entry.clone()]),
        Allow::MaxArgs(count) => changes.max_args = Some(*count),
        Allow::Read(path) => inside.push(path.clone()),
        Allow::NoRules => return None,
    }
    let changed = shipped(set).unwrap().clone().changed(&changes).unwrap();
    let place = Place::new(Some("/work/src"), inside.iter().map(String::as_str));
    match changed.decide(&words(line).split_off(1), &place) {
        Decision::Refused(again) if again.rule == refusal.rule && again.arg == refusal.arg => {
            Some(format!("`{line}`: {:?} does not lift {}", refusal.allow, refusal.rule))
        }
        _ => None,
    }
}

fn check(set: &str, text: &str, least_allowed: usize) {
    let cases: Cases = toml::from_str(text).unwrap();
    assert!(cases.allowed.len() >= least_allowed, "{set}: {} everyday lines", cases.allowed.len());
    let mut wrong = Vec::new();
    for line in &cases.allowed {
        if let Decision::Refused(refusal) = decide(set, line) {
            wrong.push(format!("`{line}` is refused: {} ({})", refusal.rule, refusal.arg));
        }
    }
    for (rule, lines) in &cases.refused {
        for line in lines {
            match decide(set, line) {
                Decision::Allowed => wrong.push(format!("`{line}` is allowed")),
                Decision::Refused(refusal) if refusal.rule.to_string() != *rule => {
                    wrong.push(format!("`{line}`: {} in place of {rule}", refusal.rule));
                }
                Decision::Refused(refusal) => wrong.extend(is_still_refused(set, line, &refusal)),
            }
        }
    }
    assert!(wrong.is_empty(), "{set}:\n{}", wrong.join("\n"));
}

#[test]
fn git() {
    check("git", include_str!("cases/git.toml"), 25);
}

#[test]
fn cargo() {
    check("cargo", include_str!("cases/cargo.toml"), 15);
}

#[test]
fn npm() {
    check("npm", include_str!("cases/npm.toml"), 10);
}

#[test]
fn python() {
    check("python", include_str!("cases/python.toml"), 10);
}

#[test]
fn rg() {
    check("rg", include_str!("cases/rg.toml"), 10);
}

#[test]
fn ls() {
    check("ls", include_str!("cases/ls.toml"), 10);
}

#[test]
fn cat() {
    check("cat", include_str!("cases/cat.toml"), 10);
}

#[test]
fn find() {
    check("find", include_str!("cases/find.toml"), 10);
}

#[test]
fn make() {
    check("make", include_str!("cases/make.toml"), 10);
}
