//! What is looked for: each case in the words of llmc and in those of `rg` or `fd`, made from one description so
//! that they cannot come to mean different things.

use std::ffi::OsString;

use serde::Serialize;
use serde_json::{Value, json};

/// Most that llmc shows, asked for wherever there may be more.
const LIMIT: u32 = 1000;

/// A program that does what a tool of llmc does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rival {
    Rg,
    Fd,
}

impl Rival {
    /// What distributions call it.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Rg => &["rg"],
            Self::Fd => &["fd", "fdfind"],
        }
    }

    /// The tool of llmc beside it.
    pub(crate) fn tool(self) -> &'static str {
        match self {
            Self::Rg => "search_files",
            Self::Fd => "find_files",
        }
    }
}

/// What is told of everything that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Matching lines with path, line and column.
    Lines,
    /// Paths of files that match.
    Files,
    /// The same with the number of their matching lines.
    Counts,
    /// Paths of all kinds of entries.
    Names,
}

/// One search in both languages.
pub(crate) struct Case {
    /// In the report.
    pub(crate) name: &'static str,
    pub(crate) rival: Rival,
    pub(crate) form: Form,
    /// Of the tool of llmc.
    pub(crate) arguments: Value,
    /// Of the program.
    pub(crate) flags: Vec<OsString>,
}

/// All of them, in the order of the report. The patterns are of the kind that is found in any tree of Rust sources:
/// some thirty, some thousand and more than a hundred thousand times in the sources of a few hundred crates.
pub(crate) fn all() -> Vec<Case> {
    let literal = |name, pattern, form| search(name, &Pattern { text: pattern, ..Pattern::LITERAL }, form);
    let regex = Pattern { is_literal: false, ..Pattern::LITERAL };
    let no_case = Pattern { ignore_case: true, ..Pattern::LITERAL };
    vec![
        literal("few hits", "RESOLVE_NO_XDEV", Form::Lines),
        literal("many hits", "return Err(", Form::Lines),
        // More than llmc counts.
        literal("very many hits", "pub fn", Form::Lines),
        literal("names of files", "unwrap()", Form::Files),
        literal("counts per file", "unwrap()", Form::Counts),
        search("regex with a class", &Pattern { text: r"fn [a-z_]+_unchecked\(", ..regex }, Form::Lines),
        search("any letter case", &Pattern { text: "deadlock", ..no_case }, Form::Lines),
        find("find by ending", Some("*.rs")),
        find("find by part of name", Some("*error*")),
        find("find everything", None),
    ]
}

/// A pattern and how it is meant.
struct Pattern {
    text: &'static str,
    is_literal: bool,
    ignore_case: bool,
}

impl Pattern {
    const LITERAL: Self = Self { text: "", is_literal: true, ignore_case: false };
}

fn search(name: &'static str, pattern: &Pattern, form: Form) -> Case {
    let mut arguments = json!({"pattern": pattern.text, "limit": LIMIT});
    // The user's configuration and what lies above the tree count for neither side.
    let mut flags =
        vec!["--no-config", "--no-ignore-parent", "--no-ignore-global", "--color=never", "--null"];
    if pattern.is_literal {
        arguments["literal"] = true.into();
        flags.push("--fixed-strings");
    }
    if pattern.ignore_case {
        arguments["ignore_case"] = true.into();
        flags.push("--ignore-case");
    }
    match form {
        Form::Files => {
            arguments["output"] = "files".into();
            flags.push("--files-with-matches");
        }
        Form::Counts => {
            arguments["output"] = "counts".into();
            flags.push("--count");
        }
        Form::Lines | Form::Names => {
            flags.extend(["--no-heading", "--with-filename", "--line-number", "--column"]);
        }
    }
    flags.extend(["--regexp", pattern.text, "./"]);
    case(name, Rival::Rg, form, arguments, flags)
}

fn find(name: &'static str, glob: Option<&'static str>) -> Case {
    let mut arguments = json!({"limit": LIMIT});
    let mut flags = vec![
        "--no-ignore-parent",
        "--no-global-ignore-file",
        "--color=never",
        "--print0",
        "--case-sensitive",
    ];
    if let Some(glob) = glob {
        arguments["pattern"] = glob.into();
        flags.extend(["--glob", glob]);
    }
    case(name, Rival::Fd, Form::Names, arguments, flags)
}

fn case(name: &'static str, rival: Rival, form: Form, arguments: Value, flags: Vec<&str>) -> Case {
    Case { name, rival, form, arguments, flags: flags.into_iter().map(OsString::from).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_asked_the_same() {
        let cases = all();
        let has = |case: &Case, flag: &str| case.flags.iter().any(|known| known == flag);
        for case in cases.iter().filter(|case| case.rival == Rival::Rg) {
            assert_eq!(case.arguments["literal"] == true, has(case, "--fixed-strings"), "{}", case.name);
            assert_eq!(case.arguments["ignore_case"] == true, has(case, "--ignore-case"), "{}", case.name);
            assert_eq!(
                case.arguments["output"] == "files",
                has(case, "--files-with-matches"),
                "{}",
                case.name
            );
            assert_eq!(case.arguments["output"] == "counts", has(case, "--count"), "{}", case.name);
            assert!(has(case, case.arguments["pattern"].as_str().unwrap()), "{}", case.name);
        }
        for case in cases.iter().filter(|case| case.rival == Rival::Fd) {
            let glob = case.arguments["pattern"].as_str();
            assert_eq!(glob.is_some(), has(case, "--glob"), "{}", case.name);
            assert!(glob.is_none_or(|glob| has(case, glob)), "{}", case.name);
        }
    }

    #[test]
    fn names_fit_in_the_report() {
        assert!(all().iter().all(|case| case.name.len() <= 22));
    }
}
