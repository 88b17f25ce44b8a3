//! What is asked, and where the answer is.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Tree, question and files that answer it, a line each. They were written before the ranking was tuned. It was tuned
/// with every other question; the rest, held out, was only counted.
pub(super) const QUESTIONS: &str = include_str!("questions.tsv");

/// A question about a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) tree: String,
    pub(super) text: String,
    /// Each of these is an answer.
    pub(super) files: Vec<String>,
    pub(super) held_out: bool,
}

/// Files in the order in which somebody would look at them.
pub(super) struct Ranked(pub(super) Vec<String>);

impl Ranked {
    /// The place of the first file that answers, from 1; each file counts once.
    pub(super) fn place_of(&self, question: &Question) -> Option<usize> {
        let mut seen: Vec<&str> = Vec::new();
        for file in &self.0 {
            if !seen.contains(&file.as_str()) {
                seen.push(file);
            }
        }
        let at = seen.iter().position(|file| question.files.iter().any(|answer| answer == file));
        at.map(|at| at + 1)
    }
}

/// Reads the lines of a file of questions.
pub(super) fn parse(text: &str) -> Result<Vec<Question>> {
    let question = |(number, line): (usize, &str)| {
        let mut fields = line.split('\t');
        let mut field =
            || fields.next().with_context(|| format!("question {} lacks a field: {line}", number + 1));
        Ok(Question {
            tree: field()?.to_owned(),
            text: field()?.to_owned(),
            files: field()?.split_whitespace().map(str::to_owned).collect(),
            held_out: number % 2 == 1,
        })
    };
    text.lines().enumerate().map(question).collect()
}

/// A question about a file that is not there could never be answered.
pub(super) fn check(questions: &[&Question], tree: &Path) -> Result<()> {
    for question in questions {
        let is_there = question.files.iter().any(|file| tree.join(file).is_file());
        ensure!(is_there, "`{}` has no file that answers \"{}\"", tree.display(), question.text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_questions_about_both_trees() {
        let questions = parse(QUESTIONS).unwrap();
        assert!(questions.len() >= 60 && questions.iter().all(|question| !question.files.is_empty()));
        for tree in ["tokio", "django"] {
            assert!(questions.iter().filter(|question| question.tree == tree).count() >= 30, "{tree}");
        }
    }

    #[test]
    fn a_file_has_one_place() {
        let question = &parse("t\tq\tb c").unwrap()[0];
        let place =
            |files: &[&str]| Ranked(files.iter().map(|file| (*file).to_owned()).collect()).place_of(question);
        assert_eq!(place(&["a", "a", "c", "b"]), Some(2));
        assert_eq!(place(&["a"]), None);
        assert!(parse("t\tq").is_err());
    }
}
