//! Documents: their links lead somewhere, the verbs they name exist, and every plugin has one.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{Problem, TextFile, book};

const VERB_PREFIX: &str = "cargo xtask ";

/// Checks all Markdown files. `verbs` are those that xtask has.
pub(super) fn check(files: &[TextFile], verbs: &[String]) -> Vec<Problem> {
    let mut problems = plugin_readmes(files);
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        problems.extend(unknown_verbs(file, verbs));
        // Pages of the book have a check of their own, which knows what they include.
        if !book::is_page(&file.path) {
            problems.extend(broken_links(file, files));
        }
    }
    problems
}

fn plugin_readmes(files: &[TextFile]) -> Vec<Problem> {
    let folders: BTreeSet<_> =
        files.iter().filter_map(|file| file.path.strip_prefix("plugins/")?.split_once('/')).collect();
    let plugins: BTreeSet<_> =
        folders.into_iter().map(|(plugin, _)| format!("plugins/{plugin}/README.md")).collect();
    let missing = plugins.into_iter().filter(|readme| !files.iter().any(|file| file.path == *readme));
    missing
        .map(|readme| Problem::new(&readme, "missing; say what the plugin does and which grants it asks for"))
        .collect()
}

fn unknown_verbs(file: &TextFile, verbs: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for (at, prefix) in line.match_indices(VERB_PREFIX) {
            let rest = &line[at + prefix.len()..];
            let verb = rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or_default();
            // `cargo xtask <verb>` speaks of all of them.
            if !verb.is_empty() && !verbs.iter().any(|known| known == verb) {
                let message = format!("there is no `cargo xtask {verb}`, only {}", verbs.join(", "));
                problems.push(Problem::at(&file.path, number + 1, message));
            }
        }
    }
    problems
}

fn broken_links(file: &TextFile, files: &[TextFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, link) in links(&file.text) {
        let (path, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
        let exists = |target: &String| {
            let folder = format!("{target}/");
            files.iter().any(|known| known.path == *target || known.path.starts_with(&folder))
        };
        let Some(target) = target.filter(exists) else {
            problems.push(Problem::at(
                &file.path,
                line,
                format!("`{link}` leads to no file of the repository"),
            ));
            continue;
        };
        let document = files.iter().find(|known| known.path == target && target.ends_with(".md"));
        if document.is_some_and(|document| !heading.is_empty() && !has_heading(&document.text, heading)) {
            problems.push(Problem::at(
                &file.path,
                line,
                format!("`{link}` leads to no heading of `{target}`"),
            ));
        }
    }
    problems
}

/// The targets of all links of a document that stay inside the repository, with their lines.
pub(super) fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // `[name]: target` is where links with that name lead.
        let defined = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        links.extend(defined.filter(|(_, target)| stays(target)).map(|(_, target)| (number, target.trim())));
        // Every second part stands between backquotes.
        for part in line.split('`').step_by(2) {
            for (at, opening) in part.match_indices("](") {
                let target = part[at + opening.len()..].split([')', ' ']).next().unwrap_or_default();
                if stays(target) {
                    links.push((number, target));
                }
            }
        }
    }
    links
}

fn stays(target: &str) -> bool {
    !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")
}

/// The lines outside code fences, counted from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((number + 1, line))
    })
}

/// The path from the root that a link in `from` means; none when it leaves the repository.
pub(super) fn resolve(from: &str, link: &str) -> Option<String> {
    let mut resolved = Path::new(from).parent()?.to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir if resolved.pop() => {}
            _ => return None,
        }
    }
    PathBuf::into_os_string(resolved).into_string().ok()
}

/// Headings become anchors in small letters with dashes for spaces, without punctuation.
pub(super) fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    prose(text).any(|(_, line)| line.starts_with('#') && slug(line) == anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn links_of(text: &str) -> Vec<String> {
        let files = [
            file("docs/guide.md", text),
            file("README.md", "# One\n\n## What it's for, in short\n"),
            file("plugins/hello/src/lib.rs", ""),
        ];
        broken_links(&files[0], &files).into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn links_inside_the_repository_lead_somewhere() {
        assert!(
            links_of("[a](../README.md) [b](../plugins/hello/) [c](https://example.org/x) [d](guide.md)")
                .is_empty()
        );
        assert_eq!(
            links_of("\n[a](../NONE.md)"),
            ["docs/guide.md:2: `../NONE.md` leads to no file of the repository"]
        );
        assert_eq!(links_of("[a](README.md)").len(), 1);
        assert_eq!(links_of("[a](../../README.md)").len(), 1);
    }

    #[test]
    fn links_to_headings_lead_to_a_heading() {
        assert!(links_of("# Top\n[a](#top) [b](../README.md#what-its-for-in-short)").is_empty());
        assert_eq!(links_of("# Top\n[a](#bottom)\n[b](../README.md#two)").len(), 2);
    }

    #[test]
    fn links_by_name_lead_somewhere() {
        assert!(links_of("[a][x]\n\n[x]: ../README.md#one\n[y]: https://example.org\n").is_empty());
        assert_eq!(links_of("[a][x]\n\n[x]: ../README.md#six\n").len(), 1);
    }

    #[test]
    fn code_has_no_links() {
        assert!(links_of("`[a](b)`\n```\n[a](b)\n```\n").is_empty());
    }

    #[test]
    fn verbs_in_documents_exist() {
        let verbs = ["build".to_owned(), "new-plugin".to_owned()];
        let problems = |text: &str| unknown_verbs(&file("README.md", text), &verbs).len();
        assert_eq!(problems("`cargo xtask build`, cargo xtask new-plugin NAME, `cargo xtask <verb>`"), 0);
        assert_eq!(problems("`cargo xtask buld`\ncargo xtask new-plug NAME"), 2);
    }

    #[test]
    fn every_plugin_has_a_readme() {
        let library = file("plugins/hello/src/lib.rs", "");
        assert_eq!(plugin_readmes(std::slice::from_ref(&library)).len(), 1);
        assert!(plugin_readmes(&[library, file("plugins/hello/README.md", "# hello")]).is_empty());
    }
}
