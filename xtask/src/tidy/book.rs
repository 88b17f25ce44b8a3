//! The book: its pages are in its summary, what they include is there, and their links stay in the book.

use std::collections::BTreeMap;

use super::documents::{has_heading, links, resolve};
use super::{Problem, TextFile};

pub(super) const FOLDER: &str = "docs/";
const SUMMARY: &str = "docs/SUMMARY.md";

/// Crates that the book takes its code from; their documents are no pages.
const EXAMPLES: &str = "docs/examples/";

/// Whether a document is a page of the book, whose links this checks.
pub(super) fn is_page(path: &str) -> bool {
    path.starts_with(FOLDER) && path.ends_with(".md") && !path.starts_with(EXAMPLES)
}

/// Checks the book.
pub(super) fn check(files: &[TextFile]) -> Vec<Problem> {
    let mut problems = summary(files);
    let mut pages = BTreeMap::new();
    for file in files.iter().filter(|file| is_page(&file.path)) {
        problems.extend(untested_code(file));
        let (text, missing) = expanded(file, files);
        problems.extend(missing);
        pages.insert(file.path.as_str(), text);
    }
    for (path, text) in &pages {
        problems.extend(broken_links(path, text, &pages, files));
    }
    problems
}

/// Each page is in the summary once, and the summary names no other.
fn summary(files: &[TextFile]) -> Vec<Problem> {
    let Some(summary) = files.iter().find(|file| file.path == SUMMARY) else {
        return vec![Problem::new(SUMMARY, "missing; it lists the pages of the book")];
    };
    let named: Vec<(usize, String)> = links(&summary.text)
        .into_iter()
        .filter_map(|(line, link)| Some((line, resolve(SUMMARY, link)?)))
        .collect();
    let mut problems = Vec::new();
    for (line, page) in &named {
        if !files.iter().any(|file| file.path == *page) {
            problems.push(Problem::at(SUMMARY, *line, format!("`{page}` does not exist")));
        }
    }
    for file in files.iter().filter(|file| is_page(&file.path) && file.path != SUMMARY) {
        match named.iter().filter(|(_, page)| *page == file.path).count() {
            1 => {}
            count => problems
                .push(Problem::new(&file.path, format!("is {count} times in `{SUMMARY}`; name it once"))),
        }
    }
    problems
}

/// Rust code in the book is included from a crate that is built and tested.
fn untested_code(file: &TextFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut in_rust = false;
    for (number, line) in file.text.lines().enumerate() {
        if line.starts_with("```") {
            in_rust = !in_rust && line.starts_with("```rust");
        } else if in_rust && included(line).is_none() {
            let message =
                "Rust code in the book has to come from a crate that is tested: `{{#include ...}}` it";
            problems.push(Problem::at(&file.path, number + 1, message));
            in_rust = false;
        }
    }
    problems
}

/// The path and the anchor of a line that includes a file.
fn included(line: &str) -> Option<(&str, Option<&str>)> {
    let inside = line.trim().strip_prefix("{{#include ")?.strip_suffix("}}")?;
    Some(inside.split_once(':').map_or((inside, None), |(path, anchor)| (path, Some(anchor))))
}

/// The page as readers see it.
fn expanded(file: &TextFile, files: &[TextFile]) -> (String, Vec<Problem>) {
    let mut text = String::new();
    let mut problems = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let Some((path, anchor)) = included(line) else {
            text.push_str(&format!("{line}\n"));
            continue;
        };
        let source = resolve(&file.path, path).and_then(|path| files.iter().find(|file| file.path == path));
        let part = source.and_then(|source| part(&source.text, anchor));
        match part {
            Some(part) => text.push_str(&part),
            None => problems.push(Problem::at(
                &file.path,
                number + 1,
                format!("`{}` includes nothing", line.trim()),
            )),
        }
    }
    (text, problems)
}

/// A file, or what stands between the lines with its anchor.
fn part(text: &str, anchor: Option<&str>) -> Option<String> {
    let Some(anchor) = anchor else { return Some(format!("{text}\n")) };
    let (begin, end) = (format!("ANCHOR: {anchor}"), format!("ANCHOR_END: {anchor}"));
    let is = |line: &str, mark: &str| {
        line.split("ANCHOR").count() == 2 && line.trim_end_matches(" -->").ends_with(mark)
    };
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.iter().position(|line| is(line, &begin))?;
    let to = lines.iter().position(|line| is(line, &end))?;
    Some(lines.get(from + 1..to)?.iter().map(|line| format!("{line}\n")).collect())
}

fn broken_links(path: &str, text: &str, pages: &BTreeMap<&str, String>, files: &[TextFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (_, link) in links(text) {
        let (target, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = if target.is_empty() { Some(path.to_owned()) } else { resolve(path, target) };
        let mut problem = |what: &str| problems.push(Problem::new(path, format!("`{link}` {what}")));
        let Some(target) = target.filter(|target| target.starts_with(FOLDER)) else {
            problem("leads out of the book; name the file in backquotes instead");
            continue;
        };
        match pages.get(target.as_str()) {
            Some(page) if !heading.is_empty() && !has_heading(page, heading) => {
                problem("leads to no heading")
            }
            None if !files.iter().any(|file| file.path == target) => problem("leads to no file of the book"),
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(page: &str) -> Vec<String> {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [
            file(
                "SECURITY.md",
                "# S\n<!-- ANCHOR: t -->\n## Who\n[how][h]\n<!-- ANCHOR_END: t -->\n\n[h]: docs/page.md#x\n",
            ),
            file(SUMMARY, "# Summary\n- [Page](page.md)\n- [Model](model.md)\n"),
            file("docs/page.md", page),
            file("docs/model.md", "{{#include ../SECURITY.md:t}}\n\n[h]: page.md\n"),
            file("docs/picture.png", ""),
            file("docs/examples/x/README.md", "# x"),
            file("docs/examples/x/src/lib.rs", "// ANCHOR: a\nfn a() {}\n// ANCHOR_END: a\n"),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_lead_to_pages_headings_and_pictures() {
        assert_eq!(
            problems("# P\n[a](model.md#who) ![b](picture.png) [c](#p) [d](https://example.org)"),
            [""; 0]
        );
        for (link, why) in [
            ("model.md#whom", "leads to no heading"),
            ("none.md", "leads to no file of the book"),
            ("../SECURITY.md", "leads out of the book; name the file in backquotes instead"),
        ] {
            assert_eq!(problems(&format!("[a]({link})")), [format!("docs/page.md: `{link}` {why}")]);
        }
    }

    #[test]
    fn code_is_included_and_what_is_included_is_there() {
        assert_eq!(problems("```rust\n{{#include examples/x/src/lib.rs:a}}\n```\n```sh\nls\n```"), [""; 0]);
        assert!(problems("```rust\nfn a() {}\n```")[0].contains("has to come from a crate"));
        assert!(problems("{{#include examples/x/src/lib.rs:b}}")[0].contains("includes nothing"));
        assert!(problems("{{#include examples/y.rs}}")[0].contains("includes nothing"));
    }

    #[test]
    fn every_page_is_in_the_summary_once() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let named = |text: &str| summary(&[file(SUMMARY, text), file("docs/a.md", "")]).len();
        assert_eq!(
            [named("[A](a.md)"), named(""), named("[A](a.md) [A](a.md)"), named("[A](a.md) [B](b.md)")],
            [0, 1, 1, 1]
        );
    }
}
