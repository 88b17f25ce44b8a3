//! From the text of a path to a root and a path in it. Pure: nothing is looked up.
//!
//! Accepted are `root:relative/path`, a path relative to the first root, an absolute path inside a root, and the
//! absolute path that programs in a jail see: `/NAME/relative/path`. `..` is left to the kernel, which alone knows
//! where links lead.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use llmc_core::manifest::GrantKind;
use llmc_core::{Root, ToolError};

use crate::limits::MAX_PATH_BYTES;

/// Why a path is refused. One text for everything outside, whatever is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No root holds it.
    #[error("the path is outside the granted roots")]
    Outside,
    /// There is no root at all.
    #[error("no directory is granted")]
    NoRoots,
    /// It names a root that does not exist.
    #[error("no root is called `{name}` (roots: {known}); a file of that name is `./{name}:...`")]
    UnknownRoot {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// Nothing is named.
    #[error("the path is empty; `.` is the top of the first root")]
    Empty,
    /// No file can be called like this.
    #[error("the path contains a NUL character")]
    Nul,
    /// See [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

/// A place in a root. The path is relative and may still lead out of the root.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) root: &'a Root,
    pub(crate) path: PathBuf,
}

impl<'a> Place<'a> {
    /// Finds the root that `text` is about.
    pub(crate) fn parse(text: &str, roots: &'a [Root]) -> Result<Self, PathError> {
        let named: Vec<_> = roots.iter().map(|root| (root.name.as_str(), root.path.as_path())).collect();
        let (index, path) = find(text, &named)?;
        Ok(Self { root: &roots[index], path })
    }

    /// Whether it is the top of the root.
    pub(crate) fn is_top(&self) -> bool {
        self.path.as_os_str() == "."
    }

    /// `work:src/main.rs`: how results name it, and how it can be asked for again.
    pub(crate) fn display(&self) -> String {
        self.name_of(if self.is_top() { Path::new("") } else { &self.path })
    }

    /// How results name another path in the same root.
    pub(crate) fn name_of(&self, path: &Path) -> String {
        format!("{}:{}", self.root.name, path.display())
    }
}

/// A path in one line: a line feed in a name must not look like the end of a message.
pub(crate) fn in_line(path: &str) -> Cow<'_, str> {
    if !path.chars().any(char::is_control) {
        return Cow::Borrowed(path);
    }
    let mut line = String::new();
    path.chars().for_each(|letter| match letter {
        letter if letter.is_control() => line.extend(letter.escape_default()),
        letter => line.push(letter),
    });
    Cow::Owned(line)
}

/// Returns the index of a root and a relative path without `.`, doubled slashes and slashes at the end. Each root is
/// its name and where it lies on the machine.
///
/// # Errors
/// If the text is no path, or belongs to no root.
pub fn find(text: &str, roots: &[(&str, &Path)]) -> Result<(usize, PathBuf), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.contains('\0') {
        return Err(PathError::Nul);
    }
    if text.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if roots.is_empty() {
        return Err(PathError::NoRoots);
    }
    if text.starts_with('/') {
        return find_absolute(Path::new(text), roots);
    }
    if let Some((name, rest)) = text.split_once(':') {
        if let Some(index) = roots.iter().position(|root| root.0 == name) {
            return Ok((index, tidy(Path::new(rest.trim_start_matches('/')))));
        }
        if looks_like_root(name) {
            let known: Vec<_> = roots.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(PathError::UnknownRoot { name: name.to_owned(), known: known.join(", ") });
        }
    }
    Ok((0, tidy(Path::new(text))))
}

fn find_absolute(path: &Path, roots: &[(&str, &Path)]) -> Result<(usize, PathBuf), PathError> {
    let on_machine = roots
        .iter()
        .enumerate()
        .filter_map(|(index, (_, top))| Some((index, top, path.strip_prefix(top).ok()?)));
    // Of roots inside each other the innermost counts.
    if let Some((index, _, rest)) = on_machine.max_by_key(|(_, top, _)| top.components().count()) {
        return Ok((index, tidy(rest)));
    }
    let in_jail =
        roots.iter().position(|(name, _)| path.strip_prefix("/").is_ok_and(|path| path.starts_with(name)));
    let index = in_jail.ok_or(PathError::Outside)?;
    let rest = path.components().skip(2).collect::<PathBuf>();
    Ok((index, tidy(&rest)))
}

