//! What the two sides of a case found, and whether it is the same. Pure.

use std::cmp::Ordering;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::cases::Form;

/// A thing that was found: a path and, depending on the [`Form`], its line, its number of matches or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    path: String,
    number: u64,
}

/// What llmc answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In the order of the answer.
    pub(crate) shown: Vec<Entry>,
    total: u64,
    total_files: Option<u64>,
    /// Whether it stopped counting.
    at_least: bool,
}

/// How much both sides found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Agreed {
    pub(crate) form: Form,
    /// What the program printed.
    pub(crate) printed: usize,
    /// The part of it that llmc showed: the first in the order of paths.
    pub(crate) shown: usize,
    /// The number up to which llmc counted.
    pub(crate) counted: u64,
    /// Whether llmc counted all.
    pub(crate) is_complete: bool,
}

impl Entry {
    /// Paths are ordered by their components, as llmc orders them.
    fn order(&self, other: &Self) -> Ordering {
        self.path.split('/').cmp(other.path.split('/')).then(self.number.cmp(&other.number))
    }
}

/// Reads the structured result of `search_files` or `find_files`.
pub(crate) fn of_llmc(form: Form, result: &Value) -> Result<Answer> {
    let found = &result["structuredContent"];
    ensure!(result["isError"] != true && found.is_object(), "llmc answered {result}");
    let (list, number) = match form {
        Form::Lines => ("matches", "line"),
        Form::Files | Form::Counts => ("files", "count"),
        Form::Names => ("entries", ""),
    };
    // Left out if empty.
    let list = found[list].as_array().map_or(&[][..], Vec::as_slice);
    let entry = |entry: &Value| {
        let (_, path) = entry["path"].as_str()?.split_once(':')?;
        Some(Entry { path: path.to_owned(), number: entry[number].as_u64().unwrap_or(0) })
    };
    let shown = list.iter().map(entry).collect::<Option<_>>().context("a result of llmc has no path")?;
    Ok(Answer {
        shown,
        total: found["total"].as_u64().context("the answer of llmc has no `total`")?,
        total_files: found["total_files"].as_u64(),
        at_least: found["at_least"] == true,
    })
}

/// Reads what `rg --null` or `fd --print0` printed, and puts it in the order of llmc.
pub(crate) fn of_rival(form: Form, printed: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = match form {
        Form::Files | Form::Names => {
            let paths = printed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
            paths.map(|path| entry(path, 0)).collect()
        }
        Form::Lines => numbered(printed, b':')?,
        Form::Counts => numbered(printed, b'\n')?,
    };
    entries.sort_by(Entry::order);
    Ok(entries)
}

/// Lines of a path, a NUL byte and a number, which ends at `end`.
fn numbered(printed: &[u8], end: u8) -> Result<Vec<Entry>> {
    let numbered = |line: &[u8]| {
        let (path, rest) = line.split_at_checked(line.iter().position(|byte| *byte == 0)?)?;
        let digits = rest[1..].split(|byte| *byte == end).next()?;
        Some(entry(path, std::str::from_utf8(digits).ok()?.trim_end().parse().ok()?))
    };
    let mut entries = Vec::new();
    for line in printed.split_inclusive(|byte| *byte == b'\n') {
        match numbered(line) {
            Some(entry) => entries.push(entry),
            // `rg` says so of a file in which binary data follows a match; llmc leaves out the whole file.
            None => bail!("rg printed `{}`", String::from_utf8_lossy(line).trim_end()),
        }
    }
    Ok(entries)
}

fn entry(path: &[u8], number: u64) -> Entry {
    let path = String::from_utf8_lossy(path);
    // `fd` ends directories with a slash, and both begin paths with the place that they were told.
    let path = path.trim_end_matches('/');
    Entry { path: path.strip_prefix("./").unwrap_or(path).to_owned(), number }
}

