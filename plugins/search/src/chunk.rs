//! Pieces of files: what is found, ranked and shown.
//!
//! A chunk is a definition with the comments above it, or several short neighbours, or a part of a long one. Chunks of a
//! file do not overlap; blank lines between them belong to none.

use std::collections::BTreeSet;

use crate::limits::{MAX_CHUNK_LINES, MIN_CHUNK_LINES};
use crate::syntax::Outline;

/// A run of lines. They count from 1, the last one is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
    /// Symbols that begin in it, by index.
    pub(crate) symbols: Vec<usize>,
    /// The innermost symbol that began before it and reaches into it, by index.
    pub(crate) within: Option<usize>,
}

/// Cuts a file.
pub(crate) fn chunks(text: &str, outline: &Outline) -> Vec<Chunk> {
    let lines: Vec<&str> = text.lines().collect();
    joined(&pieces(&lines, outline), &lines)
        .into_iter()
        .flat_map(|(first, last)| windows(first, last))
        .filter_map(|(first, last)| without_blanks(&lines, first, last))
        .map(|(first, last)| chunk(first, last, outline))
        .collect()
}

/// The file, cut where a symbol begins or ends.
fn pieces(lines: &[&str], outline: &Outline) -> Vec<(u32, u32)> {
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let mut starts = BTreeSet::from([1]);
    for symbol in &outline.symbols {
        starts.insert(with_comments(lines, symbol.first_line));
        starts.insert(symbol.last_line + 1);
    }
    let starts: Vec<u32> = starts.into_iter().filter(|start| *start <= count).collect();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([count]);
    starts.iter().copied().zip(ends).collect()
}

/// The first line of the comments and attributes that stand right above a line.
fn with_comments(lines: &[&str], line: u32) -> u32 {
    let mut first = line;
    while first > 1 {
        let above = lines.get(first as usize - 2).map_or("", |line| line.trim_start());
        if !["//", "#", "/*", "*", "@", "--"].iter().any(|mark| above.starts_with(mark)) {
            break;
        }
        first -= 1;
    }
    first
}

/// Joins neighbours while they are short, so that a row of constants is one piece. What only closes goes with what it
/// closes.
fn joined(pieces: &[(u32, u32)], lines: &[&str]) -> Vec<(u32, u32)> {
    let closes = |line: &&str| line.chars().all(|letter| letter.is_whitespace() || "})];,".contains(letter));
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for &(first, last) in pieces {
        let only_closes = lines[first as usize - 1..last as usize].iter().all(closes);
        match joined.last_mut() {
            Some(before) if only_closes || last - before.0 < MIN_CHUNK_LINES => before.1 = last,
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Cuts what is too long into even parts.
fn windows(first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> {
    let count = last - first + 1;
    let parts = count.div_ceil(MAX_CHUNK_LINES);
    let size = count.div_ceil(parts.max(1));
    (0..parts).map(move |part| (first + part * size, (first + (part + 1) * size - 1).min(last)))
}

fn without_blanks(lines: &[&str], first: u32, last: u32) -> Option<(u32, u32)> {
    let filled = |line: &u32| lines.get(*line as usize - 1).is_some_and(|line| !line.trim().is_empty());
    Some(((first..=last).find(filled)?, (first..=last).rev().find(filled)?))
}

fn chunk(first_line: u32, last_line: u32, outline: &Outline) -> Chunk {
    let symbols = outline.symbols.iter().enumerate();
    let begins = symbols.clone().filter(|(_, symbol)| (first_line..=last_line).contains(&symbol.first_line));
    let reaches = |first: u32, last: u32| first < first_line && last >= first_line;
    let around = symbols.filter(|(_, symbol)| reaches(symbol.first_line, symbol.last_line));
    Chunk {
        first_line,
        last_line,
        symbols: begins.map(|(index, _)| index).collect(),
        within: around.map(|(index, _)| index).next_back(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{Extractor, Language};

    fn cut(language: Language, text: &str) -> Vec<(u32, u32, Vec<String>)> {
        let outline = Extractor::default().outline(language, text);
        chunks(text, &outline)
            .into_iter()
            .map(|chunk| {
                let names = chunk.symbols.iter().map(|index| outline.symbols[*index].name.clone());
                (chunk.first_line, chunk.last_line, names.collect())
            })
            .collect()
    }

    #[test]
    fn a_definition_is_a_chunk_with_its_comments() {
        let body = "    work();\n".repeat(14);
        let text = format!(
            "use a;\n\n\n{}// Says why.\nfn one() {{\n{body}}}\n\nfn two() {{\n{body}}}\n",
            "use b;\n".repeat(12)
        );
        assert_eq!(
            cut(Language::Rust, &text),
            [(1, 15, vec![]), (16, 32, vec!["one".into()]), (34, 49, vec!["two".into()])]
        );
    }

    #[test]
    fn short_neighbours_are_joined_and_long_ones_cut() {
        let text = "const A: u8 = 1;\nconst B: u8 = 2;\n";
        assert_eq!(cut(Language::Rust, text), [(1, 2, vec!["A".into(), "B".into()])]);
        let text = "word\n".repeat(121);
        assert_eq!(cut(Language::Text, &text), [(1, 41, vec![]), (42, 82, vec![]), (83, 121, vec![])]);
        assert_eq!(cut(Language::Text, "\n\n\n"), []);
        assert_eq!(cut(Language::Text, ""), []);
    }

    proptest::proptest! {
        /// Every line with something on it is in exactly one chunk, and no chunk is too long.
        #[test]
        fn chunks_cover_a_file_once(lines in proptest::collection::vec("(fn [a-c]\\(\\) \\{|\\}|# x|// y|)", 0..200)) {
            let text = lines.join("\n");
            let outline = Extractor::default().outline(Language::Rust, &text);
            let mut seen = vec![0; lines.len()];
            for chunk in chunks(&text, &outline) {
                proptest::prop_assert!(chunk.last_line - chunk.first_line < MAX_CHUNK_LINES);
                (chunk.first_line..=chunk.last_line).for_each(|line| seen[line as usize - 1] += 1);
            }
            for (line, count) in lines.iter().zip(seen) {
                proptest::prop_assert!(count == 1 || line.is_empty() && count == 0, "{line:?} {count}");
            }
        }
    }
}
