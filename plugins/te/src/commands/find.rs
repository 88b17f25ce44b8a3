//! `find`, as far as names, kinds, sizes and ages go.

use llmc_core::prelude::*;

use super::Asked;
use crate::answer::{Found, Show};
use crate::clean;
use crate::header::Header;
use crate::hot;
use crate::limits::{MAX_PATHS, SHOWN_NAMES};
use crate::tools::{self, list, number, text};

/// Names of a page, and pages that are asked for.
const PAGE: u64 = 1000;
const MAX_PAGES: u64 = 10;
const DAY_SECONDS: u64 = 86_400;

#[derive(Debug, Default, PartialEq)]
struct Query<'a> {
    paths: Vec<&'a str>,
    pattern: Option<String>,
    kind: Option<&'static str>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    min_age: Option<u64>,
    max_age: Option<u64>,
    min_depth: usize,
    max_depth: Option<usize>,
    hidden: bool,
    ignored: bool,
}

pub(super) fn answer(asked: &Asked<'_>, arguments: &[&str]) -> ToolResult<Option<Found>> {
    let Some(query) = Query::read(arguments) else { return Ok(None) };
    if query.paths.len() > MAX_PATHS {
        return Err(ToolError::invalid(format!("more than {MAX_PATHS} paths")));
    }
    let (mut names, mut total, mut notes) = (Vec::new(), 0, Vec::new());
    for path in &query.paths {
        total += query.names(asked, path, &mut names, &mut notes)?;
    }
    let kept = names.len() as u64;
    let header = Header {
        matches: Some(total),
        truncated: kept < total,
        hot_zone: hot::zone(names.iter().map(String::as_str)),
        ..Header::new("find")
    };
    let body = names.iter().map(|name| format!("{}\n", clean::line(name))).collect();
    let mut found = Found { header, show: Show::Lines(SHOWN_NAMES), ..Found::new("find", body) };
    found.crumbs.extend(hot::more(names.iter().skip(SHOWN_NAMES).map(String::as_str)));
    if total == 0 && !(query.hidden && query.ignored) {
        found.crumbs.push("hidden and ignored files are left out (--hidden, --no-ignore)".to_owned());
    }
    found.crumbs.extend(notes);
    Ok(Some(found))
}

