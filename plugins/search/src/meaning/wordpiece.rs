//! Texts into tokens as BERT does it: words and marks, each taken apart into the longest pieces that are known.

use std::collections::HashMap;

use llmc_core::serde_json::{self, Value};

/// A word with more letters is unknown, as in BERT.
const MAX_LETTERS: usize = 100;

/// The tokens of a model.
#[derive(Debug)]
pub(super) struct WordPiece {
    vocabulary: HashMap<String, usize>,
    /// Stands before what goes on a word.
    prefix: String,
    lowercase: bool,
}

impl WordPiece {
    /// Reads a `tokenizer.json`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file: Value = serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
        let model = &file["model"];
        // Old files do not tell their kind.
        let is_known = model["type"].as_str().is_none_or(|kind| kind == "WordPiece");
        let entries = model["vocab"].as_object().filter(|_| is_known);
        let entries = entries.ok_or("is of a kind other than `WordPiece`, the only one that is known")?;
        let unknown = model["unk_token"].as_str().unwrap_or("[UNK]");
        let token = |number: &Value| number.as_u64().and_then(|number| usize::try_from(number).ok());
        let vocabulary = entries.iter().filter(|(text, _)| *text != unknown);
        let vocabulary =
            vocabulary.filter_map(|(text, number)| Some((text.clone(), token(number)?))).collect();
        Ok(Self {
            vocabulary,
            prefix: model["continuing_subword_prefix"].as_str().unwrap_or("##").to_owned(),
            lowercase: file["normalizer"]["lowercase"].as_bool().unwrap_or(true),
        })
    }

    pub(super) fn max_token(&self) -> Option<usize> {
        self.vocabulary.values().max().copied()
    }

    /// The first tokens of a text; words that are not known are left out.
    pub(super) fn tokens(&self, text: &str, max: usize) -> Vec<usize> {
        let text = if self.lowercase { text.to_lowercase() } else { text.to_owned() };
        let mut tokens = Vec::new();
        for run in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
            for word in words(run) {
                if tokens.len() >= max {
                    tokens.truncate(max);
                    return tokens;
                }
                tokens.extend(self.pieces(word).unwrap_or_default());
            }
        }
        tokens.truncate(max);
        tokens
    }

    /// The longest known beginning, then that of the rest; `None` if there is none at some point.
    fn pieces(&self, word: &str) -> Option<Vec<usize>> {
        if word.chars().count() > MAX_LETTERS {
            return None;
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        let mut piece = String::new();
        while at < word.len() {
            let ends = word[at..].char_indices().map(|(start, letter)| at + start + letter.len_utf8());
            let ends: Vec<usize> = ends.collect();
            let longest = ends.into_iter().rev().find_map(|end| {
                piece.clear();
                if at > 0 {
                    piece.push_str(&self.prefix);
                }
                piece.push_str(&word[at..end]);
                Some((end, *self.vocabulary.get(&piece)?))
            });
            let (end, token) = longest?;
            pieces.push(token);
            at = end;
        }
        Some(pieces)
    }
}

/// Runs of letters and digits, and every mark by itself.
fn words(run: &str) -> impl Iterator<Item = &str> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first.is_alphanumeric() {
            true => rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_their_longest_pieces() {
        let file = br###"{"model": {"type": "WordPiece", "unk_token": "[UNK]",
            "vocab": {"[UNK]": 0, "un": 1, "##able": 2, "##aff": 3, "(": 4, "\u00e9t\u00e9": 5, "u": 6}}}"###;
        let tokens = WordPiece::parse(file).unwrap();
        assert_eq!(tokens.tokens("Unaffable(x \u{c9}t\u{e9} u\u{7}u", 10), [1, 3, 2, 4, 5, 6, 6]);
        assert_eq!(tokens.tokens("unaffable", 2), [1, 3]);
        assert_eq!(tokens.tokens(&"u".repeat(200), 10), [0; 0]);
        for (file, text) in [("[", "no JSON"), (r#"{"model": {"type": "BPE", "vocab": {}}}"#, "WordPiece")] {
            assert!(WordPiece::parse(file.as_bytes()).unwrap_err().contains(text));
        }
    }
}
