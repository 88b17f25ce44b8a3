//! `cat`: the beginning of files, with what they are.

use llmc_core::prelude::*;

use super::Asked;
use super::words::{Spec, Word};
use crate::answer::Found;
use crate::clean;
use crate::header::Header;
use crate::limits::{MAX_FILE_BYTES, MAX_PATHS};
use crate::sniff;
use crate::tools::{self, number};

const SPEC: Spec = Spec { flags: "n", valued: "", long_flags: &["number"], long_valued: &[] };
const READ: Spec = Spec { flags: "", valued: "", long_flags: &[], long_valued: &["root", "path"] };

pub(super) fn answer(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    let (mut paths, mut numbered) = (Vec::new(), false);
    for word in SPEC.read(arguments) {
        match word {
            Word::Flag('n') | Word::LongFlag("number") => numbered = true,
            // Standard input, of which there is none here, and options of the program.
            Word::Plain("-") | Word::Unknown(_) | Word::Number(_) => return Ok(None),
            Word::Plain(path) => paths.push(path.to_owned()),
            _ => {}
        }
    }
    if paths.is_empty() || paths.len() > MAX_PATHS {
        return Err(ToolError::invalid(format!("give one to {MAX_PATHS} files: `te cat FILE...`")));
    }
    files(asked, &paths, numbered).map(Some)
}

/// `repo read --root ROOT --path PATH`: a file of a root by its name.
pub(super) fn repo_read(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    let (mut root, mut path) = (None, None);
    for word in READ.read(arguments) {
        match word {
            Word::LongValue("root", value) => root = Some(value),
            Word::LongValue("path", value) => path = Some(value),
            _ => return Err(ToolError::invalid("write `te repo read --root ROOT --path PATH`")),
        }
    }
    let path = path.ok_or_else(|| ToolError::invalid("`--path` is missing"))?;
    // A root is a directory or the name of a granted one; the path counts from there and stays there.
    let is_inside = std::path::Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if !is_inside {
        return Err(ToolError::denied("`--path` is a relative path without `..`"));
    }
    let full = match root {
        None => path.to_owned(),
        Some(root) if asked.ctx.roots()?.iter().any(|granted| granted.name == root) => {
            format!("{root}:{path}")
        }
        Some(root) => format!("{root}/{path}"),
    };
    files(asked, &[full], false).map(Some)
}

fn files(asked: &Asked<'_>, paths: &[String], numbered: bool) -> ToolResult<Found> {
    let mut header = Header { files: Some(paths.len() as u64), ..Header::new("cat") };
    let (mut body, mut size, mut lines) = (String::new(), 0, 0);
    for path in paths {
        let place = asked.here.tool_path(path)?;
        let arguments = json!({"path": place, "max_bytes": MAX_FILE_BYTES});
        let answer = tools::ask(asked.ctx, "read_file", &arguments)?;
        let Some(contents) = answer["text"].as_str() else {
            return Err(ToolError::failed(format!("`{}` is no text", clean::line(path))));
        };
        if paths.len() > 1 {
            body.push_str(&format!("==> {} <==\n", clean::line(path)));
        } else {
            header.content_type = Some(sniff::content_type(path, contents));
        }
        header.lossy |= answer["lossy"] == true;
        header.truncated |= answer["truncated"] == true;
        size += number(&answer, "size_bytes");
        lines += contents.lines().count() as u64;
        let first = answer["first_line"].as_u64().unwrap_or(1);
        for (line, number) in contents.lines().zip(first..) {
            body.push_str(&if numbered { format!("{number}\t{line}\n") } else { format!("{line}\n") });
        }
    }
    header.size = Some(size);
    header.lines = Some(lines).filter(|_| !header.truncated);
    header.files = header.files.filter(|files| *files > 1);
    let mut found = Found { header, ..Found::new("cat", body) };
    if found.header.truncated {
        found
            .crumbs
            .push(format!("of each file the first {MAX_FILE_BYTES} bytes are read; `sed -n` shows others"));
    }
    Ok(found)
}
