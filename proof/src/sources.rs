//! Which sources these are, as git tells it.

use std::path::Path;

use llmc_proof::Sources;

use crate::child::first_line;
use crate::document::DOCUMENT;

/// What they are now. Files that git does not know count as changes, unless it is told to ignore them: tables of attacks
/// and tests are found by their folders.
pub(crate) fn at(root: &Path) -> Sources {
    let commit = first_line("git", &["rev-parse", "--short=12", "HEAD"], root);
    // A run itself writes the document.
    let document = format!(":(exclude){DOCUMENT}");
    let changed = first_line("git", &["status", "--porcelain", "--", ".", &document], root);
    Sources { clean: commit.is_some() && changed.is_some_and(|line| line.is_empty()), commit }
}

/// What they were over some time: of a commit only if they were so at its end, too.
pub(crate) fn over(start: &Sources, end: Sources) -> Sources {
    Sources { clean: start.clean && *start == end, ..start.clone() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn changes_are_seen_and_the_document_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let git = |args: &[&str]| {
            let identity =
                ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"];
            let output = Command::new("git").args(identity).args(args).current_dir(root).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        git(&["init", "-q"]);
        assert_eq!(at(root), Sources::default(), "there is no commit yet");
        fs::write(root.join("a"), "1").unwrap();
        git(&["add", "."]);
        git(&["commit", "-qm", "one"]);
        let start = at(root);
        assert!(start.clean && start.commit.is_some(), "{start:?}");
        fs::create_dir(root.join("docs")).unwrap();
        fs::write(root.join("docs/proof.md"), "written by a run").unwrap();
        assert_eq!(at(root), start);
        assert_eq!(over(&start, at(root)), start);

        fs::write(root.join("b"), "unknown to git").unwrap();
        assert!(!at(root).clean);
        git(&["add", "."]);
        git(&["commit", "-qm", "two"]);
        let end = at(root);
        assert!(end.clean && end.commit != start.commit);
        assert_eq!(over(&start, end), Sources { clean: false, ..start }, "it moved meanwhile");
    }
}