/// Says how much was found if both sides found the same: llmc the first of what the program printed, and its totals
/// the true ones, unless it stopped counting.
pub(crate) fn compare(form: Form, llmc: &Answer, rival: &[Entry]) -> Result<Agreed> {
    let shown = llmc.shown.len();
    let name = |entry: Option<&Entry>| match entry {
        Some(Entry { path, number }) => format!("`{path}` with number {number}"),
        None => "nothing".to_owned(),
    };
    if let Some(at) = (0..shown).find(|at| llmc.shown.get(*at) != rival.get(*at)) {
        let (ours, theirs) = (name(llmc.shown.get(at)), name(rival.get(at)));
        bail!("result {}: llmc has {ours}, the program {theirs}", at + 1);
    }
    let mut files: Vec<&str> = rival.iter().map(|entry| entry.path.as_str()).collect();
    files.dedup();
    let sum = rival.iter().map(|entry| entry.number).sum();
    let total = if form == Form::Counts { sum } else { rival.len() as u64 };
    let totals = [(Some(llmc.total), total), (llmc.total_files, files.len() as u64)];
    for (ours, theirs) in totals.into_iter().filter_map(|(ours, theirs)| Some((ours?, theirs))) {
        let fits = if llmc.at_least { ours <= theirs } else { ours == theirs };
        ensure!(fits, "llmc counts {ours}, the program {theirs}");
    }
    let is_short = shown == 0 && !rival.is_empty();
    ensure!(!is_short, "llmc shows nothing, the program {}", rival.len());
    let counted = if form == Form::Counts { llmc.total_files.unwrap_or(0) } else { llmc.total };
    Ok(Agreed { form, printed: rival.len(), shown, counted, is_complete: !llmc.at_least })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINES: &[u8] = b"./b/c.rs\x002:5:two: text\n./b/c.rs\x001:1:one\n./a.rs\x0010:1:x\n";

    fn answer(matches: &[(&str, u64)], total: u64, total_files: u64, at_least: bool) -> Answer {
        let matches: Vec<_> = matches
            .iter()
            .map(|(path, line)| json!({"path": format!("work:{path}"), "line": line}))
            .collect();
        let found =
            json!({"matches": matches, "total": total, "total_files": total_files, "at_least": at_least});
        of_llmc(Form::Lines, &json!({"structuredContent": found})).unwrap()
    }

    fn compared(llmc: &Answer) -> Result<Agreed> {
        compare(Form::Lines, llmc, &of_rival(Form::Lines, LINES).unwrap())
    }

    #[test]
    fn what_programs_print_is_read_and_sorted() {
        let entry = |path: &str, number| Entry { path: path.to_owned(), number };
        let lines = [entry("a.rs", 10), entry("b/c.rs", 1), entry("b/c.rs", 2)];
        assert_eq!(of_rival(Form::Lines, LINES).unwrap(), lines);
        let counts = [entry("a", 3), entry("b", 12)];
        assert_eq!(of_rival(Form::Counts, b"./b\x0012\n./a\x003\n").unwrap(), counts);
        // By components: `a/b` comes before `a.b`, though `.` comes before `/`.
        let names = [entry("a", 0), entry("a/b", 0), entry("a.b", 0)];
        assert_eq!(of_rival(Form::Names, b"./a.b\0a/\0a/b\0").unwrap(), names);
        assert_eq!(of_rival(Form::Files, b"").unwrap(), []);
        let warning = b"./a\x001:1:x\n./a: WARNING: stopped searching binary file\n";
        let error = of_rival(Form::Lines, warning).unwrap_err().to_string();
        assert!(error.contains("WARNING"), "{error}");
    }

    #[test]
    fn the_same_is_the_same() {
        let all = answer(&[("a.rs", 10), ("b/c.rs", 1), ("b/c.rs", 2)], 3, 2, false);
        let agreed = compared(&all).unwrap();
        assert_eq!((agreed.printed, agreed.shown, agreed.counted, agreed.is_complete), (3, 3, 3, true));
        let first = answer(&[("a.rs", 10)], 3, 2, false);
        assert_eq!(compared(&first).unwrap().shown, 1);
        let stopped = answer(&[("a.rs", 10)], 2, 2, true);
        assert!(!compared(&stopped).unwrap().is_complete);
    }

    #[test]
    fn every_difference_is_found() {
        for (matches, total, total_files, at_least, expected) in [
            (&[("b/c.rs", 1)][..], 3, 2, false, "result 1: llmc has `b/c.rs` with number 1"),
            (&[("a.rs", 9)][..], 3, 2, false, "`a.rs` with number 9"),
            (&[("a.rs", 10)][..], 2, 2, false, "llmc counts 2, the program 3"),
            (&[("a.rs", 10)][..], 3, 1, false, "llmc counts 1, the program 2"),
            (&[("a.rs", 10)][..], 4, 2, true, "llmc counts 4, the program 3"),
            (&[][..], 3, 2, false, "llmc shows nothing"),
            (
                &[("a.rs", 10), ("b/c.rs", 1), ("b/c.rs", 2), ("d.rs", 1)][..],
                4,
                3,
                false,
                "the program nothing",
            ),
        ] {
            let error = compared(&answer(matches, total, total_files, at_least)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} instead of {expected}");
        }
    }

    #[test]
    fn counts_are_summed_up() {
        let rival = of_rival(Form::Counts, b"./b\x002\n./a\x003\n").unwrap();
        let found = |total: u64| {
            let files = json!([{"path": "work:a", "count": 3}, {"path": "work:b", "count": 2}]);
            let found = json!({"files": files, "total": total, "total_files": 2});
            of_llmc(Form::Counts, &json!({"structuredContent": found})).unwrap()
        };
        assert_eq!(compare(Form::Counts, &found(5), &rival).unwrap().counted, 2);
        assert!(compare(Form::Counts, &found(2), &rival).is_err());
    }

    #[test]
    fn an_error_is_no_answer() {
        let refused = json!({"isError": true, "content": [{"type": "text", "text": "no such directory"}]});
        assert!(of_llmc(Form::Names, &refused).unwrap_err().to_string().contains("no such directory"));
        let odd = json!({"structuredContent": {"entries": [{"kind": "file"}], "total": 1}});
        assert!(of_llmc(Form::Names, &odd).is_err());
    }
}
