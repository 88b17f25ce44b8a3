//! From what a user types to what the index is asked.
//!
//! Everything is allowed: the text is taken apart into words of letters and digits, and only those words, in quotes, get
//! into an expression. So no text is an error, whatever operators, quotes or control characters it has. What has more
//! than words (`C++`, `a.b`, `fn()`, paths, quoted phrases) is looked for by its letters, too.

use crate::limits::{MAX_QUERY_BYTES, MAX_TERMS, MAX_WORD_BYTES};
use crate::words::{identifiers, is_word, normal, parts};

/// Words that say nothing about code, left out while others are there.
const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but", "by", "can",
    "do", "does", "each", "find", "for", "from", "get", "gets", "happens", "has", "have", "how", "i", "if",
    "in", "into", "is", "it", "its", "made", "make", "me", "of", "on", "one", "or", "s", "show", "so",
    "such", "that", "the", "their", "them", "then", "there", "these", "they", "this", "to", "used", "uses",
    "via", "was", "we", "what", "when", "where", "which", "while", "who", "why", "will", "with", "without",
    "you",
];

/// Words after which tests, or documents, are what is wanted.
const TEST_WORDS: &[&str] = &["test", "tests", "testing", "unittest", "tested"];
const DOC_WORDS: &[&str] =
    &["doc", "docs", "documentation", "guide", "tutorial", "howto", "readme", "changelog"];

/// Words of a query that may well be nothing but names.
const SHORT_TERMS: usize = 2;

/// A word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// As it was written.
    pub(crate) written: String,
    /// As the index holds it.
    pub(crate) whole: String,
    /// Its parts as the index holds them, if there are several.
    pub(crate) parts: Vec<String>,
    /// Whether it stands for all words that begin with it.
    pub(crate) prefix: bool,
}

/// A query, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// As it was typed, without control characters.
    pub(crate) text: String,
    pub(crate) terms: Vec<Term>,
    /// Texts in small letters that are looked for letter by letter.
    pub(crate) literals: Vec<String>,
    /// Neighbouring words as one identifier: `spawn blocking` may be `spawn_blocking`.
    pub(crate) joined: Vec<String>,
    pub(crate) wants_tests: bool,
    pub(crate) wants_docs: bool,
}

impl Query {
    /// Takes a text apart.
    pub(crate) fn parse(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(MAX_QUERY_BYTES)];
        let text: String =
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let mut query = Self::default();
        // The last piece has no quote at its end.
        let pieces: Vec<&str> = text.split('"').collect();
        for phrase in pieces[..pieces.len() - 1].iter().skip(1).step_by(2) {
            query.add_literal(phrase);
        }
        for word in text.replace('"', " ").split_whitespace() {
            query.add_word(word);
        }
        query.wants_tests = query.has_any(TEST_WORDS);
        query.wants_docs = query.has_any(DOC_WORDS);
        query.join_neighbours();
        query.drop_stop_words();
        query.terms.truncate(MAX_TERMS);
        query.text = text;
        query
    }

    /// The expression for a full-text table: any of the words. `None` if there is no word.
    pub(crate) fn any_word(&self) -> Option<String> {
        let mut words: Vec<String> = self.terms.iter().map(Term::expression).collect();
        words.extend(self.joined.iter().map(|joined| quoted(joined)));
        (!words.is_empty()).then(|| words.join(" OR "))
    }

    /// The expression for a full-text table: all of the words. `None` if there are fewer than two.
    pub(crate) fn all_words(&self) -> Option<String> {
        let words: Vec<String> = self.terms.iter().map(Term::expression).collect();
        (words.len() > 1).then(|| words.join(" AND "))
    }

    /// Names that the query may be about, as they were written: what looks like an identifier, and in a short query
    /// every word. In a sentence most words are the name of something, somewhere.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let is_sentence = self.is_sentence();
        let names = self.terms.iter().filter(move |term| !is_sentence || term.is_identifier());
        names.map(|term| term.written.as_str())
    }

    /// Whether it has more words than a name.
    pub(crate) fn is_sentence(&self) -> bool {
        self.terms.len() > SHORT_TERMS
    }

    /// Words to look for in lines, in small letters.
    pub(crate) fn needles(&self) -> Vec<String> {
        let written = self.terms.iter().map(|term| term.written.to_lowercase());
        let mut needles: Vec<String> = written.chain(self.literals.iter().cloned()).collect();
        for term in &self.terms {
            needles.extend(term.parts.iter().filter(|part| part.len() > 2).cloned());
        }
        needles.sort();
        needles.dedup();
        needles
    }

    fn add_literal(&mut self, text: &str) {
        let literal = text.trim().to_lowercase();
        if literal.chars().count() >= 2
            && !self.literals.contains(&literal)
            && self.literals.len() < MAX_TERMS
        {
            self.literals.push(literal);
        }
    }

    fn add_word(&mut self, word: &str) {
        // A mark at the end belongs to the sentence, unless it is all there is or a call.
        let bare = word.trim_end_matches(['?', '.', ',', ';', ':', '!']).trim_start_matches(['(', '\'']);
        let has_marks = bare.chars().any(|letter| !is_word(letter));
        let is_prefix = bare.ends_with('*') && bare.len() > 1;
        if has_marks && !is_prefix {
            self.add_literal(bare);
        }
        identifiers(bare, |identifier| {
            let whole = normal(identifier);
            if whole.is_empty() || self.terms.iter().any(|term| term.whole == whole) {
                return;
            }
            let own_parts: Vec<String> = parts(identifier).into_iter().map(normal).collect();
            self.terms.push(Term {
                written: identifier.to_owned(),
                prefix: is_prefix && bare.trim_end_matches('*').ends_with(identifier),
                parts: if own_parts.len() > 1 { own_parts } else { Vec::new() },
                whole,
            });
        });
    }

    fn has_any(&self, words: &[&str]) -> bool {
        self.terms.iter().any(|term| words.contains(&term.whole.as_str()))
    }

    fn join_neighbours(&mut self) {
        let plain: Vec<&str> = self
            .terms
            .iter()
            .take(MAX_TERMS)
            .filter(|term| term.parts.is_empty())
            .map(|term| term.whole.as_str())
            .collect();
        let pairs = plain.windows(2).chain(plain.windows(3)).map(|words| words.concat());
        self.joined = pairs.filter(|joined| joined.len() <= MAX_WORD_BYTES).collect();
    }

    fn drop_stop_words(&mut self) {
        let says_something = |term: &Term| !STOP_WORDS.contains(&term.whole.as_str());
        if self.terms.iter().any(says_something) {
            self.terms.retain(says_something);
        }
    }
}

