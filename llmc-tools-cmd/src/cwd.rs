//! Where a command starts: `root:sub/dir`, a path relative to the first root, or an absolute one inside a root.
//!
//! Pure functions over the names of the roots. The runner opens the directory and stays inside the root.

use std::path::{Component, Path};

use llmc_core::manifest::GrantKind;
use llmc_core::run::RunDir;
use llmc_core::{Root, ToolError, ToolResult};

/// Refusals of a directory use this text, whatever lies there.
const OUTSIDE: &str = "`cwd` is outside the granted roots";

/// Finds the root and the path in it.
pub(crate) fn parse(cwd: &str, roots: &[Root]) -> ToolResult<RunDir> {
    if cwd.contains('\0') {
        return Err(ToolError::invalid("`cwd` contains a NUL character"));
    }
    if cwd.starts_with('/') {
        return parse_absolute(Path::new(cwd), roots);
    }
    if let Some((name, rest)) = cwd.split_once(':')
        && let Some(root) = roots.iter().find(|root| root.name == name)
    {
        return inside(root, Path::new(rest.trim_start_matches('/')));
    }
    let first = roots.first().ok_or_else(|| ToolError::not_granted(GrantKind::Roots, OUTSIDE))?;
    inside(first, Path::new(cwd))
}

/// A path as the machine sees it, or as the command does: `/work/src`.
fn parse_absolute(path: &Path, roots: &[Root]) -> ToolResult<RunDir> {
    let outer = roots.iter().filter_map(|root| Some((root, path.strip_prefix(&root.path).ok()?)));
    if let Some((root, rest)) = outer.max_by_key(|(root, _)| root.path.components().count()) {
        return inside(root, rest);
    }
    let inner =
        roots.iter().find_map(|root| Some((root, path.strip_prefix(Path::new("/").join(&root.name)).ok()?)));
    let (root, rest) = inner.ok_or_else(|| ToolError::not_granted(GrantKind::Roots, OUTSIDE))?;
    inside(root, rest)
}

fn inside(root: &Root, path: &Path) -> ToolResult<RunDir> {
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(ToolError::not_granted(GrantKind::Roots, OUTSIDE).context("`..` is not allowed in `cwd`"));
    }
    let parts = path.components().filter(|component| matches!(component, Component::Normal(_)));
    let path = parts.collect::<std::path::PathBuf>().to_string_lossy().into_owned();
    Ok(RunDir { root: root.name.clone(), path })
}

#[cfg(test)]
mod tests {
    use llmc_core::Access;
    use llmc_core::testing::Harness;

    use super::*;

    /// Roots `work` at `DIR/project` and `docs` at `DIR/docs`.
    fn check(cwd: &str, expected: Result<(&str, &str), &str>) {
        let dir = tempfile::tempdir().unwrap();
        let (work, docs) = (dir.path().join("project"), dir.path().join("docs"));
        std::fs::create_dir(&work).unwrap();
        std::fs::create_dir(&docs).unwrap();
        let harness = Harness::new().root("work", work, Access::Rw).root("docs", docs, Access::Ro);
        let ctx = harness.context();
        let cwd = cwd.replace("DIR", dir.path().to_str().unwrap());
        let found = parse(&cwd, ctx.roots().unwrap());
        let expected = expected.map(|(root, path)| RunDir { root: root.into(), path: path.into() });
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{cwd}");
    }

    #[test]
    fn directories_in_roots_are_found() {
        check("", Ok(("work", "")));
        check(".", Ok(("work", "")));
        check("src//sub/.", Ok(("work", "src/sub")));
        check("docs:", Ok(("docs", "")));
        check("docs:a/b", Ok(("docs", "a/b")));
        check("work:/a", Ok(("work", "a")));
        check("DIR/project/src", Ok(("work", "src")));
        check("DIR/docs", Ok(("docs", "")));
        check("/work/src", Ok(("work", "src")));
        check("..test", Ok(("work", "..test")));
    }

    #[test]
    fn nothing_outside_is_named() {
        check("/", Err(OUTSIDE));
        check("/etc", Err(OUTSIDE));
        check("DIR/project2", Err(OUTSIDE));
        check("DIR/project/../project2", Err(&format!("`..` is not allowed in `cwd`: {OUTSIDE}")));
        check("..", Err(&format!("`..` is not allowed in `cwd`: {OUTSIDE}")));
        check("a\0b", Err("`cwd` contains a NUL character"));
    }

    #[test]
    fn without_roots_there_is_no_directory() {
        assert_eq!(parse(".", &[]).unwrap_err().message(), OUTSIDE);
    }
}
