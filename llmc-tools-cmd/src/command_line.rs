//! A command line as a person would type it, split into words without a shell.
//!
//! Quotes and backslashes work as in a POSIX shell (XCU 2.2). Whatever a shell would expand, redirect or chain is
//! refused, by name and position: a command that means something else here than in a terminal must not run. Written in
//! quotes, or as `argv`, the same characters are plain text.

use std::iter::Peekable;
use std::str::CharIndices;

/// Why a command line is not one command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A character that a shell would act on.
    Operator { text: String, name: &'static str, character: usize },
    /// A quote without its end.
    Unclosed { quote: char, character: usize },
    /// A backslash at the very end.
    Backslash,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator { text, name, character } => write!(
                f,
                "`{text}` at character {character} of `command` is {name}, and there is no shell here to act on it: \
                 put it in single quotes if it is plain text, or use `argv`; run several commands one by one"
            ),
            Self::Unclosed { quote, character } => {
                write!(f, "the quote {quote} at character {character} of `command` is not closed")
            }
            Self::Backslash => f.write_str("`command` ends with a backslash that has nothing to quote"),
        }
    }
}

/// Splits a command line into words.
pub(crate) fn split(line: &str) -> Result<Vec<String>, Refusal> {
    let mut splitter = Splitter { line, rest: line.char_indices().peekable(), words: Vec::new(), word: None };
    while let Some((at, letter)) = splitter.rest.next() {
        splitter.take(at, letter)?;
    }
    splitter.end_word();
    Ok(splitter.words)
}

struct Splitter<'a> {
    line: &'a str,
    rest: Peekable<CharIndices<'a>>,
    words: Vec<String>,
    /// The word under way; empty quotes make an empty one.
    word: Option<String>,
}

impl Splitter<'_> {
    fn take(&mut self, at: usize, letter: char) -> Result<(), Refusal> {
        match letter {
            ' ' | '\t' => self.end_word(),
            // At the very end a line break is how the line was sent.
            '\n' | '\r' if self.line[at..].trim().is_empty() => self.end_word(),
            '\'' => self.single_quoted(at)?,
            '"' => self.double_quoted(at)?,
            '\\' => match self.rest.next() {
                // A line that goes on below.
                Some((_, '\n')) => {}
                Some((_, quoted)) => self.push(quoted),
                None => return Err(Refusal::Backslash),
            },
            _ => {
                if let Some(name) = self.operator(at, letter) {
                    return Err(self.refusal(at, letter, name));
                }
                self.push(letter);
            }
        }
        Ok(())
    }

    fn single_quoted(&mut self, start: usize) -> Result<(), Refusal> {
        self.word.get_or_insert_default();
        loop {
            match self.rest.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, letter)) => self.push(letter),
                None => return Err(self.unclosed('\'', start)),
            }
        }
    }

    /// Expansions are made in double quotes too.
    fn double_quoted(&mut self, start: usize) -> Result<(), Refusal> {
        self.word.get_or_insert_default();
        loop {
            match self.rest.next() {
                Some((_, '"')) => return Ok(()),
                Some((_, '\\')) => match self.rest.next() {
                    Some((_, '\n')) => {}
                    Some((_, quoted @ ('$' | '`' | '"' | '\\'))) => self.push(quoted),
                    Some((_, other)) => {
                        self.push('\\');
                        self.push(other);
                    }
                    None => return Err(self.unclosed('"', start)),
                },
                Some((at, letter @ ('$' | '`'))) => {
                    if let Some(name) = self.operator(at, letter) {
                        return Err(self.refusal(at, letter, name));
                    }
                    self.push(letter);
                }
                Some((_, letter)) => self.push(letter),
                None => return Err(self.unclosed('"', start)),
            }
        }
    }

    /// What a shell would take an unquoted character for; `None` for one that means itself.
    fn operator(&mut self, at: usize, letter: char) -> Option<&'static str> {
        let next = self.rest.peek().map(|(_, next)| *next);
        let begins_word = self.word.is_none();
        match letter {
            '|' => Some(if next == Some('|') { "\"or\" of two commands" } else { "a pipe" }),
            '&' => Some(if next == Some('&') {
                "\"and\" of two commands"
            } else {
                "a command in the background"
            }),
            ';' => Some("the end of a command"),
            '\n' | '\r' => Some("a line break, the end of a command"),
            '<' => Some("a redirection of input"),
            '>' => Some("a redirection of output"),
            '(' | ')' => Some("a subshell"),
            '`' => Some("a command substitution"),
            '$' => match next? {
                '(' => Some("a command substitution"),
                '{' | '\'' | '"' => Some("an expansion"),
                '@' | '*' | '#' | '?' | '-' | '$' | '!' | '_' => Some("a variable"),
                next if next.is_ascii_alphanumeric() => Some("a variable"),
                _ => None,
            },
            '*' | '?' => Some("a file name pattern"),
            '[' if self.line[at..].contains(']') => Some("a file name pattern"),
            '{' => self.brace(at),
            '~' if begins_word => Some("a home directory"),
            '#' if begins_word => Some("a comment"),
            // Anywhere else it is a word like any other, as in `find . ! -name x`.
            '!' if begins_word && self.words.is_empty() && next.is_none_or(char::is_whitespace) => {
                Some("a negation")
            }
            '=' if self.words.is_empty() && self.word.as_deref().is_some_and(is_name) => {
                Some("an assignment before the command; use `env`")
            }
            _ => None,
        }
    }

    /// `{a,b}` and `{1..3}` are expanded, `HEAD@{1}` and `{}` are not.
    fn brace(&self, at: usize) -> Option<&'static str> {
        let inside = self.line[at + 1..].split_once('}')?.0;
        let is_expanded = inside.contains(',') || inside.contains("..");
        (is_expanded && !inside.contains(char::is_whitespace)).then_some("a brace expansion")
    }

    fn push(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    /// The operator with its second character, as in `&&` and `$(`.
    fn refusal(&mut self, at: usize, letter: char, name: &'static str) -> Refusal {
        let second = self.rest.peek().map(|(_, next)| *next);
        let doubled = second.filter(|next| match letter {
            '|' | '&' | '<' | '>' => *next == letter,
            '$' => true,
            _ => false,
        });
        let text: String = std::iter::once(letter).chain(doubled).collect();
        let text = text.replace('\n', "\\n").replace('\r', "\\r");
        Refusal::Operator { text, name, character: self.character(at) }
    }

    fn unclosed(&self, quote: char, start: usize) -> Refusal {
        Refusal::Unclosed { quote, character: self.character(start) }
    }

    /// Counted from 1, as editors do.
    fn character(&self, at: usize) -> usize {
        self.line[..at].chars().count() + 1
    }
}

fn is_name(word: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !word.is_empty() && word.chars().all(letter) && !word.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
