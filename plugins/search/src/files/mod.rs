//! The files of the granted roots, reached by handle and never by a path from `/`.
//!
//! Everything is opened with `openat2` below a root's handle, and no link is followed in any component: what is indexed
//! lies in the root, and so does what an answer is read from.

mod git;
mod ignored;
mod open;
mod walk;

pub(crate) use git::head_commit;
pub(crate) use open::{as_text, read, read_text};
pub(crate) use walk::{Found, Lists, Walked, walk};

use llmc_core::{Root, ToolError};

/// Finds the root that a path is about, and the rest of the path: `work:src/a.rs`, or relative to the first root.
///
/// # Errors
/// If no root is called so, or none is granted.
pub(crate) fn split<'a, 'b>(path: &'b str, roots: &'a [Root]) -> Result<(&'a Root, &'b str), ToolError> {
    use llmc_core::manifest::GrantKind;
    let first =
        roots.first().ok_or_else(|| ToolError::not_granted(GrantKind::Roots, "no root is granted"))?;
    let named = path
        .split_once(':')
        .and_then(|(name, rest)| roots.iter().find(|root| root.name == name).map(|root| (root, rest)));
    let absolute = || {
        let inside = |root: &&Root| std::path::Path::new(path).starts_with(&root.path);
        let root = roots.iter().filter(inside).max_by_key(|root| root.path.components().count())?;
        let rest = path.strip_prefix(root.path.to_str()?)?;
        Some((root, rest))
    };
    let (root, rest) = named.or_else(absolute).unwrap_or((first, path));
    let rest = rest.trim_start_matches("./").trim_matches('/');
    Ok((root, if rest == "." { "" } else { rest }))
}

/// Whether a file tests others, by its path.
pub(crate) fn is_test(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    let by_name = stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
        || matches!(stem, "test" | "tests" | "conftest")
        || name.contains(".test.")
        || name.contains(".spec.")
        || stem.len() > 4 && stem.ends_with("Test");
    let folder =
        |part: &str| matches!(part, "test" | "tests" | "testing" | "__tests__" | "spec" | "e2e" | "testdata");
    by_name || parts.any(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_their_path() {
        for path in [
            "tests/a.rs",
            "src/x/tests.rs",
            "a_test.go",
            "test_a.py",
            "a.spec.ts",
            "src/test/K.java",
            "KTest.java",
        ] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/attest.rs", "contest/a.rs", "latest.py", "src/a.rs", "tester.go"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
