//! Attempts that are no rows: the tests that are said to hold them must be there.

use std::path::Path;

use crate::row::Section;

/// Everything in a section comes from somewhere, and what it leaves to other tests is left to real ones.
pub(crate) fn check(section: &Section) {
    let Section { name, origin, elsewhere, .. } = section;
    assert!(!origin.is_empty(), "`{name}` does not say where its attempts come from");
    for held in elsewhere {
        assert!(is_there(&held.test), "`{name}`, {}: there is no test `{}`", held.title, held.test);
    }
}

/// Whether `PATH::NAME` is a test: a function right below its attribute.
fn is_there(test: &str) -> bool {
    let Some((path, name)) = test.split_once("::") else { return false };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
    std::fs::read_to_string(file).is_ok_and(|text| has_test(&text, name))
}

fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let begins = |line: &&str| line.starts_with(&format!("fn {name}("));
    let Some(at) = lines.iter().position(begins) else { return false };
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    above.into_iter().any(|line| *line == "#[test]")
}

#[test]
fn only_tests_are_found() {
    let text = "#[test]\nfn one() {}\n\nfn two() {}\n    #[test]\n    #[cfg(unix)]\n    fn three() {}\n";
    assert!(has_test(text, "one") && has_test(text, "three"));
    assert!(!has_test(text, "two") && !has_test(text, "on") && !has_test(text, "four"));
    let own = "llmc-server/tests/attempts/elsewhere.rs";
    assert!(is_there(&format!("{own}::only_tests_are_found")));
    assert!(!is_there(&format!("{own}::is_there")) && !is_there(own) && !is_there("nowhere.rs::x"));
}
