//! Pages of the book for those who read them as they are: what a page includes stands in its place.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A page with everything that it includes. Paths count from the page's own folder, as for mdBook.
///
/// # Errors
///
/// When a file, or the anchor in it, is missing.
pub(crate) fn expanded(page: &Path) -> Result<String> {
    let text = read(page)?;
    let folder = page.parent().unwrap_or(Path::new("."));
    let mut whole = String::new();
    for line in text.lines() {
        match included(line) {
            Some((path, anchor)) => {
                let source = read(&folder.join(path))?;
                let nothing = || format!("`{}` of `{}` includes nothing", line.trim(), page.display());
                whole.push_str(part(&source, anchor).with_context(nothing)?.trim_end());
                whole.push('\n');
            }
            None => {
                whole.push_str(line);
                whole.push('\n');
            }
        }
    }
    Ok(whole)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))
}

/// The path and the anchor of a line that includes a file.
fn included(line: &str) -> Option<(&str, Option<&str>)> {
    let inside = line.trim().strip_prefix("{{#include ")?.strip_suffix("}}")?;
    Some(inside.split_once(':').map_or((inside, None), |(path, anchor)| (path, Some(anchor))))
}

/// A file, or the lines between those with its anchor.
fn part<'a>(text: &'a str, anchor: Option<&str>) -> Option<&'a str> {
    let Some(anchor) = anchor else { return Some(text) };
    let place = |mark: &str| {
        let is_end = |rest: &str| rest.split('\n').next().is_some_and(|rest| matches!(rest, "" | " -->"));
        text.match_indices(mark).map(|(at, _)| at).find(|at| is_end(&text[at + mark.len()..]))
    };
    let begin = place(&format!("ANCHOR: {anchor}"))?;
    let begin = begin + text[begin..].find('\n')? + 1;
    let end = place(&format!("ANCHOR_END: {anchor}"))?;
    let end = text[..end].rfind('\n')? + 1;
    text.get(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_included_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        fs::write(folder.path().join("a.md"), "# A\n<!-- ANCHOR: x -->\none\ntwo\n<!-- ANCHOR_END: x -->\n")
            .unwrap();
        let page = folder.path().join("docs/page.md");
        let with = |line: &str| {
            fs::write(&page, format!("before\n{line}\nafter\n")).unwrap();
            expanded(&page)
        };
        assert_eq!(with("{{#include ../a.md:x}}").unwrap(), "before\none\ntwo\nafter\n");
        assert!(with("{{#include ../a.md}}").unwrap().contains("# A\n<!-- ANCHOR: x -->\none\n"));
        assert_eq!(with("`{{#include x}}` is text").unwrap(), "before\n`{{#include x}}` is text\nafter\n");
        assert!(with("{{#include ../a.md:y}}").is_err() && with("{{#include ../b.md}}").is_err());
    }
}
