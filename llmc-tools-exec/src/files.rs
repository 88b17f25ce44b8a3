//! Files that go into a run and files that come out of it.
//!
//! Both travel over the job socket: the code's interpreter writes and reads them inside the jail, and nothing here
//! touches a path that the code has made. What comes out is the code's word, and bounded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmc_core::prelude::*;
use llmc_core::schemars;
use llmc_core::schemars::JsonSchema;
use llmc_core::serde::{Deserialize, Serialize};

use crate::glob::Pattern;
use crate::limits::{
    MAX_INPUT_BYTES, MAX_INPUT_FILES, MAX_OMITTED, MAX_PATH_BYTES, MAX_PATTERNS, MAX_RETURNED_BYTES,
    MAX_RETURNED_FILE_BYTES, MAX_RETURNED_FILES,
};

/// A file for the scratch directory.
#[arguments(undocumented)]
pub(crate) struct InputFile {
    /// Relative to /tmp, where the code starts.
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Instead of `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// A file that the code has made.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(crate = "llmc_core::serde")]
#[schemars(crate = "schemars")]
pub(crate) struct ReturnedFile {
    /// Path below the scratch directory.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: usize,
    /// What it holds, if that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// What it holds otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
}

/// A file, or a pattern, that is not among the returned ones.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(crate = "llmc_core::serde")]
#[schemars(crate = "schemars")]
pub(crate) struct OmittedFile {
    /// Path or pattern.
    pub(crate) path: String,
    /// Why it is left out.
    pub(crate) reason: String,
}

/// A returned file as the interpreter sends it.
#[derive(Debug, Deserialize)]
#[serde(crate = "llmc_core::serde")]
pub(crate) struct SentFile {
    path: String,
    text: Option<String>,
    base64: Option<String>,
}

/// What the interpreter is told about the files that are wanted.
#[derive(Debug, Serialize)]
#[serde(crate = "llmc_core::serde")]
pub(crate) struct Wanted<'a> {
    patterns: &'a [String],
    max_files: usize,
    max_file_bytes: usize,
    max_bytes: usize,
}

impl<'a> Wanted<'a> {
    /// Nothing if there are no patterns.
    pub(crate) fn new(patterns: &'a [String]) -> Option<Self> {
        let wanted = Self {
            patterns,
            max_files: MAX_RETURNED_FILES,
            max_file_bytes: MAX_RETURNED_FILE_BYTES,
            max_bytes: MAX_RETURNED_BYTES,
        };
        (!patterns.is_empty()).then_some(wanted)
    }
}

/// Takes what the interpreter sends, as far as it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    patterns: Vec<Pattern>,
    files: Vec<ReturnedFile>,
    bytes: usize,
}

impl Inbox {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self { patterns: patterns.iter().map(|text| Pattern::new(text)).collect(), ..Self::default() }
    }

    /// Takes one file; the error says what is wrong with it.
    pub(crate) fn take(&mut self, file: SentFile) -> Result<(), &'static str> {
        check_path(&file.path)?;
        if !self.patterns.iter().any(|pattern| pattern.fits(&file.path)) {
            return Err("a file that was not asked for");
        }
        if self.files.iter().any(|known| known.path == file.path) {
            return Err("a file that was sent before");
        }
        let bytes = match (&file.text, &file.base64) {
            (Some(text), None) => text.len(),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(|_| "a file that is not base64")?.len(),
            _ => return Err("a file that is neither text nor base64"),
        };
        self.bytes += bytes;
        if self.files.len() >= MAX_RETURNED_FILES || self.bytes > MAX_RETURNED_BYTES {
            return Err("more files than may be returned");
        }
        let SentFile { path, text, base64 } = file;
        self.files.push(ReturnedFile { path, bytes, text, base64 });
        Ok(())
    }

    pub(crate) fn into_files(self) -> Vec<ReturnedFile> {
        self.files
    }
}

/// What the interpreter says that it left out, in bounds; or why all of it is.
pub(crate) fn omitted(said: Option<Vec<(String, String)>>, patterns: &[String]) -> Vec<OmittedFile> {
    let ended = || {
        let reason = "the code was ended before its files could be read";
        patterns.iter().map(|pattern| (pattern.clone(), reason.to_owned())).collect()
    };
    let cut = |text: String| text.chars().take(MAX_PATH_BYTES).collect();
    let entries = if patterns.is_empty() { Vec::new() } else { said.unwrap_or_else(ended) };
    entries
        .into_iter()
        .take(MAX_OMITTED)
        .map(|(path, reason)| OmittedFile { path: cut(path), reason: cut(reason) })
        .collect()
}

/// Checks the files that shall go in.
///
/// # Errors
/// If one of them cannot be placed; the text names it.
pub(crate) fn check_inputs(files: &[InputFile]) -> ToolResult<()> {
    if files.len() > MAX_INPUT_FILES {
        return Err(ToolError::invalid(format!(
            "`files` has {} files, at most {MAX_INPUT_FILES}",
            files.len()
        )));
    }
    let mut bytes = 0;
    for (number, file) in files.iter().enumerate() {
        let about = |problem: &str| ToolError::invalid(format!("`files[{number}]`: {problem}"));
        check_path(&file.path).map_err(about)?;
        bytes += match (&file.text, &file.base64) {
            (Some(text), None) => text.len(),
            (None, Some(base64)) => {
                STANDARD.decode(base64).map_err(|error| about(&format!("not base64: {error}")))?.len()
            }
            _ => return Err(about("give either `text` or `base64`")),
        };
        let clash = files[..number].iter().find(|other| {
            let inside =
                |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'));
            other.path == file.path || inside(&other.path, &file.path) || inside(&file.path, &other.path)
        });
        if let Some(other) = clash {
            return Err(about(&format!("`{}` and `{}` cannot both be files", other.path, file.path)));
        }
    }
    if bytes > MAX_INPUT_BYTES {
        let message = format!("`files` have {bytes} bytes together, at most {MAX_INPUT_BYTES}");
        return Err(ToolError::invalid(message));
    }
    Ok(())
}

/// Checks the globs of the files that shall come out.
///
/// # Errors
/// If one of them cannot fit anything.
pub(crate) fn check_patterns(patterns: &[String]) -> ToolResult<()> {
    if patterns.len() > MAX_PATTERNS {
        let message = format!("`return_files` has {} globs, at most {MAX_PATTERNS}", patterns.len());
        return Err(ToolError::invalid(message));
    }
    for (number, pattern) in patterns.iter().enumerate() {
        check_path(pattern)
            .map_err(|problem| ToolError::invalid(format!("`return_files[{number}]`: {problem}")))?;
    }
    Ok(())
}

/// A path below the scratch directory, in one spelling only.
fn check_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("an absolute path; write one relative to /tmp, where the code starts");
    }
    if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err("the path has an empty part, `.` or `..`");
    }
    if path.contains('\0') {
        return Err("the path has a NUL byte");
    }
    if path.len() > MAX_PATH_BYTES || path.split('/').any(|name| name.len() > 255) {
        return Err("the path is too long");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SentFile {
        SentFile { path: path.into(), text: Some("x".into()), base64: None }
    }

    fn input(path: &str) -> InputFile {
        InputFile { path: path.into(), text: Some("x".into()), base64: None }
    }

    #[test]
    fn paths_lead_below_scratch_and_nowhere_else() {
        for path in ["a", "a/b.txt", ".hidden", "ä/..b", "a\\b"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        let long = "x".repeat(256);
        for path in ["", "/a", "..", "a/../b", "a//b", "a/", "./a", "a\0b", &long, &"a/".repeat(600)] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_taken_and_only_so_much() {
        let patterns = ["out/*.txt".to_owned()];
        let mut inbox = Inbox::new(&patterns);
        assert_eq!(inbox.take(file("out/a.txt")), Ok(()));
        for (path, problem) in [
            ("out/a.txt", "sent before"),
            ("out/../b.txt", "`..`"),
            ("/out/a.txt", "absolute"),
            (".bashrc", "not asked for"),
        ] {
            assert!(inbox.take(file(path)).unwrap_err().contains(problem), "{path}");
        }
        let neither = SentFile { path: "out/b.txt".into(), text: None, base64: None };
        assert!(inbox.take(neither).unwrap_err().contains("neither"));
        let odd = SentFile { path: "out/b.txt".into(), text: None, base64: Some("%".into()) };
        assert!(inbox.take(odd).unwrap_err().contains("base64"));
        for number in 1..MAX_RETURNED_FILES {
            assert_eq!(inbox.take(file(&format!("out/{number}.txt"))), Ok(()));
        }
        assert!(inbox.take(file("out/last.txt")).unwrap_err().contains("more files"));
        let mut inbox = Inbox::new(&patterns);
        let large = |name: &str| SentFile { text: Some("x".repeat(MAX_RETURNED_BYTES)), ..file(name) };
        assert_eq!(inbox.take(large("out/a.txt")), Ok(()));
        assert!(inbox.take(file("out/b.txt")).is_err());
        assert_eq!(inbox.into_files().len(), 1);
    }

    #[test]
    fn inputs_are_checked_before_anything_starts() {
        let message = |files: &[InputFile]| check_inputs(files).unwrap_err().message().to_owned();
        assert!(check_inputs(&[input("a/b"), input("a/c"), input("ab")]).is_ok());
        assert_eq!(message(&[input("a"), input("a")]), "`files[1]`: `a` and `a` cannot both be files");
        assert!(message(&[input("a"), input("a/b")]).contains("cannot both"));
        assert!(message(&[input("../a")]).starts_with("`files[0]`: "));
        let both = InputFile { base64: Some(String::new()), ..input("a") };
        assert!(message(&[both]).contains("either `text` or `base64`"));
        let odd = InputFile { text: None, base64: Some("%".into()), ..input("a") };
        assert!(message(&[odd]).contains("not base64"));
        let many: Vec<_> = (0..=MAX_INPUT_FILES).map(|number| input(&number.to_string())).collect();
        assert!(message(&many).contains("at most"));
        let large = InputFile { text: Some("x".repeat(MAX_INPUT_BYTES + 1)), ..input("a") };
        assert!(message(&[large]).contains("bytes together"));
        assert!(check_patterns(&["**/*.csv".to_owned()]).is_ok());
        assert!(check_patterns(&["/etc/*".to_owned()]).unwrap_err().message().contains("absolute"));
    }

    #[test]
    fn what_is_left_out_is_bounded_too() {
        let many = (0..1000).map(|_| ("p".repeat(9000), "r".repeat(9000))).collect();
        let omitted_files = omitted(Some(many), &["*".to_owned()]);
        assert_eq!(omitted_files.len(), MAX_OMITTED);
        assert!(omitted_files.iter().all(|file| file.path.len() + file.reason.len() <= 2 * MAX_PATH_BYTES));
        assert_eq!(omitted(None, &["*".to_owned()])[0].path, "*");
        assert_eq!(omitted(Some(vec![("a".into(), "b".into())]), &[]), []);
    }
}
