//! Diffs, checked by applying them.

use super::super::Diff;
use crate::limits::{MAX_DIFF_BYTES, MAX_DIFF_LINES};

/// Applies a unified diff strictly: every line of it must fit where it says.
pub(super) fn patched(before: &str, diff: &str) -> String {
    let before: Vec<&str> = before.split_inclusive('\n').collect();
    let mut after = String::new();
    let mut copied = 0;
    let mut lines = diff.split_inclusive('\n').skip(2).peekable();
    while let Some(line) = lines.next() {
        let line_without_end = || line[1..].strip_suffix('\n').unwrap();
        let has_end = lines.next_if(|next| next.starts_with('\\')).is_none();
        let text = if has_end { &line[1..] } else { line_without_end() };
        match line.as_bytes()[0] {
            b'@' => {
                let start = line.strip_prefix("@@ -").unwrap().split_once(' ').unwrap().0;
                let (start, count) = start.split_once(',').unwrap_or((start, "1"));
                let skipped = start.parse::<usize>().unwrap() - usize::from(count != "0");
                after.extend(before[copied..skipped].iter().copied());
                copied = skipped;
            }
            b'+' => after.push_str(text),
            sign => {
                assert_eq!(before[copied], text, "{diff}");
                after.push_str(if sign == b' ' { text } else { "" });
                copied += 1;
            }
        }
    }
    after.extend(before[copied..].iter().copied());
    after
}

#[track_caller]
fn check(before: &str, after: &str, expected: &str) {
    let Diff { text, note } = Diff::new("f", before, after);
    assert_eq!((text.as_str(), note), (expected, None));
    if before != after {
        assert_eq!(patched(before, &text), after);
    }
}

#[test]
fn a_diff_has_three_lines_of_context() {
    check("same\n", "same\n", "");
    check("a\n", "b\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n");
    check("", "a\n", "--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+a\n");
    check("a\n", "", "--- a/f\n+++ b/f\n@@ -1 +0,0 @@\n-a\n");
    let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    check(
        before,
        &before.replace('5', "x"),
        "--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n",
    );
    check(before, &format!("0\n{before}"), "--- a/f\n+++ b/f\n@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n");
    check(before, &before.replace("9\n", ""), "--- a/f\n+++ b/f\n@@ -6,4 +6,3 @@\n 6\n 7\n 8\n-9\n");
}

#[test]
fn changes_far_apart_have_a_hunk_each() {
    let before: String = (1..=30).map(|number| format!("{number}\n")).collect();
    let after = before.replace("\n5\n", "\nfive\n").replace("\n25\n", "\n");
    let diff = Diff::new("f", &before, &after).text;
    assert_eq!(diff.matches("@@ -").count(), 2, "{diff}");
    assert!(diff.contains("@@ -2,7 +2,7 @@") && diff.contains("@@ -22,7 +22,6 @@"), "{diff}");
    assert_eq!(patched(&before, &diff), after);
}

#[test]
fn line_ends_are_shown_as_they_are() {
    check("a\r\n", "b\r\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\r\n+b\r\n");
    check("a\rb\n", "a\rc\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\rb\n+a\rc\n");
    let no_end = "\\ No newline at end of file\n";
    check("a", "a\n", &format!("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n{no_end}+a\n"));
    check("x\na", "y\na", &format!("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-x\n+y\n a\n{no_end}"));
}

#[test]
fn a_name_is_one_line() {
    assert!(Diff::new("a\nb", "1\n", "2\n").text.starts_with("--- a/a\\nb\n+++ b/a\\nb\n@@"));
}

#[test]
fn a_long_diff_is_cut_and_says_so() {
    let before: String = (0..9999).map(|number| format!("line {number}\n")).collect();
    let diff = Diff::new("f", &before, &before.replace("line", "row"));
    assert!(diff.text.len() <= MAX_DIFF_BYTES && diff.text.ends_with('\n'));
    let lines = diff.text.lines().count();
    assert_eq!(
        diff.note.unwrap(),
        format!("diff cut at 16384 bytes: {} more lines of it are not shown", 2 * 9999 + 3 - lines)
    );
    let huge = "a\n".repeat(MAX_DIFF_LINES + 1);
    let diff = Diff::new("f", &huge, &huge.replace('a', "b"));
    assert!(diff.text.is_empty() && diff.note.unwrap().starts_with("diff left out: more than 200000 lines"));
}
