//! A unified diff, file by file. Pure.

use crate::clean;

/// What a diff says of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) added: usize,
    pub(super) removed: usize,
    /// new, deleted, renamed or binary.
    pub(super) note: &'static str,
    /// The hunks below the name of the file, without what only programs need.
    pub(super) text: String,
}

impl File {
    /// `src/a.rs +3 -1`
    pub(super) fn line(&self) -> String {
        let Self { path, added, removed, note, .. } = self;
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        format!("{} +{added} -{removed}{note}\n", clean::line(path))
    }
}

/// Reads what `git diff` prints.
pub(super) fn files(diff: &str) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let mut in_hunk = false;
    for line in diff.split_inclusive('\n') {
        if let Some(names) = line.strip_prefix("diff --git ") {
            let path = names.trim_end().rsplit(" b/").next().unwrap_or_default().to_owned();
            let text = format!("--- {}\n", clean::line(&path));
            files.push(File { path, text, ..File::default() });
            in_hunk = false;
            continue;
        }
        let Some(file) = files.last_mut() else { continue };
        in_hunk |= line.starts_with("@@");
        if in_hunk {
            file.added += usize::from(line.starts_with('+'));
            file.removed += usize::from(line.starts_with('-'));
            file.text.push_str(line);
            continue;
        }
        for (start, note) in [
            ("new file", "new"),
            ("deleted file", "deleted"),
            ("rename to", "renamed"),
            ("Binary files", "binary"),
            ("GIT binary", "binary"),
        ] {
            if line.starts_with(start) {
                file.note = note;
            }
        }
    }
    // Without hunks there is nothing below the name.
    files.iter_mut().filter(|file| file.added + file.removed == 0).for_each(|file| file.text.clear());
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_lines_are_counted() {
        let diff = "diff --git a/a.rs b/a.rs\nindex 1..2 100644\n--- a/a.rs\n+++ b/a.rs\n@@ -1,2 +1,3 @@\n one\n-two\n\
                    +2\n+3\n--- not a header\ndiff --git a/x.png b/x.png\nnew file mode 100644\nBinary files differ\n";
        let files = files(diff);
        assert_eq!(files[0].line() + &files[1].line(), "a.rs +2 -2\nx.png +0 -0 (binary)\n");
        assert!(files[0].text.starts_with("--- a.rs\n@@ -1,2 +1,3 @@\n one\n"), "{}", files[0].text);
        assert!(!files[0].text.contains("index 1..2"));
        assert_eq!(super::files("no diff at all\n"), []);
    }
}
