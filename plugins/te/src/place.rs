//! Which file of which root an argument names. Pure: what is really there, only the file tools look up.
//!
//! Arguments are those of a shell: relative to the directory the command stands in, with `..`, or absolute. Whatever
//! names no place inside a granted root, component by component, is refused with one text.

use std::path::{Component, Path, PathBuf};

use llmc_core::manifest::GrantKind;
use llmc_core::run::RunDir;
use llmc_core::{Root, ToolError, ToolResult};

/// Where a command stands.
pub(crate) struct Here<'a> {
    roots: &'a [Root],
    root: &'a Root,
    dir: PathBuf,
}

impl<'a> Here<'a> {
    /// The directory a caller names; the top of the first root if none.
    pub(crate) fn new(cwd: Option<&str>, roots: &'a [Root]) -> ToolResult<Self> {
        let Some(first) = roots.first() else {
            let why = "no directory is granted, so there is nothing to look at";
            return Err(ToolError::not_granted(GrantKind::Roots, why));
        };
        let top = Self { roots, root: first, dir: PathBuf::new() };
        let Some(cwd) = cwd else { return Ok(top) };
        let (root, dir) = top.find(cwd).map_err(|error| error.context("the working directory"))?;
        Ok(Self { root, dir, ..top })
    }

    /// A place in the form that file tools take: `root:path`.
    pub(crate) fn tool_path(&self, text: &str) -> ToolResult<String> {
        let (root, path) = self.find(text)?;
        Ok(format!("{}:{}", root.name, path.to_string_lossy()))
    }

    /// The directory itself, for a program.
    pub(crate) fn run_dir(&self) -> RunDir {
        RunDir { root: self.root.name.clone(), path: self.dir.to_string_lossy().into_owned() }
    }

    /// What file tools call `root:path`, as seen from here.
    pub(crate) fn shown(&self, tool_path: &str) -> String {
        let own = tool_path.split_once(':').filter(|(root, _)| *root == self.root.name);
        let Some((_, path)) = own else { return tool_path.to_owned() };
        let path = Path::new(path);
        let common =
            self.dir.components().zip(path.components()).take_while(|(one, other)| one == other).count();
        let up = self.dir.components().count() - common;
        let shown: PathBuf =
            (0..up).map(|_| Component::ParentDir).chain(path.components().skip(common)).collect();
        if shown.as_os_str().is_empty() { ".".to_owned() } else { shown.to_string_lossy().into_owned() }
    }

    /// The root, and the path in it, without `.` and `..`.
    fn find(&self, text: &str) -> ToolResult<(&'a Root, PathBuf)> {
        if text.contains('\0') {
            return Err(ToolError::invalid("a path contains a NUL character"));
        }
        if text.is_empty() {
            return Err(ToolError::invalid("a path is empty"));
        }
        let named = text.split_once(':').and_then(|(name, rest)| {
            let root = self.roots.iter().find(|root| root.name == name)?;
            Some(root.path.join(rest.trim_start_matches('/')))
        });
        let path = named.unwrap_or_else(|| self.root.path.join(&self.dir).join(text));
        let path = without_dots(&path).ok_or_else(outside)?;
        let holding = self.roots.iter().filter_map(|root| Some((root, path.strip_prefix(&root.path).ok()?)));
        if let Some((root, rest)) = holding.max_by_key(|(root, _)| root.path.components().count()) {
            return Ok((root, rest.to_owned()));
        }
        // As programs in a jail see it: `/work/src`.
        let in_jail = self.roots.iter().find_map(|root| {
            Some((root, path.strip_prefix(Path::new("/").join(&root.name)).ok()?.to_owned()))
        });
        in_jail.ok_or_else(outside)
    }
}

fn outside() -> ToolError {
    ToolError::not_granted(GrantKind::Roots, "the path is outside the granted roots")
}

/// An absolute path by its names alone; `None` if it leads above `/`.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut names = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir if !names.pop() => return None,
            _ => {}
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use llmc_core::Access;
    use llmc_core::testing::Harness;

    use super::*;

    /// Roots `work` at `DIR/project` and `docs` at `DIR/docs`, beside `DIR/project-two`.
    fn check(cwd: Option<&str>, text: &str, expected: Result<&str, &str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["project", "docs", "project-two"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let harness =
            Harness::new().root("work", path("project"), Access::Rw).root("docs", path("docs"), Access::Ro);
        let (ctx, dir) = (harness.context(), dir.path().to_str().unwrap());
        let cwd = cwd.map(|cwd| cwd.replace("DIR", dir));
        let found = Here::new(cwd.as_deref(), ctx.roots().unwrap())
            .and_then(|here| here.tool_path(&text.replace("DIR", dir)));
        let expected = expected.map(str::to_owned);
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{cwd:?} {text}"
        );
    }

    const OUTSIDE: Result<&str, &str> = Err("the path is outside the granted roots");

    #[test]
    fn places_inside_are_found() {
        check(None, ".", Ok("work:"));
        check(None, "src/./a.rs", Ok("work:src/a.rs"));
        check(None, "a/../b", Ok("work:b"));
        check(Some("src/call"), "../x.rs", Ok("work:src/x.rs"));
        check(Some("DIR/project/src"), "x", Ok("work:src/x"));
        check(Some("docs:guide"), "x", Ok("docs:guide/x"));
        check(None, "docs:a.md", Ok("docs:a.md"));
        check(None, "../docs/a.md", Ok("docs:a.md"));
        check(None, "DIR/docs/a.md", Ok("docs:a.md"));
        check(None, "/work/src", Ok("work:src"));
        check(None, "other:x", Ok("work:other:x"));
        check(None, "-f", Ok("work:-f"));
    }

    #[test]
    fn places_outside_are_refused_with_one_text() {
        for text in [
            "..",
            "../secret",
            "a/../../secret",
            "/etc/passwd",
            "work:../x",
            "DIR/project-two/x",
            "/",
            "../../../../../../../..",
        ] {
            check(None, text, OUTSIDE);
        }
        let cwd = Err("the working directory: the path is outside the granted roots");
        check(Some("/"), "x", cwd);
        check(Some("DIR/project-two"), "x", cwd);
        check(None, "a\0b", Err("a path contains a NUL character"));
        check(None, "", Err("a path is empty"));
    }

    #[test]
    fn results_are_named_as_seen_from_here() {
        let dir = tempfile::tempdir().unwrap();
        let harness = Harness::new().root("work", dir.path(), Access::Ro);
        let ctx = harness.context();
        let here = Here::new(Some("src/call"), ctx.roots().unwrap()).unwrap();
        for (path, shown) in [
            ("work:src/call/mod.rs", "mod.rs"),
            ("work:src/lib.rs", "../lib.rs"),
            ("work:README.md", "../../README.md"),
            ("work:src/call", "."),
            ("docs:a.md", "docs:a.md"),
        ] {
            assert_eq!(here.shown(path), shown);
        }
    }
}