impl<'a> Query<'a> {
    /// Reads the arguments; `None` if only the program itself understands them.
    fn read(arguments: &[&'a str]) -> Option<Self> {
        let paths = arguments.iter().take_while(|word| !word.starts_with(['-', '(', '!'])).count();
        let mut query = Self { paths: arguments[..paths].to_vec(), ..Self::default() };
        if query.paths.is_empty() {
            query.paths.push(".");
        }
        let mut rest = arguments[paths..].iter();
        while let Some(word) = rest.next() {
            match *word {
                "-print" => {}
                "--hidden" => query.hidden = true,
                "--no-ignore" => query.ignored = true,
                "-name" if query.pattern.is_none() => query.pattern = Some((*rest.next()?).to_owned()),
                "-iname" if query.pattern.is_none() => query.pattern = Some(any_case(rest.next()?)),
                "-type" => query.kind = Some(kind(rest.next()?)?),
                "-maxdepth" => query.max_depth = Some(rest.next()?.parse().ok()?),
                "-mindepth" => query.min_depth = rest.next()?.parse().ok()?,
                "-size" => query.size(rest.next()?)?,
                "-mtime" => query.age(rest.next()?, DAY_SECONDS)?,
                "-mmin" => query.age(rest.next()?, 60)?,
                _ => return None,
            }
        }
        let pattern = query.pattern.as_deref().unwrap_or_default();
        // A slash in a name never fits, and would mean a path to the tool.
        if pattern.contains('/') {
            return None;
        }
        query.hidden |= pattern.starts_with('.');
        Some(query)
    }

    /// `+100k`, `-1M`: more than, less than. Exact sizes in blocks are for the program.
    fn size(&mut self, text: &str) -> Option<()> {
        let unit = match text.chars().last()? {
            'c' => 1,
            'k' => 1 << 10,
            'M' => 1 << 20,
            'G' => 1 << 30,
            _ => return None,
        };
        let (sign, digits) = text[..text.len() - 1].split_at_checked(1)?;
        let bytes = digits.parse::<u64>().ok()?.checked_mul(unit)?;
        match sign {
            "+" => self.min_bytes = Some(bytes + 1),
            // GNU find rounds up to whole units: less than one is nothing.
            "-" => self.max_bytes = Some(bytes.saturating_sub(unit)),
            _ => return None,
        }
        Some(())
    }

    /// `-1`: changed less than so long ago; `+1`: more.
    fn age(&mut self, text: &str, unit: u64) -> Option<()> {
        let (sign, digits) = text.split_at_checked(1)?;
        let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
        match sign {
            "-" => self.max_age = Some(seconds),
            "+" => self.min_age = Some(seconds + unit),
            _ => return None,
        }
        Some(())
    }

    /// Adds the names below a path; returns how many there are.
    fn names(
        &self,
        asked: &Asked<'_>,
        path: &str,
        names: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) -> ToolResult<u64> {
        let place = asked.here.tool_path(path)?;
        let (mut kept, mut total) = (0, 0);
        for page in 0..MAX_PAGES {
            let arguments = json!({
                "pattern": self.pattern,
                "path": place,
                "kind": self.kind,
                "min_bytes": self.min_bytes,
                "max_bytes": self.max_bytes,
                "min_age_seconds": self.min_age,
                "max_age_seconds": self.max_age,
                "hidden": self.hidden,
                "ignored": self.ignored,
                "offset": page * PAGE,
                "limit": PAGE,
            });
            let answer = tools::ask(asked.ctx, "find_files", &arguments)?;
            for entry in list(&answer, "entries").iter().filter(|entry| self.is_deep(&place, entry)) {
                let mark = if text(entry, "kind") == "dir" { "/" } else { "" };
                names.push(asked.here.shown(text(entry, "path")) + mark);
                kept += 1;
            }
            total = number(&answer, "total");
            if page == 0 {
                notes.extend(list(&answer, "notes").iter().filter_map(Value::as_str).map(str::to_owned));
            }
            if answer["next_offset"].is_null() {
                // Depth is ours to count.
                return Ok(kept);
            }
        }
        Ok(total)
    }

    fn is_deep(&self, place: &str, entry: &Value) -> bool {
        let below = text(entry, "path").strip_prefix(place).unwrap_or_default().trim_start_matches('/');
        let depth = below.split('/').count();
        depth >= self.min_depth && self.max_depth.is_none_or(|most| depth <= most)
    }
}

fn kind(letter: &str) -> Option<&'static str> {
    match letter {
        "f" => Some("file"),
        "d" => Some("dir"),
        "l" => Some("symlink"),
        _ => None,
    }
}

/// A glob for letters of either case.
fn any_case(glob: &str) -> String {
    let either = |letter: char| match letter.is_ascii_alphabetic() {
        true => format!("[{}{}]", letter.to_ascii_lowercase(), letter.to_ascii_uppercase()),
        false => letter.to_string(),
    };
    glob.chars().map(either).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood_or_left_to_the_program() {
        fn read(line: &str) -> Option<Query<'_>> {
            Query::read(&line.split(' ').collect::<Vec<_>>())
        }
        let query = read("src tests -type f -iname a*.rs -size +1k -mtime -2 -maxdepth 3").unwrap();
        assert_eq!(query.paths, ["src", "tests"]);
        assert_eq!((query.kind, query.pattern.as_deref()), (Some("file"), Some("[aA]*.[rR][sS]")));
        assert_eq!((query.min_bytes, query.max_age, query.max_depth), (Some(1025), Some(172_800), Some(3)));
        assert!(read("-name .env").unwrap().hidden);
        for line in
            [". -exec rm {} ;", ". -delete", ". -name a -o -name b", "( -name a )", ". -size 3", ". -name"]
        {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