impl Term {
    /// Whether it is written as no word of a sentence is.
    fn is_identifier(&self) -> bool {
        !self.parts.is_empty() || self.written.chars().any(|letter| letter.is_ascii_digit())
    }

    fn expression(&self) -> String {
        let whole = match self.prefix {
            true => format!("{0} OR {0}*", quoted(&self.whole)),
            false => quoted(&self.whole),
        };
        if self.parts.is_empty() {
            return format!("({whole})");
        }
        let parts: Vec<String> = self.parts.iter().map(|part| quoted(part)).collect();
        format!("({whole} OR ({}))", parts.join(" AND "))
    }
}

/// A word as a string of an FTS5 expression, see "FTS5 Strings" in its documentation.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// The expression for the table of letters: every three neighbouring letters of a text, in any order. `None` if it has
/// fewer.
pub(crate) fn grams(literal: &str) -> Option<String> {
    let letters: Vec<char> = literal.chars().collect();
    let mut grams: Vec<String> =
        letters.windows(3).map(|three| quoted(&three.iter().collect::<String>())).collect();
    grams.sort();
    grams.dedup();
    grams.truncate(32);
    (!grams.is_empty()).then(|| grams.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(text: &str) -> String {
        Query::parse(text).any_word().unwrap_or_default()
    }

    #[test]
    fn words_become_strings() {
        assert_eq!(any("open"), "(\"open\")");
        assert_eq!(any("spawn blocking"), "(\"spawn\") OR (\"blocking\") OR \"spawnblocking\"");
        assert_eq!(any("getUser"), "(\"getuser\" OR (\"get\" AND \"user\"))");
        assert_eq!(any("conn*"), "(\"conn\" OR \"conn\"*)");
        assert_eq!(
            any("how is the pool made?"),
            "(\"pool\") OR \"howis\" OR \"isthe\" OR \"thepool\" OR \"poolmade\" OR \"howisthe\" OR \"isthepool\" OR \"thepoolmade\""
        );
        assert_eq!(any("the"), "(\"the\")");
    }

    #[test]
    fn operators_are_words_like_others() {
        for text in ["foo AND", "NEAR(", "a OR b", "NOT", "names:x", "^x", "{a b} : c", "-x", "x NEAR/2 y"] {
            let expression = any(text);
            let outside: String = expression.split('"').step_by(2).collect();
            let left = outside.replace(" OR ", "").replace(" AND ", "");
            assert!(left.chars().all(|letter| "()".contains(letter)), "{text}: {expression}");
        }
    }

    #[test]
    fn what_has_marks_is_looked_for_by_letters() {
        for (text, literals) in [
            ("C++", vec!["c++"]),
            ("a.b", vec!["a.b"]),
            ("fn()", vec!["fn()"]),
            ("what is foo?", vec![]),
            ("\"open the file\" x", vec!["open the file"]),
            ("\"open", vec![]),
            ("src/net/tcp.rs", vec!["src/net/tcp.rs"]),
            ("*", vec![]),
            ("(", vec![]),
            ("\0", vec![]),
        ] {
            assert_eq!(Query::parse(text).literals, literals, "{text}");
        }
        for nothing in ["( * \0 \"", ""] {
            let query = Query::parse(nothing);
            assert_eq!(Query { text: String::new(), ..query }, Query::default());
        }
    }

    #[test]
    fn grams_are_all_threes() {
        assert_eq!(grams("a.b"), Some("\"a.b\"".into()));
        assert_eq!(grams("a\"bc"), Some("\"\"\"bc\" AND \"a\"\"b\"".into()));
        assert_eq!(grams("ab"), None);
    }
}
