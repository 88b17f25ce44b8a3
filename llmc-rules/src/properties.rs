//! What holds for every command line, not only for those that somebody thought of.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::flags::{Seen, Tables};
use crate::place::Place;
use crate::read::Role;
use crate::rule::{Decision, RuleKind};
use crate::set::{Command, Dashes, RuleSet};
use crate::shipped::{shipped, shipped_names};

/// A set and everyday command lines of its program.
type Everyday = (&'static RuleSet, Vec<Vec<String>>);

/// Those of the tables, of sets that deny a flag.
static EVERYDAY: LazyLock<Vec<Everyday>> = LazyLock::new(|| {
    let texts = [
        ("git", include_str!("../tests/cases/git.toml")),
        ("cargo", include_str!("../tests/cases/cargo.toml")),
        ("npm", include_str!("../tests/cases/npm.toml")),
        ("python", include_str!("../tests/cases/python.toml")),
        ("rg", include_str!("../tests/cases/rg.toml")),
        ("find", include_str!("../tests/cases/find.toml")),
        ("make", include_str!("../tests/cases/make.toml")),
    ];
    texts.into_iter().map(|(name, text)| (shipped(name).unwrap(), lines(text))).collect()
});

/// The allowed lines without quotes, which are enough variety here.
fn lines(text: &str) -> Vec<Vec<String>> {
    let table: toml::Table = text.parse().unwrap();
    let lines = table["allowed"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    let words = |line: &str| line.split(' ').skip(1).map(str::to_owned).collect();
    lines.filter(|line| !line.contains('\'')).map(words).collect()
}

fn place() -> Place {
    Place::new(Some("/work/src"), ["/work", "/docs"])
}

/// Texts that mean something to some program, and texts that mean nothing.
fn argument() -> impl Strategy<Value = String> {
    let words = "- -- --- --= --output --output=x -c -C .. ../.. / . -m pytest exec log commit config +x a::b X=y SHELL=x \
                 X!=y $(x) -Oa -xvO --no-no- é --é=é -é";
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    prop_oneof![3 => select(words), 1 => ".{0,12}", 1 => "-{0,3}[a-zA-Z-]{0,12}(=.{0,4})?"]
}

/// A denied flag in one of the ways to write it: `--flag`, `--flag=value`, `--fl`, `-qf`, `-fvalue`.
fn spelt(set: &RuleSet, flag: &str, way: usize, cut: Index) -> String {
    let is_long = flag.starts_with("--") || set.syntax.dashes != Dashes::Two;
    match (way, is_long) {
        (1, true) if set.syntax.dashes != Dashes::One => format!("{flag}=value"),
        (2, true) if set.syntax.abbreviations => {
            let shortest = flag.len().min(3);
            flag[..shortest + cut.index(flag.len() - shortest + 1)].to_owned()
        }
        (3, false) => format!("-q{}", &flag[1..]),
        (4, false) => format!("{flag}value"),
        _ => flag.to_owned(),
    }
}

/// What the tables of a command say when its own word differs from what is said everywhere.
fn is_denied(set: &RuleSet, command: &Command, arg: &str) -> bool {
    matches!(Tables::new(set, command).see(arg), Seen::Denied { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_global_rejects: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_line_is_decided(
        name in select(shipped_names().collect::<Vec<_>>()),
        args in prop::collection::vec(argument(), 0..12),
    ) {
        let set = shipped(name).unwrap();
        let explanation = set.explain(&args, &place());
        prop_assert_eq!(explanation.readings.len(), args.len());
        if let Decision::Refused(refusal) = explanation.decision {
            prop_assert!(refusal.index <= args.len() && !refusal.why.is_empty());
        }
    }

    /// Refused in all subcommands means: wherever it stands before `--`, even as the value of another flag.
    #[test]
    fn a_denied_flag_is_refused_wherever_it_is_inserted(
        set_index in any::<Index>(),
        line in any::<Index>(),
        flag in any::<Index>(),
        at in any::<Index>(),
        way in 0_usize..5,
        cut in any::<Index>(),
    ) {
        let (set, lines) = set_index.get(EVERYDAY.as_slice());
        let mut args = line.get(lines.as_slice()).clone();
        let end = match set.syntax.double_dash {
            true => args.iter().position(|arg| arg == "--").unwrap_or(args.len()),
            false => args.len(),
        };
        let at = at.index(end + 1);
        // What is refused before the subcommand, which is everything in a program without one; or in all subcommands.
        let readings = set.explain(&args, &place()).readings;
        let is_on_top = match set.top.has_subcommands() {
            true => readings.iter().position(|reading| reading.role == Role::Subcommand).is_some_and(|first| at <= first),
            false => true,
        };
        let tables = [Some(&set.everywhere), is_on_top.then_some(&set.top)];
        let denials = tables.into_iter().flatten().flat_map(|table| &table.deny);
        let flags: Vec<&str> = denials.flat_map(|deny| deny.flags.iter()).collect();
        prop_assume!(!flags.is_empty());
        let denied = spelt(set, flag.get::<&str>(&flags), way, cut);
        args.insert(at, denied.clone());
        // A subcommand may know the flag as its own, as `git archive --output`; and `--text` is no `--textconv`.
        let nested = || set.top.commands.values();
        let nested = nested().chain(nested().flat_map(|command| command.commands.values()));
        let holds = |command| is_denied(set, command, &denied);
        prop_assume!(if is_on_top { holds(&set.top) } else { nested.into_iter().all(holds) });
        let Decision::Refused(refusal) = set.decide(&args, &place()) else {
            return Err(TestCaseError::fail(format!("allowed: {} {args:?}", set.name())));
        };
        // An earlier flag may lose its value to the inserted one; nothing later is looked at first.
        prop_assert!(refusal.index <= at, "{:?} {}", args, refusal.rule);
    }

    #[test]
    fn more_arguments_than_allowed_are_refused(count in 0_usize..40, max in 0_usize..20) {
        let mut set = shipped("ls").unwrap().clone();
        set.max_args = max;
        let decision = set.decide(&vec!["x"; count], &place());
        match (decision, count > max) {
            (Decision::Allowed, false) => {}
            (Decision::Refused(refusal), true) => prop_assert_eq!(refusal.rule.kind, RuleKind::MaxArgs),
            (decision, _) => return Err(TestCaseError::fail(format!("{count} of {max}: {decision:?}"))),
        }
    }

    #[test]
    fn a_path_that_leads_out_is_refused_in_every_form(
        inside in prop::collection::vec("[a-z]{1,4}", 0..4),
        more in 0_usize..4,
        dot in any::<bool>(),
    ) {
        // From /work/src it takes two steps more than into the folder to be outside.
        let up = vec![".."; inside.len() + 2 + more].join("/");
        let dot = if dot { "./" } else { "" };
        let path = format!("{dot}{}/{up}/etc", inside.join("/")).replace("//", "/");
        let path = path.trim_start_matches('/');
        for (name, args) in [("cat", vec![path]), ("git", vec!["add", path]), ("rg", vec!["x", path])] {
            let decision = shipped(name).unwrap().decide(&args, &place());
            let is_path = matches!(&decision, Decision::Refused(refusal) if refusal.rule.kind == RuleKind::Path);
            prop_assert!(is_path, "{} {:?} {:?}", name, args, decision);
        }
        let honest = format!("{dot}{}", inside.join("/"));
        prop_assert_eq!(shipped("cat").unwrap().decide(&[honest], &place()), Decision::Allowed);
    }
}
