//! Where matches are: the hot zone and the breadcrumbs.

use std::collections::BTreeMap;

use crate::clean;
use crate::limits::{CRUMB_DIRS, HOT_MATCHES, HOT_PERCENT};

/// The directory of a path, at most two levels of it; `.` for what lies at the top.
pub(crate) fn dir_of(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    parts.truncate(2);
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// The directory with half of the matches or more, if there are enough to tell: `src/call (70 %)`.
pub(crate) fn zone<'a>(paths: impl Iterator<Item = &'a str>) -> Option<String> {
    let counts = count(paths);
    let all: usize = counts.values().sum();
    let (dir, most) = counts.iter().max_by_key(|(_, count)| **count)?;
    let percent = most * 100 / all;
    (all >= HOT_MATCHES && percent >= HOT_PERCENT).then(|| format!("{} ({percent} %)", clean::line(dir)))
}

/// `12 more in: src/call (7), src (5)`; nothing if nothing is left.
pub(crate) fn more<'a>(paths: impl Iterator<Item = &'a str>) -> Option<String> {
    let counts = count(paths);
    let all: usize = counts.values().sum();
    let mut dirs: Vec<(&String, &usize)> = counts.iter().collect();
    dirs.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
    let named = dirs.iter().take(CRUMB_DIRS).map(|(dir, count)| format!("{} ({count})", clean::line(dir)));
    let mut text = named.collect::<Vec<_>>().join(", ");
    if dirs.len() > CRUMB_DIRS {
        text.push_str(&format!(" and {} more directories", dirs.len() - CRUMB_DIRS));
    }
    (all > 0).then(|| format!("{all} more in: {text}"))
}

fn count<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    paths.for_each(|path| *counts.entry(dir_of(path)).or_default() += 1);
    counts
}

/// Whether a file tests others, by its path.
pub(crate) fn is_test(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.split('.').next().unwrap_or(name);
    let by_name = name.contains(".test.")
        || name.contains(".spec.")
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
        || matches!(stem, "test" | "tests");
    by_name || folders.split('/').any(|folder| matches!(folder, "test" | "tests" | "__tests__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone_of(here: usize, there: usize) -> Option<String> {
        let paths =
            [vec!["src/call/a/x.rs"; here], vec!["docs/y.md"; there / 2], vec!["b/z.md"; there - there / 2]];
        zone(paths.concat().into_iter())
    }

    #[test]
    fn a_zone_is_hot_from_half_of_five_on() {
        assert_eq!(zone_of(7, 3).as_deref(), Some("src/call (70 %)"));
        assert_eq!(zone_of(5, 5).as_deref(), Some("src/call (50 %)"));
        assert_eq!(zone_of(3, 6), None, "33 %");
        assert_eq!(zone_of(4, 0), None, "too few");
        assert_eq!(zone(std::iter::empty()), None);
    }

    #[test]
    fn breadcrumbs_name_directories() {
        let paths = ["a.rs", "src/x/y/z.rs", "src/x/b.rs", "src/c.rs"];
        assert_eq!(more(paths.into_iter()).as_deref(), Some("4 more in: src/x (2), . (1), src (1)"));
        assert_eq!(more(std::iter::empty()), None);
    }

    #[test]
    fn tests_are_known_by_their_path() {
        for path in
            ["tests/a.rs", "x/__tests__/a.js", "a_test.go", "a.test.ts", "src/test/K.java", "test_a.py"]
        {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/attest.rs", "contest/a.rs", "latest.py", "src/a.rs"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
