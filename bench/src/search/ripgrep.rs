//! `rg`, ranked as somebody would who counts matches.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::program::Program;

/// Files that are looked at.
pub(super) const MAX_FILES: usize = 30;

/// Words that nobody would search for.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "at", "for", "from", "how", "in", "is", "its", "of", "on", "or", "out", "that",
    "the", "to", "what", "when", "where", "which", "with",
];

/// `rg`.
pub(super) struct Ripgrep(Program);

impl Ripgrep {
    pub(super) fn find() -> Option<Self> {
        Program::find(&["rg"]).map(Self)
    }

    /// Files by the number of different words in them, then by the number of matches.
    pub(super) fn files(&self, tree: &Path, question: &str) -> Result<Vec<String>> {
        let letters = |letter: char| !letter.is_alphanumeric() && letter != '_';
        let words = question.split(letters).filter(|word| word.len() > 1 && !STOP_WORDS.contains(word));
        let mut counts: HashMap<String, (usize, usize)> = HashMap::new();
        for word in words {
            let flags =
                ["--count-matches", "--ignore-case", "--fixed-strings", "-e", word, "."].map(OsString::from);
            let mut printed = Vec::new();
            self.0.run(&flags, tree, &mut printed)?;
            for line in String::from_utf8_lossy(&printed).lines() {
                let Some((path, count)) = line.rsplit_once(':') else { continue };
                let counted = counts.entry(path.trim_start_matches("./").to_owned()).or_default();
                counted.0 += 1;
                counted.1 += count.parse().unwrap_or(0);
            }
        }
        let mut files: Vec<(String, (usize, usize))> = counts.into_iter().collect();
        files.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        Ok(files.into_iter().map(|(path, _)| path).take(MAX_FILES).collect())
    }

    /// How long it takes to count a text in all files.
    pub(super) fn time(&self, tree: &Path, text: &str) -> Result<Duration> {
        let flags = ["--count-matches", "--fixed-strings", "-e", text, "."].map(OsString::from);
        self.0.run(&flags, tree, &mut Vec::new())
    }
}
