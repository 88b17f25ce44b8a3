//! Where a command runs and which paths are inside.

/// Paths that every jail has for its own use: scratch space and standard streams.
const OF_EVERY_JAIL: [&str; 6] =
    ["/tmp", "/var/tmp", "/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"];

/// Where a command runs, and which directories are granted, by their paths in the jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    cwd: Vec<String>,
    inside: Vec<Vec<String>>,
}

impl Place {
    /// A command in `cwd` (scratch space when absent), with these directories or files granted. All are absolute.
    pub fn new<'a>(cwd: Option<&str>, inside: impl IntoIterator<Item = &'a str>) -> Self {
        let inside = OF_EVERY_JAIL.into_iter().chain(inside).map(|path| resolve(&[], path)).collect();
        Self { cwd: resolve(&[], cwd.unwrap_or("/tmp")), inside }
    }

    /// The same place after a change of directory.
    pub(crate) fn moved(&self, to: &str) -> Self {
        Self { cwd: resolve(&self.cwd, to), inside: self.inside.clone() }
    }

    /// Checks by text that a path lies inside. Links are the jail's affair: what they lead to outside is not there.
    ///
    /// # Errors
    ///
    /// The absolute path that is meant.
    pub(crate) fn confine(&self, path: &str) -> Result<(), String> {
        let path = resolve(&self.cwd, path);
        match self.inside.iter().any(|inside| path.starts_with(inside)) {
            true => Ok(()),
            false => Err(format!("/{}", path.join("/"))),
        }
    }
}

/// The parts of a path, from the root on, without `.` and `..`.
fn resolve(cwd: &[String], path: &str) -> Vec<String> {
    let mut parts = if path.starts_with('/') { Vec::new() } else { cwd.to_vec() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let place = Place::new(Some("/work/src"), ["/work", "/opt/tool"]);
        for path in [
            "",
            ".",
            "a",
            "..",
            "../b",
            "/work",
            "/work/../work/x",
            "..test",
            "a/..",
            "/opt/tool/x",
            "/tmp/y",
        ] {
            assert_eq!(place.confine(path), Ok(()), "{path}");
        }
        for (path, meant) in [
            ("/", "/"),
            ("../..", "/"),
            ("../../etc/passwd", "/etc/passwd"),
            ("/work2/a", "/work2/a"),
            ("/workshop", "/workshop"),
            ("/work/../etc", "/etc"),
            ("/opt", "/opt"),
            ("a/../../../../x", "/x"),
        ] {
            assert_eq!(place.confine(path), Err(meant.to_owned()), "{path}");
        }
    }

    #[test]
    fn without_a_directory_it_is_scratch_space() {
        let place = Place::new(None, []);
        assert_eq!(place.confine("x"), Ok(()));
        assert!(place.confine("../work").is_err());
    }
}
