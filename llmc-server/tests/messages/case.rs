//! The form of a file of cases. It is Markdown, so that it can be read as a page.

use std::path::{Path, PathBuf};

/// Where the files lie.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages/cases")
}

/// A case: what lies in its folder, and the commands that are tried there, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) steps: Vec<Step>,
}

/// One thing that is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A block such as ```` ```toml llmc.toml ````: a file with this text.
    File { name: String, text: String },
    /// A block ```` ```sh ````: a script that must succeed; its exit code 77 says that this machine cannot do it.
    Prepare(String),
    /// Commands of a block ```` ```console ````.
    Try(Command),
}

/// A command and what it prints.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// As a person types it, after `$ `.
    pub(crate) line: String,
    /// Exit code, after `? `.
    pub(crate) code: i32,
    /// Lines of stdout after `| ` and of stderr after `! `.
    pub(crate) printed: Vec<String>,
    /// Lines of the file that hold code and output, to be replaced by a blessing.
    pub(crate) place: std::ops::Range<usize>,
}

/// All cases of a file, or the line that nobody understands.
pub(crate) fn parse(text: &str) -> Result<Vec<Case>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut cases: Vec<Case> = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let wrong = |what: &str| format!("line {}: {what}: {line}", at + 1);
        if let Some(title) = line.strip_prefix("## ") {
            if cases.iter().any(|case| case.title == title) {
                return Err(wrong("there is a case of this title already"));
            }
            cases.push(Case { title: title.to_owned(), steps: Vec::new() });
        } else if let Some(kind) = line.strip_prefix("```") {
            let end = lines[at + 1..].iter().position(|line| *line == "```");
            let end = at + 1 + end.ok_or_else(|| wrong("this block has no end"))?;
            let case = cases.last_mut().ok_or_else(|| wrong("a block before the first case"))?;
            let body = &lines[at + 1..end];
            match kind.split_once(' ') {
                Some((_, name)) => {
                    let text = body.iter().map(|line| format!("{line}\n")).collect();
                    case.steps.push(Step::File { name: name.to_owned(), text });
                }
                None if kind == "sh" => case.steps.push(Step::Prepare(body.join("\n"))),
                None if kind == "console" => {
                    case.steps.extend(commands(body, at + 1)?.into_iter().map(Step::Try));
                }
                None => return Err(wrong("no such kind of block")),
            }
            at = end;
        }
        at += 1;
    }
    Ok(cases)
}

/// The commands of a block whose first line has this number.
fn commands(body: &[&str], first: usize) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    for (at, line) in body.iter().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}: {line}", first + at + 1);
        if let Some(line) = line.strip_prefix("$ ") {
            let place = first + at + 1..first + at + 1;
            commands.push(Command { line: line.to_owned(), place, ..Command::default() });
            continue;
        }
        let command = commands.last_mut().ok_or_else(|| wrong("output before the first command"))?;
        command.place.end = first + at + 1;
        if let Some(code) = line.strip_prefix("? ") {
            command.code = code.parse().map_err(|_| wrong("no exit code"))?;
        } else if is_output(line) {
            command.printed.push((*line).to_owned());
        } else {
            return Err(wrong("neither `$ `, `? `, `| ` nor `! `"));
        }
    }
    Ok(commands)
}

fn is_output(line: &str) -> bool {
    matches!(line, "|" | "!") || line.starts_with("| ") || line.starts_with("! ")
}

/// The same file with other output of some commands, each with its lines.
pub(crate) fn blessed(text: &str, mut outputs: Vec<(std::ops::Range<usize>, Vec<String>)>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // From the end, so that places before stay what they are.
    outputs.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    for (place, output) in outputs {
        lines.splice(place, output);
    }
    lines.join("\n") + "\n"
}

/// Whether a line is as expected; `[..]` in what is expected stands for anything.
pub(crate) fn fits(expected: &str, found: &str) -> bool {
    let mut parts = expected.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# t\n\n## one\n\nWhy.\n\n```toml a.toml\nb = 1\n```\n\n```sh\ntrue\n```\n\n```console\n$ x y\n? 2\n! no [..]\n$ z\n```\n";

    #[test]
    fn a_file_is_read_and_blessed_where_its_output_stands() {
        let cases = parse(TEXT).unwrap();
        let [case] = &cases[..] else { panic!("{cases:?}") };
        let [Step::File { name, text }, Step::Prepare(script), Step::Try(first), Step::Try(second)] =
            &case.steps[..]
        else {
            panic!("{case:?}")
        };
        assert_eq!((name.as_str(), text.as_str(), script.as_str()), ("a.toml", "b = 1\n", "true"));
        assert_eq!(
            (first.line.as_str(), first.code, &first.printed),
            ("x y", 2, &vec!["! no [..]".to_owned()])
        );
        assert_eq!((second.line.as_str(), second.code, second.printed.len()), ("z", 0, 0));
        let outputs =
            vec![(first.place.clone(), vec!["? 1".into()]), (second.place.clone(), vec!["| more".into()])];
        let after = TEXT.replace("? 2\n! no [..]\n", "? 1\n").replace("$ z\n", "$ z\n| more\n");
        assert_eq!(blessed(TEXT, outputs), after);
    }

    #[test]
    fn what_nobody_understands_is_no_case() {
        for (text, part) in [
            ("```sh\n```", "before the first case"),
            ("## a\n```sh", "has no end"),
            ("## a\n```python\n```", "no such kind"),
            ("## a\n```console\n! x\n```", "before the first command"),
            ("## a\n```console\n$ x\noutput\n```", "neither"),
            ("## a\n```console\n$ x\n? one\n```", "no exit code"),
            ("## a\n## a", "already"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_anything() {
        for (expected, found) in
            [("a", "a"), ("a[..]", "a"), ("a[..]c", "abc"), ("[..]b[..]d", "abcd"), ("", "")]
        {
            assert!(fits(expected, found), "{expected} {found}");
        }
        for (expected, found) in
            [("a", "ab"), ("a[..]c", "abd"), ("a[..]a", "a"), ("[..]x[..]", "abc"), ("", "a")]
        {
            assert!(!fits(expected, found), "{expected} {found}");
        }
    }
}