/// Keeps names and `..`.
fn tidy(path: &Path) -> PathBuf {
    let kept = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let path: PathBuf = kept.collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

fn looks_like_root(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl From<PathError> for ToolError {
    fn from(error: PathError) -> Self {
        let text = error.to_string();
        match error {
            PathError::Outside | PathError::NoRoots | PathError::UnknownRoot { .. } => {
                Self::not_granted(GrantKind::Roots, text)
            }
            PathError::Empty | PathError::Nul | PathError::TooLong => Self::invalid(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roots: `work` at /home/u/project, `docs` at /usr/share/doc, `sub` at /home/u/project/sub.
    fn check(text: &str, expected: Result<(&str, &str), PathError>) {
        let roots = [("work", "/home/u/project"), ("docs", "/usr/share/doc"), ("sub", "/home/u/project/sub")];
        let roots = roots.map(|(name, path)| (name, Path::new(path)));
        let found = find(text, &roots).map(|(index, path)| (roots[index].0, path));
        assert_eq!(found, expected.map(|(root, path)| (root, PathBuf::from(path))), "{text:?}");
    }

    #[test]
    fn relative_to_a_root() {
        check("a/b.txt", Ok(("work", "a/b.txt")));
        check("./a//b/./c/", Ok(("work", "a/b/c")));
        check(".", Ok(("work", ".")));
        check("docs:", Ok(("docs", ".")));
        check("docs:.", Ok(("docs", ".")));
        check("docs:a/b", Ok(("docs", "a/b")));
        check("docs:/a", Ok(("docs", "a")));
        check("work:docs:a", Ok(("work", "docs:a")));
        check("..test", Ok(("work", "..test")));
        check("te..st", Ok(("work", "te..st")));
        check("grüße/日本.txt", Ok(("work", "grüße/日本.txt")));
        check("a b/c'd\"e", Ok(("work", "a b/c'd\"e")));
    }

    #[test]
    fn dots_are_left_to_the_kernel() {
        check("../x", Ok(("work", "../x")));
        check("a/../b", Ok(("work", "a/../b")));
        check("docs:../x", Ok(("docs", "../x")));
        check("valid/./../../etc/passwd", Ok(("work", "valid/../../etc/passwd")));
    }

    #[test]
    fn absolute_paths_are_compared_by_component() {
        check("/home/u/project", Ok(("work", ".")));
        check("/home/u/project/", Ok(("work", ".")));
        check("/home//u/./project/a", Ok(("work", "a")));
        check("/usr/share/doc/bash", Ok(("docs", "bash")));
        check("/home/u/project/sub/x", Ok(("sub", "x")));
        check("/home/u/project/subway", Ok(("work", "subway")));
        check("/home/u/project/../project2/x", Ok(("work", "../project2/x")));
        for sibling in
            ["project2", "project_backup", "project-old", "projectile", "project.bak", "project/../../v"]
        {
            let inside = sibling.starts_with("project/");
            let expected = if inside { Ok(("work", "../../v")) } else { Err(PathError::Outside) };
            check(&format!("/home/u/{sibling}"), expected);
        }
        for outside in
            ["/", "/etc/passwd", "/home/u", "/home/u/other/../project/x", "//etc/passwd", "/../etc"]
        {
            check(outside, Err(PathError::Outside));
        }
    }

    #[test]
    fn absolute_paths_of_the_jail() {
        check("/work", Ok(("work", ".")));
        check("/work/src/main.rs", Ok(("work", "src/main.rs")));
        check("/docs/../x", Ok(("docs", "../x")));
        check("/workshop/x", Err(PathError::Outside));
    }

    #[test]
    fn what_is_no_path() {
        check("", Err(PathError::Empty));
        check("a\0b", Err(PathError::Nul));
        check("/home/u/project\0/etc/passwd", Err(PathError::Nul));
        check(&"x".repeat(MAX_PATH_BYTES + 1), Err(PathError::TooLong));
        assert_eq!(find("a", &[]), Err(PathError::NoRoots));
        assert_eq!(find("/etc/passwd", &[]), Err(PathError::NoRoots));
    }

    #[test]
    fn a_wrong_root_is_named() {
        let known = "`work`, `docs`, `sub`".to_owned();
        check("wrok:a", Err(PathError::UnknownRoot { name: "wrok".into(), known }));
        check("./wrok:a", Ok(("work", "wrok:a")));
        check("a b:c", Ok(("work", "a b:c")));
        check("a/b:c", Ok(("work", "a/b:c")));
        check(":a", Ok(("work", ":a")));
    }
}
