//! What the index keeps of a file. Made without the database, by several threads.

use sha2::{Digest, Sha256};

use crate::chunk::{Chunk, chunks};
use crate::files;
use crate::meaning::Model;
use crate::syntax::{Extractor, Language, Outline};
use crate::words::push_indexed;

/// Lines of a chunk that say most: its beginning, with comment and signature.
const HEAD_LINES: usize = 8;
/// Lines of a file that say what it is for.
const INTRODUCTION_LINES: usize = 30;

/// A file, ready to be written.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) path: String,
    pub(crate) size: i64,
    pub(crate) mtime_ns: i64,
    pub(crate) hash: [u8; 16],
    pub(crate) language: Language,
    pub(crate) is_test: bool,
    pub(crate) lines: u32,
    pub(crate) outline: Outline,
    pub(crate) pieces: Vec<Piece>,
    /// Words of its path, its symbols and its beginning.
    pub(crate) path_words: String,
    pub(crate) name_words: String,
    pub(crate) introduction: String,
}

/// A chunk with its words, a text for each column of the index.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) chunk: Chunk,
    pub(crate) names: String,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The text in small letters, for what no word finds.
    pub(crate) grams: String,
    /// What it means, if there is a model.
    pub(crate) vector: Option<Vec<i8>>,
}

/// Identifies a content.
pub(crate) fn hash_of(bytes: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

/// Reads a text as a document. Without `extractor` its syntax is not looked at.
pub(crate) fn document(
    extractor: Option<&mut Extractor>,
    path: &str,
    language: Language,
    text: &str,
) -> Document {
    let outline = extractor.map_or_else(Outline::default, |extractor| extractor.outline(language, text));
    let lines: Vec<&str> = text.lines().collect();
    let pieces = chunks(text, &outline).into_iter().map(|chunk| piece(chunk, &outline, &lines)).collect();
    let mut document = Document {
        path: path.to_owned(),
        size: 0,
        mtime_ns: 0,
        hash: hash_of(text.as_bytes()),
        language,
        is_test: files::is_test(path),
        lines: u32::try_from(lines.len()).unwrap_or(u32::MAX),
        pieces,
        path_words: String::new(),
        name_words: String::new(),
        introduction: String::new(),
        outline,
    };
    push_indexed(path, &mut document.path_words);
    for symbol in &document.outline.symbols {
        push_indexed(&symbol.name, &mut document.name_words);
    }
    for line in lines.iter().take(INTRODUCTION_LINES) {
        push_indexed(line, &mut document.introduction);
    }
    document
}

impl Document {
    /// Adds what its chunks mean: their words with those of the path before them.
    pub(crate) fn add_vectors(&mut self, model: &Model, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        for piece in &mut self.pieces {
            let Chunk { first_line, last_line, .. } = piece.chunk;
            let own = lines.get(first_line as usize - 1..last_line as usize).unwrap_or_default();
            piece.vector = model.vector(&format!("{} {}", self.path_words, own.join("\n")));
        }
    }
}

fn piece(chunk: Chunk, outline: &Outline, lines: &[&str]) -> Piece {
    let own = lines.get(chunk.first_line as usize - 1..chunk.last_line as usize).unwrap_or_default();
    let mut piece = Piece {
        names: String::new(),
        head: String::new(),
        body: String::new(),
        grams: own.join("\n").to_lowercase(),
        vector: None,
        chunk,
    };
    for index in &piece.chunk.symbols {
        push_indexed(&outline.symbols[*index].name, &mut piece.names);
    }
    let mut around = piece.chunk.within;
    while let Some(symbol) = around.and_then(|index| outline.symbols.get(index)) {
        push_indexed(&symbol.name, &mut piece.names);
        around = symbol.parent;
    }
    for (index, line) in own.iter().enumerate() {
        if index < HEAD_LINES {
            push_indexed(line, &mut piece.head);
        }
        push_indexed(line, &mut piece.body);
    }
    piece
}
