//! What an operator changes, and that it does not change more.

use super::*;
use crate::{Decision, Place, RuleKind, shipped};

fn changes(allow_flags: &[&str], deny_flags: &[&str], allow_subcommands: Option<&[&str]>) -> Changes {
    let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
    Changes {
        allow_flags: owned(allow_flags),
        deny_flags: owned(deny_flags),
        allow_subcommands: allow_subcommands.map(owned),
        max_args: None,
    }
}

/// The kind of rule that refuses a line of git with these changes.
#[track_caller]
fn refused(changes: &Changes, line: &str) -> Option<RuleKind> {
    let set = shipped("git").unwrap().clone().changed(changes).unwrap();
    let args: Vec<&str> = line.split(' ').collect();
    match set.decide(&args, &Place::new(Some("/work"), ["/work"])) {
        Decision::Allowed => None,
        Decision::Refused(refusal) => Some(refusal.rule.kind),
    }
}

#[test]
fn an_allowed_flag_is_allowed_where_it_says() {
    let one = changes(&["log --output"], &[], None);
    assert_eq!(refused(&one, "log --output=x"), None);
    assert_eq!(refused(&one, "log --output=/etc/x"), Some(RuleKind::Path));
    assert_eq!(refused(&one, "diff --output=x"), Some(RuleKind::DenyFlag));
    let all = changes(&["--output"], &[], None);
    assert_eq!(refused(&all, "diff --output x"), None);
    assert_eq!(refused(&all, "diff --upload-pack=x"), Some(RuleKind::DenyFlag));
    // A flag with a value takes it along, so that the subcommand is still found.
    let global = changes(&["-c"], &[], None);
    assert_eq!(refused(&global, "-c core.pager=less log"), None);
    assert_eq!(refused(&global, "-c core.pager=less daemon"), Some(RuleKind::AllowSubcommands));
    assert_eq!(refused(&global, "clone -c a=b x"), Some(RuleKind::DenyFlag));
}

#[test]
fn a_denied_flag_is_denied_everywhere_or_where_it_says() {
    let force = changes(&[], &["push --force", "-f"], None);
    for line in
        ["push --force", "push --forc origin", "push -f", "push -uf origin", "add -f a", "config -f a b.c"]
    {
        assert_eq!(refused(&force, line), Some(RuleKind::DenyFlag), "{line}");
    }
    assert_eq!(refused(&force, "fetch --force"), None);
    assert_eq!(refused(&force, "push origin"), None);
    // The operator's word is the last, whatever the shipped set knows.
    let output = changes(&["archive --output"], &["--output"], None);
    assert_eq!(refused(&output, "archive --output=x HEAD"), Some(RuleKind::DenyFlag));
}

#[test]
fn subcommands_replace_the_shipped_ones_or_come_on_top() {
    let few = changes(&[], &[], Some(&["status", "log"]));
    assert_eq!(refused(&few, "log"), None);
    assert_eq!(refused(&few, "log --output=x"), Some(RuleKind::DenyFlag));
    assert_eq!(refused(&few, "commit"), Some(RuleKind::AllowSubcommands));
    let more = changes(&[], &[], Some(&["default", "daemon", "bisect run"]));
    assert_eq!(refused(&more, "daemon"), None);
    assert_eq!(refused(&more, "commit"), None);
    assert_eq!(refused(&more, "bisect run make"), None);
    assert_eq!(refused(&more, "bisect view"), Some(RuleKind::AllowSubcommands));
    assert_eq!(refused(&more, "hook run x"), Some(RuleKind::AllowSubcommands));
}

#[test]
fn entries_that_mean_nothing_are_errors() {
    let error = |changes: &Changes| shipped("git").unwrap().clone().changed(changes).unwrap_err();
    for entry in ["output", "", "--output=x", "push", "--", "-", "--a --b"] {
        assert!(error(&changes(&[entry], &[], None)).contains("is no flag"), "{entry}");
        assert!(error(&changes(&[], &[entry], None)).contains("is no flag"), "{entry}");
    }
    assert!(error(&changes(&[], &["psuh --force"], None)).contains("`psuh` is no subcommand"));
    assert!(error(&changes(&[], &[], Some(&["--output"]))).contains("is no subcommand"));
}

#[test]
fn a_program_without_a_shipped_set_has_the_operator_s_rules() {
    let own = changes(&[], &["--to-command", "-I"], None);
    let set = RuleSet::empty("tar").changed(&own).unwrap();
    let decide = |line: &str| set.decide(&line.split(' ').collect::<Vec<_>>(), &Place::new(None, []));
    for line in ["-xf a --to-command=id", "--to-c id -xf a", "-xIid -f a", "-xf a -I id"] {
        assert_ne!(decide(line), Decision::Allowed, "{line}");
    }
    assert_eq!(decide("-xf a.tar -C /anywhere"), Decision::Allowed);
}
