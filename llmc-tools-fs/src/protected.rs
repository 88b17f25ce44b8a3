//! Paths that stay read-only inside writable roots: what other programs execute or obey, see `policy.protected_paths`.
//!
//! An entry such as `.git` or `.cargo/config.toml` fits anywhere in a path, and what is below it. Letter case and
//! Unicode form are ignored, as some file systems ignore them (CVE-2014-9390, CVE-2021-21300). Paths are compared
//! after links were walked, so a link is no way round.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;

use llmc_core::ToolError;
use unicode_normalization::UnicodeNormalization as _;

/// The entry that protects a path, if one does.
pub(crate) fn find<'a>(path: &Path, protected: &'a [String]) -> Option<&'a str> {
    let names = folded(path);
    let fits = |entry: &&String| {
        let entry = folded(Path::new(entry));
        !entry.is_empty() && names.windows(entry.len()).any(|part| part == entry)
    };
    protected.iter().find(fits).map(String::as_str)
}

/// The entry that a directory at `path` could hold by its name: `.cargo` of `.cargo/config.toml`. Such a directory is
/// not moved, replaced or deleted as a whole, which would change what is protected in it.
pub(crate) fn find_holder<'a>(path: &Path, protected: &'a [String]) -> Option<&'a str> {
    let names = folded(path);
    let fits = |entry: &&String| {
        let entry = folded(Path::new(entry));
        (1..entry.len()).any(|count| names.ends_with(&entry[..count]))
    };
    protected.iter().find(fits).map(String::as_str)
}

/// Looks for protected paths among the entries of a tree, most of which it passes over by their names alone.
pub(crate) struct Finder<'a> {
    protected: &'a [String],
    /// How the last names of all entries are spelled.
    last_names: HashSet<String>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(protected: &'a [String]) -> Self {
        let last_name = |entry: &String| folded(Path::new(entry)).pop();
        Self { protected, last_names: protected.iter().filter_map(last_name).collect() }
    }

    /// Like [`find`] for a path that lies in a directory which is not protected.
    pub(crate) fn find(&self, path: &Path) -> Option<&'a str> {
        let is_known = path.file_name().is_some_and(|name| self.last_names.contains(&fold(name)));
        if is_known { find(path, self.protected) } else { None }
    }
}

/// What the caller of a tool reads.
pub(crate) fn refusal(entry: &str) -> ToolError {
    ToolError::denied(format!(
        "`{entry}` is protected: other programs execute or obey it; the operator can leave it out of \
         `policy.protected_paths`"
    ))
}

fn folded(path: &Path) -> Vec<String> {
    path.iter().map(fold).collect()
}

/// One form for all spellings of a name that some file system takes for the same.
fn fold(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let letters = name.nfkd().filter(|letter| !is_ignorable(*letter)).flat_map(char::to_lowercase);
    // Windows shares drop dots and spaces at the end of a name.
    let folded: String = letters.nfkd().collect();
    folded.trim_end_matches([' ', '.']).to_owned()
}

/// Characters without a form of their own, which HFS+ and casefolding ext4 directories skip.
fn is_ignorable(letter: char) -> bool {
    matches!(letter,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTECTED: [&str; 4] = [".git", ".cargo/config.toml", "llmc.toml", ".mcp.json"];

    fn list() -> Vec<String> {
        PROTECTED.map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        assert_eq!(find(Path::new(path), &list()), expected, "{path:?}");
    }

    #[test]
    fn an_entry_fits_at_any_depth_and_covers_what_is_below() {
        check(".git", Some(".git"));
        check(".git/hooks/pre-commit", Some(".git"));
        check("vendor/lib/.git/config", Some(".git"));
        check(".cargo/config.toml", Some(".cargo/config.toml"));
        check("a/llmc.toml", Some("llmc.toml"));
    }

    #[test]
    fn neighbours_are_free() {
        for path in
            [".gitignore", ".github/workflows/ci.yml", "git", ".cargo/other.toml", "config.toml", "a.git/b"]
        {
            check(path, None);
        }
        assert_eq!(find(Path::new(".git/config"), &[]), None, "the operator said otherwise");
    }

    #[test]
    fn case_and_unicode_form_do_not_help() {
        for path in [
            ".GIT/config",
            ".gIt",
            ".g\u{200C}it/x",
            ".ｇｉｔ",
            ".git.",
            ".git ",
            ".mcp.J\u{17F}on",
            ".g\u{131}t",
        ] {
            let expected = match path {
                ".mcp.J\u{17F}on" => Some(".mcp.json"),
                // A dotless i is another letter on every file system.
                ".g\u{131}t" => None,
                _ => Some(".git"),
            };
            check(path, expected);
        }
    }

    #[test]
    fn a_finder_finds_the_same() {
        let list = list();
        let finder = Finder::new(&list);
        for path in [
            "a/.GIT",
            ".cargo/config.toml",
            "a/.Cargo/config.TOML",
            "config.toml",
            "a/b",
            ".gitignore",
            "x/.git.",
        ] {
            assert_eq!(finder.find(Path::new(path)), find(Path::new(path), &list), "{path}");
        }
    }

    #[test]
    fn holders_are_known_by_name() {
        let holder = |path: &str| find_holder(Path::new(path), &list()).map(str::to_owned);
        assert_eq!(holder("a/.Cargo").as_deref(), Some(".cargo/config.toml"));
        assert_eq!(holder(".cargo/registry"), None);
        assert_eq!(holder("src"), None);
    }
}
