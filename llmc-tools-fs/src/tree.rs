//! `tree`.

use std::collections::VecDeque;

use llmc_core::prelude::*;

use crate::kind::Kind;
use crate::limits::{DEFAULT_TREE_DEPTH, DEFAULT_TREE_ENTRIES, MAX_TREE_DEPTH, MAX_TREE_ENTRIES};
use crate::path::Place;
use crate::walk::{self, Dir, Found, Options, Seen, Start, Wanted, push_name, push_notes};

/// Draws a directory and what is below it, sorted by name.
#[arguments(undocumented)]
pub struct Tree {
    #[serde(default = "walk::top")]
    path: String,
    /// Levels. Default: 3.
    #[schemars(range(min = 1, max = MAX_TREE_DEPTH))]
    depth: Option<u32>,
    /// Show dot files.
    #[serde(default)]
    hidden: bool,
    /// Show what ignore files hide.
    #[serde(default)]
    ignored: bool,
    /// Most entries, upper levels first. Default: 200.
    #[schemars(range(min = 1, max = MAX_TREE_ENTRIES))]
    limit: Option<u32>,
}

/// A drawn tree.
#[output(custom_text)]
pub struct Drawing {
    /// The tree, an entry per line.
    tree: String,
    /// Directories within the levels asked for.
    dirs: usize,
    /// Other entries within these.
    files: usize,
    /// Whether not all of them are drawn.
    truncated: bool,
    /// What else is not in the tree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Everything that is not left out.
struct Everything;

impl Wanted for Everything {
    type Note = ();

    fn fits(&self, _: &Seen<'_>) -> bool {
        true
    }

    fn note(&self, _: &Seen<'_>) -> Option<()> {
        Some(())
    }
}

impl Tool for Tree {
    const NAME: &'static str = "tree";
    const TITLE: &'static str = "Directory tree";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Drawing;

    fn call(self, ctx: &Context) -> ToolResult<Drawing> {
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let start = Start::open("list", &place)?;
        let depth = self.depth.unwrap_or(DEFAULT_TREE_DEPTH).clamp(1, MAX_TREE_DEPTH) as usize;
        let limit = self.limit.unwrap_or(DEFAULT_TREE_ENTRIES).clamp(1, MAX_TREE_ENTRIES) as usize;
        // Directories at the last level are read too, to tell how much is in them.
        let options = Options { hidden: self.hidden, ignored: self.ignored, max_depth: depth };
        let found = walk::walk(&start, options, &Everything, ctx)?;
        Ok(Pen::new(&found, depth, limit).draw(&place.display()))
    }
}

/// Draws what was found.
struct Pen<'a> {
    found: &'a Found<()>,
    depth: usize,
    /// Entries to draw of each directory.
    drawn: Vec<usize>,
    dirs: usize,
    files: usize,
    text: String,
}

impl<'a> Pen<'a> {
    /// Chooses the entries: level by level, so that a limit cuts off what is deep and not what comes late.
    fn new(found: &'a Found<()>, depth: usize, limit: usize) -> Self {
        let mut pen =
            Self { found, depth, drawn: vec![0; found.len()], dirs: 0, files: 0, text: String::new() };
        let mut left = limit;
        let mut next = VecDeque::from([(0, 1)]);
        while let Some((number, level)) = next.pop_front() {
            let entries = found.dir(number).entries();
            let dirs = entries.iter().filter(|entry| entry.kind == Kind::Dir).count();
            pen.dirs += dirs;
            pen.files += entries.len() - dirs;
            pen.drawn[number as usize] = entries.len().min(left);
            left -= entries.len().min(left);
            if level < depth {
                next.extend(entries.iter().filter_map(|entry| Some((entry.child()?, level + 1))));
            }
        }
        pen
    }

    fn draw(mut self, title: &str) -> Drawing {
        push_name(&mut self.text, title);
        if !title.ends_with(':') {
            self.text.push('/');
        }
        self.end_line(0, 1);
        let mut ways = vec![(0, 0)];
        while let Some((number, next)) = ways.pop() {
            let dir = self.found.dir(number);
            let level = ways.len() + 1;
            for (index, entry) in
                dir.entries().iter().enumerate().take(self.drawn[number as usize]).skip(next)
            {
                self.text.push_str(&"  ".repeat(level));
                push_name(&mut self.text, &String::from_utf8_lossy(dir.name(entry)));
                self.text.push_str(&walk::mark(entry.kind));
                let Some(child) = entry.child() else {
                    self.text.push('\n');
                    continue;
                };
                self.end_line(child, level + 1);
                if level < self.depth {
                    ways.push((number, index + 1));
                    ways.push((child, 0));
                    break;
                }
            }
        }
        let total: usize = self.drawn.iter().sum();
        let truncated = total < self.dirs + self.files;
        let mut notes = self.found.gaps.notes();
        if truncated {
            let all = self.dirs + self.files;
            notes.insert(
                0,
                format!("{total} of {all} entries drawn; raise `limit`, lower `depth` or start further down"),
            );
        }
        Drawing { tree: self.text, dirs: self.dirs, files: self.files, truncated, notes }
    }

    /// Ends the line of a directory by what is not drawn of it; its entries are at `level`.
    fn end_line(&mut self, number: u32, level: usize) {
        let dir = self.found.dir(number);
        let drawn = self.drawn[number as usize];
        let missing = missing(dir, if level > self.depth { 0 } else { drawn });
        if !missing.is_empty() {
            self.text.push_str(&format!(" ({})", missing.join(", ")));
        }
        self.text.push('\n');
    }
}

/// What of a directory is not drawn, in words.
fn missing(dir: &Dir<()>, drawn: usize) -> Vec<String> {
    let left = dir.entries().len() - drawn;
    let more = if drawn > 0 {
        "more"
    } else if left == 1 {
        "entry"
    } else {
        "entries"
    };
    let counts = [(left, more), (dir.hidden as usize, "hidden"), (dir.ignored as usize, "ignored")];
    counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

impl StructuredOutput for Drawing {
    fn text(&self) -> String {
        let mut text = self.tree.clone();
        let plural =
            |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let total = format!(
            "{}, {}",
            plural(self.dirs, "directory", "directories"),
            plural(self.files, "file", "files")
        );
        push_notes(&mut text, &[&[total], self.notes.as_slice()].concat());
        text
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
