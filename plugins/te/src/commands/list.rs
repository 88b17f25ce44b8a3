//! `ls` and `tree`.

use llmc_core::prelude::*;

use super::Asked;
use super::words::{Spec, Word};
use crate::answer::{Found, Show};
use crate::clean;
use crate::header::Header;
use crate::limits::{MAX_PATHS, SHOWN_NAMES};
use crate::tools::{self, list, number, text};

/// Entries of a directory that are asked for.
const ENTRIES: u32 = 1000;
/// Lines of a tree that are asked for.
const TREE_ENTRIES: u32 = 300;

/// Sorting by name, one a line, kinds by marks: that is how it is here.
const LS: Spec = Spec {
    flags: "laAh1sFpGo",
    valued: "",
    long_flags: &["all", "almost-all", "classify", "human-readable", "size"],
    long_valued: &["color", "format"],
};
const TREE: Spec = Spec { flags: "aFC", valued: "L", long_flags: &["noreport"], long_valued: &[] };

pub(super) fn ls(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    let (mut paths, mut hidden, mut sizes) = (Vec::new(), false, false);
    for word in LS.read(arguments) {
        match word {
            Word::Flag('a' | 'A') | Word::LongFlag("all" | "almost-all") => hidden = true,
            Word::Flag('l' | 's' | 'o') | Word::LongFlag("size") => sizes = true,
            Word::Plain(path) => paths.push(path),
            Word::Unknown(_) | Word::Number(_) => return Ok(None),
            _ => {}
        }
    }
    if paths.is_empty() {
        paths.push(".");
    }
    if paths.len() > MAX_PATHS {
        return Err(ToolError::invalid(format!("more than {MAX_PATHS} paths")));
    }
    let (mut body, mut total, mut kept) = (String::new(), 0, 0);
    let mut crumbs = Vec::new();
    for path in &paths {
        if paths.len() > 1 {
            body.push_str(&format!("{}:\n", clean::line(path)));
        }
        let listed = entries(asked, path, hidden, sizes)?;
        total += listed.total;
        kept += listed.lines.len() as u64;
        body.extend(listed.lines);
        if listed.hidden > 0 {
            crumbs.push(format!("{} hidden entries not shown (-a)", listed.hidden));
        }
    }
    let header = Header { matches: Some(total), truncated: kept < total, ..Header::new("ls") };
    Ok(Some(Found { header, show: Show::Lines(2 * SHOWN_NAMES), crumbs, ..Found::new("ls", body) }))
}

struct Listed {
    lines: Vec<String>,
    total: u64,
    hidden: u64,
}

fn entries(asked: &Asked<'_>, path: &str, hidden: bool, sizes: bool) -> ToolResult<Listed> {
    let place = asked.here.tool_path(path)?;
    let arguments = json!({"path": place, "hidden": hidden, "with_sizes": sizes, "limit": ENTRIES});
    let answer = match tools::ask(asked.ctx, "list_dir", &arguments) {
        Ok(answer) => answer,
        // A file is listed as itself.
        Err(error) => match tools::ask(asked.ctx, "stat", &json!({"path": place})) {
            Ok(facts) if text(&facts, "kind") != "dir" => {
                let size = if sizes { format!("  {}", number(&facts, "size_bytes")) } else { String::new() };
                let line = format!("{}{size}\n", clean::line(&asked.here.shown(&place)));
                return Ok(Listed { lines: vec![line], total: 1, hidden: 0 });
            }
            _ => return Err(error),
        },
    };
    let lines = list(&answer, "entries").iter().map(|entry| {
        let mark = match text(entry, "kind") {
            "dir" => "/",
            "symlink" => "@",
            _ => "",
        };
        let size = entry["size_bytes"].as_u64().map_or(String::new(), |bytes| format!("  {bytes}"));
        format!("{}{mark}{size}\n", clean::line(text(entry, "name")))
    });
    Ok(Listed {
        lines: lines.collect(),
        total: number(&answer, "total"),
        hidden: number(&answer, "hidden_entries"),
    })
}

pub(super) fn tree(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    let (mut path, mut hidden, mut depth) = (None, false, None);
    for word in TREE.read(arguments) {
        match word {
            Word::Flag('a') => hidden = true,
            Word::Value('L', levels) => match levels.parse::<u32>() {
                Ok(levels) => depth = Some(levels.clamp(1, 20)),
                Err(_) => return Ok(None),
            },
            Word::Plain(named) if path.is_none() => path = Some(named),
            Word::Plain(_) | Word::Unknown(_) | Word::Number(_) => return Ok(None),
            _ => {}
        }
    }
    let place = asked.here.tool_path(path.unwrap_or("."))?;
    let arguments = json!({"path": place, "hidden": hidden, "depth": depth, "limit": TREE_ENTRIES});
    let answer = tools::ask(asked.ctx, "tree", &arguments)?;
    let header = Header {
        files: Some(number(&answer, "files")),
        truncated: answer["truncated"] == true,
        ..Header::new("tree")
    };
    let mut found = Found { header, ..Found::new("tree", text(&answer, "tree").to_owned()) };
    found.crumbs = list(&answer, "notes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Some(found))
}
